"""Clocks, errors in records, durations and sizes."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import holdfast.clouds.errors
import holdfast.imports.service
import holdfast.nodes.spec.errors  # noqa: F401 - imported so that their error classes are known
from holdfast.cli.errors import Stopped
from holdfast.core.clock import FileClock, ManualClock, format_utc, parse_utc
from holdfast.core.errors import (
    HoldfastError,
    InvalidInput,
    NotFound,
    UnknownError,
    all_error_classes,
    error_from_record,
    error_to_record,
)
from holdfast.core.tags import Owner
from holdfast.core.units import GIB, format_bytes, format_duration, parse_bytes, parse_duration


def test_every_error_class_has_a_code_of_its_own_a_text_and_a_remedy() -> None:
    classes = list(all_error_classes())

    codes = [cls.code for cls in classes if "code" in vars(cls)]
    assert len(codes) == len(set(codes)), sorted(code for code in codes if codes.count(code) > 1)
    assert all(cls.text and cls.remedy for cls in classes)
    assert all(cls.exit_code in (1, 2, 3, 4) or cls is Stopped for cls in classes)


@pytest.mark.parametrize("cls", list(all_error_classes()), ids=lambda cls: cls.__name__)
def test_error_survives_the_record_and_a_pickle(cls: type[HoldfastError]) -> None:
    if cls.__init__ is not HoldfastError.__init__:
        pytest.skip("has arguments of its own; its file tests it")
    error = cls(field="f", problem="p", reason="r", ref="x", given_h=1.0, floor_h=24.0)

    back = error_from_record(json.loads(json.dumps(error_to_record(error))))

    assert back.message == error.message
    assert back.advice == error.advice
    assert pickle.loads(pickle.dumps(error)) == error


def test_an_unknown_code_loads_as_it_was_shown() -> None:
    record = {"code": "from.the.future", "details": {"n": 1}, "text": "told", "remedy": "done", "field": None}

    error = error_from_record(record)

    assert isinstance(error, UnknownError)
    assert (error.message, error.advice) == ("told", "done")


def test_an_error_of_python_is_recorded_as_a_defect_of_ours() -> None:
    record = error_to_record(ZeroDivisionError("by zero"))

    assert record["code"] == "internal.defect"
    assert "ZeroDivisionError: by zero" in record["text"]


def test_error_texts_show_missing_values_instead_of_failing() -> None:
    assert NotFound(kind="node").message == "There is no node {name}."


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)))
def test_times_survive_to_the_millisecond(moment: datetime) -> None:
    aware = moment.replace(tzinfo=UTC)

    assert abs(parse_utc(format_utc(aware)) - aware) < timedelta(milliseconds=1)


@pytest.mark.parametrize("text", ["2026-01-02T03:04:05.1234567Z", "2026-01-02T03:04:05.1234567+00:00"])
def test_azures_seven_decimals_are_read(text: str) -> None:
    assert parse_utc(text) == datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)


def test_a_time_without_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="needs an offset"):
        parse_utc("2026-01-02T03:04:05")


def test_file_clock_follows_its_file_and_is_real_without_one(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    clock = FileClock(path)
    real = datetime.now(UTC)
    assert abs(clock.now() - real) < timedelta(seconds=5)

    path.write_text(json.dumps({"offset_s": 345600.0}))

    assert abs(clock.now() - real - timedelta(hours=96)) < timedelta(seconds=5)


def test_manual_clock_moves_when_slept_on() -> None:
    clock = ManualClock()
    before = clock.now()

    clock.sleep(90)

    assert clock.now() - before == timedelta(seconds=90)


@pytest.mark.parametrize(
    ("text", "hours"),
    [("96h", 96.0), ("2d12h", 60.0), ("15m", 0.25), ("90s", 0.025), ("1d", 24.0), ("1w", 168.0), ("0", 0.0)],
)
def test_durations_are_read(text: str, hours: float) -> None:
    assert parse_duration(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "96", "h", "-3h", "3 h", "1h30"])
def test_what_is_no_duration_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_duration(text, "retention")

    assert refused.value.about == "retention"


@given(st.integers(0, 10**9))
def test_durations_are_shown_in_their_two_largest_units(seconds: int) -> None:
    shown = format_duration(timedelta(seconds=seconds))

    assert 1 <= len(shown.split()) <= 2
    assert parse_duration(shown.replace(" ", "")) <= timedelta(seconds=seconds)


def test_sizes_are_read_and_shown() -> None:
    assert parse_bytes("1.5G") == int(1.5 * GIB)
    assert parse_bytes("512") == 512
    assert format_bytes(int(1.5 * GIB)) == "1.5 GiB"
    assert format_bytes(0) == "0 B"
    with pytest.raises(InvalidInput):
        parse_bytes("many")


def test_owner_tag_is_read_back() -> None:
    owner = Owner.parse("hf-0123456789ab/7")

    assert str(owner) == "hf-0123456789ab/7"
    assert owner.epoch == 7
