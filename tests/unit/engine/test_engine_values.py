"""Pure parts: states, codec, registry, settings."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.errors import NotFound, Retry, error_from_record, error_to_record
from holdfast.core.ids import NodeId
from holdfast.engine import (
    Call,
    NotRecordable,
    NotYet,
    Operation,
    Registry,
    Role,
    Secret,
    Settings,
    State,
    codec,
    operation,
)
from holdfast.engine.states import CLOSED, OPEN, Event, IllegalTransition, next_state
from holdfast.store import SecretInRecord


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    at: datetime
    colours: tuple[Colour, ...]


@dataclass(frozen=True)
class Value:
    node: NodeId
    inner: Inner | None
    sizes: Mapping[str, int]
    body: dict[str, Any]
    pause: timedelta
    names: frozenset[str] = frozenset()


@dataclass(frozen=True)
class WithSecret:
    password: Secret


def step(call: Call[Any], value: Value, many: Sequence[int], maybe: str | None = None) -> tuple[Value, ...]:
    """Do something."""
    return (value,)


def undo(call: Call[Any], value: Value, many: Sequence[int], *, result: tuple[Value, ...] | None = None) -> None:
    """Undo it."""


def narrower(call: Call[Any], value: Value) -> None:
    """Takes less than its step gives."""


def untyped(call, anything):  # type: ignore[no-untyped-def]
    return anything


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
values = st.builds(
    Value,
    node=st.text().map(NodeId),
    inner=st.none()
    | st.builds(Inner, at=st.datetimes(timezones=st.just(UTC)), colours=st.lists(st.sampled_from(Colour)).map(tuple)),
    sizes=st.dictionaries(st.text(), st.integers(0, 2**62)),
    body=st.dictionaries(st.text(), json_values),
    pause=st.timedeltas(timedelta(0), timedelta(days=1000)),
    names=st.frozensets(st.text()),
)


@settings(max_examples=40)
@given(value=values, many=st.lists(st.integers()))
def test_arguments_and_results_come_back_equal(value: Value, many: list[int]) -> None:
    arguments = codec.encode_arguments(step, (value, many, None))
    result = codec.encode_result(step, (value,))

    assert codec.decode_arguments(step, arguments) == (value, many, None)
    assert codec.decode_result(step, result) == (value,)
    assert codec.decode_arguments(undo, codec.encode_arguments(step, (value, many))) == (value, many)


@pytest.mark.parametrize("wrong", [(1, [2]), (Value, [2]), ("x", [2])], ids=["another type", "a class", "text"])
def test_argument_that_does_not_fit_its_annotation_is_refused(wrong: tuple[Any, ...]) -> None:
    with pytest.raises(NotRecordable):
        codec.encode_arguments(step, wrong)


def test_secret_has_no_record_wherever_it_hides() -> None:
    with pytest.raises(SecretInRecord):
        codec.encode(WithSecret, WithSecret(Secret("hunter2")), "it")
    with pytest.raises(SecretInRecord):
        codec.encode(Secret, Secret("hunter2"), "it")
    with pytest.raises(NotRecordable):
        codec.encode(dict[str, Any], {"password": Secret("hunter2")}, "it")
    with pytest.raises(NotRecordable):
        codec.encode_arguments(untyped, (Secret("hunter2"),))


def test_record_of_another_form_is_refused() -> None:
    with pytest.raises(NotRecordable, match="form 7"):
        codec.decode(int, {"form": 7, "value": 1}, "it")


def test_compensation_that_does_not_take_its_steps_arguments_is_refused() -> None:
    codec.check_compensation(step, undo, 2)
    with pytest.raises(NotRecordable, match="narrower"):
        codec.check_compensation(step, narrower, 2)


def test_title_is_the_docstrings_first_line_or_the_name_in_words() -> None:
    assert codec.title_of(step) == "Do something"
    assert codec.title_of(untyped) == "untyped"


def test_compensation_is_found_by_its_name_and_only_functions_of_modules_are() -> None:
    registry = Registry(renamed={"old:name": undo})

    assert registry.resolve(registry.name_of(undo)) is undo
    assert registry.resolve("old:name") is undo
    for bad in (lambda call: None, functools.partial(undo)):
        with pytest.raises(NotRecordable):
            registry.name_of(bad)


@pytest.mark.parametrize(
    "name", ["os:system", "nowhere:f", "no colon", f"{__name__}:missing", f"{__name__}:datetime", "os:path.join"]
)
def test_name_that_is_no_function_of_its_module_is_refused(name: str) -> None:
    registry = Registry()
    with pytest.raises(NotRecordable):
        registry.resolve(name)


def test_registry_finds_the_newest_version_and_keeps_the_older() -> None:
    @operation("grow", version=1, spec=Inner)
    def first(op: Operation, spec: Inner) -> None: ...

    @operation("grow", version=2, spec=Inner, role=Role.ADMIN)
    def second(op: Operation, spec: Inner) -> None: ...

    registry = Registry([first, second])

    assert registry.kind("grow") is second
    assert registry.kind("grow", 1) is first
    with pytest.raises(NotFound):
        registry.kind("grow", 3)
    with pytest.raises(NotFound):
        registry.kind("shrink")
    with pytest.raises(ValueError, match="two operations"):
        registry.add(operation("grow", version=2, spec=Inner)(first.story))


def test_roles_include_the_lesser_ones() -> None:
    assert Role.ADMIN.includes(Role.VIEWER)
    assert not Role.VIEWER.includes(Role.OPERATOR)


@pytest.mark.parametrize("event", list(Event))
@pytest.mark.parametrize("state", list(State))
def test_every_state_takes_its_events_and_refuses_all_others(state: State, event: Event) -> None:
    legal = {
        (State.QUEUED, Event.CLAIMED): State.RUNNING,
        (State.RUNNING, Event.CLAIMED): State.RUNNING,
        (State.WAITING, Event.CLAIMED): State.RUNNING,
        (State.UNWINDING, Event.CLAIMED): State.UNWINDING,
        (State.RUNNING, Event.WAITS): State.WAITING,
        (State.RUNNING, Event.FAILS): State.UNWINDING,
        (State.RUNNING, Event.FINISHED): State.DONE,
        (State.RUNNING, Event.GIVES_UP): State.STUCK,
        (State.UNWINDING, Event.GIVES_UP): State.STUCK,
        (State.UNWINDING, Event.UNDONE): State.FAILED,
        (State.UNWINDING, Event.UNDONE_CANCELLED): State.CANCELLED,
        (State.STUCK, Event.RETRIED): State.QUEUED,
        (State.STUCK, Event.RETRIED_BACK): State.UNWINDING,
    }
    if (state, event) in legal:
        assert next_state(state, event) is legal[state, event]
        assert state in OPEN
    else:
        with pytest.raises(IllegalTransition):
            next_state(state, event)


@given(events=st.lists(st.sampled_from(Event), max_size=30))
def test_closed_operation_never_opens_again(events: list[Event]) -> None:
    state = State.QUEUED
    for event in events:
        try:
            following = next_state(state, event)
        except IllegalTransition:
            continue
        assert state not in CLOSED
        state = following


def test_retries_are_bounded_and_grow() -> None:
    settings = Settings()

    now = [settings.pause_before_retry(Retry.NOW, tries) for tries in range(1, 10)]
    later = [settings.pause_before_retry(Retry.LATER, tries) for tries in range(1, 10)]

    assert now[:5] == [0.2, 0.4, 0.8, 1.6, None]
    assert later[:8] == [1, 2, 4, 8, 16, 30, 30, None]
    assert settings.pause_before_retry(Retry.NEVER, 1) is None
    assert settings.pause_before_retry(Retry.AFTER_CHANGE, 1) is None
    assert settings.pause_after_pivot(10) is None


def test_not_yet_survives_the_record() -> None:
    assert error_from_record(error_to_record(NotYet("boots"))) == NotYet("boots")
