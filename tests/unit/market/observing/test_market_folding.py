"""How answers that come when they come change what is kept of a market."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.market.deciding.ages import BINS
from holdfast.market.deciding.state import MarketStates
from holdfast.market.observing.folding import Kind, Memory, after_answer

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
Answer = tuple[float, Kind, bool | None]  # minutes after START


def unseen() -> Memory:
    return Memory(MarketStates.unseen(1))


def told(*answers: Answer) -> tuple[Memory, list[float | None]]:
    memory, ends = unseen(), []
    for minutes, kind, answered in answers:
        memory, ended = after_answer(memory, kind, answered, START + timedelta(minutes=minutes))
        ends.append(ended)
    return memory, ends


@given(st.lists(st.booleans(), min_size=1, max_size=300))
def test_probes_each_five_minutes_are_counted_as_in_a_replay(answers: list[bool]):
    replayed = MarketStates.unseen(1)
    for answer in answers:
        replayed.observe(np.array([answer]), 5.0)

    memory, _ = told(*((5.0 * i, Kind.PROBE, answer) for i, answer in enumerate(answers)))

    assert memory.state.pack(0) == replayed.pack(0)


@given(st.integers(1, 2000))
def test_machine_that_lives_through_a_gap_is_as_good_as_probes(periods: int):
    probed = MarketStates.unseen(1)
    for _ in range(periods + 1):
        probed.observe(np.array([True]), 5.0)

    memory, _ = told((0, Kind.HELD, True), (5.0 * periods, Kind.HELD, True))

    assert memory.state.exposure_h[0] == pytest.approx(probed.exposure_h[0])
    assert memory.state.age_min[0] == probed.age_min[0] == 5.0 * periods
    assert memory.state.share[0] == 1.0


def test_refusal_within_a_short_gap_is_an_event_at_the_age_then():
    memory, ends = told((0, Kind.PROBE, True), (15, Kind.PROBE, True), (30, Kind.LAUNCH, False))

    assert ends == [None, None, 30.0]
    assert memory.state.events.sum() == 1.0
    assert memory.state.exposure_h.sum() == pytest.approx(0.5)
    assert memory.age_at(START + timedelta(minutes=31)) is None


def test_long_silence_is_neither_exposure_nor_event():
    memory, ends = told((0, Kind.LAUNCH, True), (600, Kind.LAUNCH, False))

    assert ends == [None, None]
    assert memory.state.events.sum() == memory.state.exposure_h.sum() == 0.0
    assert memory.state.share[0] == 0.5


def test_age_of_a_market_that_is_not_watched_counts_from_the_last_failure():
    memory, _ = told((0, Kind.LAUNCH, True), (100, Kind.LAUNCH, False), (400, Kind.LAUNCH, True))

    assert memory.age_at(START + timedelta(minutes=400)) == 300.0
    assert memory.age_at(START + timedelta(minutes=1000)) == 900.0


def test_eviction_ends_the_streak_in_which_the_machine_lived():
    memory, ends = told(
        (0, Kind.LAUNCH, True), (1, Kind.HELD, True), (301, Kind.HELD, True), (305, Kind.EVICTION, False)
    )

    assert ends[-1] == pytest.approx(305.0)
    assert memory.state.events[0, 4] == 1.0  # 160 to 320 minutes
    assert memory.state.exposure_h.sum() == pytest.approx(305 / 60)


def test_eviction_that_was_noticed_hours_later_is_an_event_too():
    memory, ends = told((0, Kind.HELD, True), (300, Kind.EVICTION, False))

    assert ends[-1] == 300.0
    assert memory.state.events.sum() == 1.0
    assert not memory.answers


def test_order_refused_beside_a_machine_that_lives_on_ends_the_streak_and_the_machine_proves_no_capacity_for_an_hour():
    memory, ends = told((0, Kind.HELD, True), (60, Kind.HELD, True), (61, Kind.LAUNCH, False), (70, Kind.HELD, True))

    assert ends == [None, None, 61.0, None]
    assert memory.state.events.sum() == 1.0
    assert not memory.answers
    memory, _ = after_answer(memory, Kind.EVICTION, False, START + timedelta(minutes=75))
    assert memory.state.events.sum() == 1.0  # one streak ends once
    memory, _ = after_answer(memory, Kind.HELD, True, START + timedelta(minutes=140))
    assert memory.answers


def test_refusal_for_another_reason_than_capacity_ends_the_streak_without_an_event():
    memory, ends = told((0, Kind.PROBE, True), (5, Kind.LAUNCH, None))

    assert ends == [None, None]
    assert memory.state.events.sum() == 0.0
    assert memory.age_at(START + timedelta(minutes=6)) is None


@given(st.lists(st.tuples(st.floats(0, 500), st.sampled_from(Kind), st.sampled_from([True, False, None])), max_size=40))
def test_whatever_comes_events_never_exceed_exposed_streaks_and_nothing_is_negative(steps: list[Answer]):
    memory, now = unseen(), START
    for gap, kind, answered in steps:
        now += timedelta(minutes=gap)
        before = memory
        memory, ended = after_answer(memory, kind, answered, now)
        assert before.state.pack(0) == before.state.pack(0)
        assert memory.state.events.sum() - before.state.events.sum() in (0.0, 1.0)
        assert ended is None or ended >= 0.0
    state = memory.state
    assert state.events.shape == (1, BINS)
    assert (state.exposure_h >= 0).all()
    assert 0.0 <= state.share[0] <= 1.0 + 1e-9
    assert state.exposure_h.sum() * 60 <= (now - START).total_seconds() / 60 + 1e-6


def test_answer_does_not_change_what_it_was_given():
    before, _ = told((0, Kind.PROBE, True))
    packed = before.state.pack(0)

    after_answer(before, Kind.PROBE, False, START + timedelta(minutes=5))

    assert before.state.pack(0) == packed


def test_late_answer_changes_nothing():
    memory, _ = told((10, Kind.PROBE, True))

    assert after_answer(memory, Kind.PROBE, False, START) == (memory, None)
