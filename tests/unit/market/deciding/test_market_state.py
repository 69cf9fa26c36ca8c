"""What probes leave behind: counts by age, shares, the stored form, and the last day's context."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.ages import BINS, bin_of
from holdfast.market.deciding.context import ContextStates
from holdfast.market.deciding.signals import (
    EvictionRecord,
    Observation,
    SignalScore,
    forecast_of,
    said_by_band,
    said_by_placement_score,
)
from holdfast.market.deciding.state import Forgetting, MarketStates, age_without_probes

series = st.lists(st.booleans(), min_size=1, max_size=120)


def watch(answers: list[bool], period: float = 5.0, forgetting: Forgetting | None = None) -> MarketStates:
    states = MarketStates.unseen(1)
    for answer in answers:
        states.observe(np.array([answer]), period, forgetting)
    return states


def test_the_first_probe_sets_age_zero_and_counts_in_the_share():
    states = watch([True])

    assert (states.age_min[0], states.share[0], states.exposure_h.sum()) == (0.0, 1.0, 0.0)


def test_a_streak_ages_by_the_period_and_a_drop_ends_it_in_its_bin():
    states = watch([True, True, True, True, True, False])

    assert states.age_min[0] == 0.0
    assert states.exposure_h[0, :2] == pytest.approx([4 * 5 / 60, 5 / 60])
    assert list(states.events[0, :2]) == [0.0, 1.0]
    assert states.share[0] == pytest.approx(5 / 6)


def test_the_first_answer_after_a_drop_has_the_age_of_one_period():
    assert watch([False, True]).age_min[0] == 5.0


@settings(max_examples=60, deadline=None)
@given(series)
def test_counts_equal_a_plain_loop(answers: list[bool]):
    events, hours = np.zeros(BINS), np.zeros(BINS)
    age, before = 0.0, None
    for answer in answers:
        if before:
            hours[bin_of(np.float64(age))] += 5 / 60
            events[bin_of(np.float64(age))] += not answer
        age = age + 5 if answer and before is not None else 0.0
        before = answer

    states = watch(answers)

    assert states.events[0] == pytest.approx(events)
    assert states.exposure_h[0] == pytest.approx(hours)
    assert states.age_min[0] == age
    assert states.share[0] == pytest.approx(sum(answers) / len(answers))


@settings(max_examples=40, deadline=None)
@given(series)
def test_the_stored_form_comes_back_equal(answers: list[bool]):
    states = watch(answers)

    stored = states.pack(0)
    back = MarketStates.unpack([stored])

    assert len(stored) <= 100
    assert back.events == pytest.approx(states.events)
    assert back.exposure_h == pytest.approx(states.exposure_h, rel=1e-6)
    assert back.share == pytest.approx(states.share)
    assert (back.age_min, back.answered) == (states.age_min, states.answered)
    assert back.pack(0) == stored


def test_a_foreign_record_is_refused():
    with pytest.raises(InvalidInput):
        MarketStates.unpack([b"\x02" + watch([True]).pack(0)[1:]])
    with pytest.raises(InvalidInput):
        MarketStates.unpack([b""])


def test_forgetting_fades_evidence_and_follows_a_change_of_the_share():
    long_ago = [True] * 400 + [False] * 4000

    kept, faded = watch(long_ago), watch(long_ago, forgetting=Forgetting())

    assert faded.exposure_h.sum() < 0.1 * kept.exposure_h.sum()
    assert faded.share[0] < kept.share[0]


def test_a_refused_order_ends_the_streak_without_an_event():
    states = watch([True] * 10)
    events = states.events.sum()

    states.failed(0)

    assert states.age_min[0] == 0.0
    assert not states.answered[0]
    assert states.events.sum() == events


def test_markets_of_a_take_are_copies_in_the_order_asked_for():
    states = MarketStates.unseen(3)
    states.observe(np.array([True, False, True]), 5.0)

    some = states.take([2, 1])
    some.events[:] = 9.0

    assert list(some.answered) == [True, False]
    assert states.events.sum() == 0.0


def test_the_age_of_a_market_that_is_never_probed_is_bounded_by_our_attention():
    assert age_without_probes(7200.0, 3600.0, None) == 60.0
    assert age_without_probes(7200.0, 3600.0, 0.0) == 60.0
    assert age_without_probes(7200.0, 3600.0, 6600.0) == 10.0


def run_context(columns: np.ndarray, regions: tuple[str, ...]) -> ContextStates:
    states, context = MarketStates.unseen(len(regions)), ContextStates(regions, 5.0)
    for answers in columns:
        states.observe(answers, 5.0)
        context.observe(answers, states.age_min)
    return context


def test_a_siblings_drop_raises_the_hazard_of_its_region_only():
    up = np.ones((40, 4), dtype=bool)
    dropped = up.copy()
    dropped[-1, 0] = False
    regions = ("west", "west", "east", "east")

    calm, shaken = run_context(up, regions), run_context(dropped, regions)

    assert shaken.per_hour[1] > 1.2 * calm.per_hour[1]
    assert shaken.per_hour[2:] == pytest.approx(calm.per_hour[2:])


def test_a_market_without_siblings_looks_at_all_others():
    up = np.ones((40, 3), dtype=bool)
    dropped = up.copy()
    dropped[-1, 0] = False

    calm, shaken = run_context(up, ("a", "b", "c")), run_context(dropped, ("a", "b", "c"))

    assert (shaken.per_hour[1:] > calm.per_hour[1:]).all()


def test_own_drops_are_forgotten_after_six_hours():
    quick = np.ones((200, 2), dtype=bool)
    quick[100, 0] = False

    soon, late = run_context(quick[:110], ("a", "b")), run_context(quick, ("a", "b"))
    never = run_context(np.ones((200, 2), dtype=bool), ("a", "b"))

    assert soon._drops[0] == 1.0
    assert late._drops[0] == 0.0
    assert late.per_hour[0] != never.per_hour[0]  # its level remembers


def test_a_signal_earns_its_use_only_by_what_age_does_not_tell():
    rng = np.random.default_rng(4)
    repeats_age, knows, parrot = SignalScore(), SignalScore(), SignalScore()
    for _ in range(4000):
        age = float(rng.choice([5.0, 500.0]))
        stays = bool(rng.random() < (0.3 if age < 20 else 0.95))
        repeats_age.observe(age, age > 20, stays)
        parrot.observe(age, True, stays)
        knows.add(Observation("m", "placement-score", "t", 60.0, age, stays ^ bool(rng.random() < 0.1), stays))

    assert SignalScore().error_rate == 0.5
    assert repeats_age.error_rate == pytest.approx(0.5, abs=0.02)
    assert parrot.error_rate == pytest.approx(0.5, abs=0.02)
    assert knows.error_rate == pytest.approx(0.1, abs=0.03)
    assert (knows.earned, parrot.earned) == (True, False)


def test_a_signal_becomes_a_forecast_only_once_it_is_earned():
    knows = SignalScore()
    said = [said_by_placement_score(s) for s in ("High", "Low", "Medium", None)]
    for _ in range(60):
        knows.observe(5.0, True, True)
        knows.observe(5.0, False, False)

    told = forecast_of(said, 60.0, knows)

    assert forecast_of(said, 60.0, SignalScore()) is None
    assert told is not None
    assert list(told.stays) == [1, 0, -1, -1]
    assert [said_by_band(b) for b in ("0-5", "10-15", "20+", None)] == [True, None, False, None]


def test_an_eviction_record_is_json_with_everything_that_was_said():
    record = EvictionRecord("D4 zone 1", "2026-01-05T09:00:00.000Z", 35.0, 0.2, placement_score="High")

    assert record.to_json()["placement_score"] == "High"
    assert record.to_json()["eviction_band"] is None
