"""One decision: which markets, in which order, and the number that forbids each other one."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.candidates import Candidate, Place, Reserved
from holdfast.market.deciding.decision import Action, Moment, NodeWishes, decide
from holdfast.market.deciding.state import MarketStates
from holdfast.market.deciding.terms import Terms
from holdfast.market.deciding.weighing import Verdict

WISHES = NodeWishes(Place("D4", priority="on-demand"), on_demand_per_hour=0.20, terms=Terms(10.0))


def market(size: str = "D4", zone: str | None = "1", price: float | None = 0.04, **more: object) -> Candidate:
    told = {"answers": True, **more}
    return Candidate(Place(size, zone), price, **told)  # type: ignore[arg-type]


def history(*columns: tuple[int, int], calm_from: int = 0) -> MarketStates:
    """Each column: (probes that did not answer, then probes that did)."""
    longest = max(sum(c) for c in columns)
    states = MarketStates.unseen(len(columns))
    for k in range(longest):
        left = longest - k
        states.observe(np.array([left <= up for _, up in columns]), 5.0)
    return states


def verdicts(decision) -> dict[str, Verdict]:  # type: ignore[no-untyped-def]
    return {str(w.place): w.verdict for w in decision.weighed}


def test_from_on_demand_a_market_that_answered_for_long_is_taken():
    decision = decide(Moment.ON_DEMAND, [market()], history((10, 600)), WISHES)

    assert decision.action is Action.MOVE
    assert decision.chosen == Place("D4", "1")
    assert "worth" in decision.why


def test_a_market_that_has_just_come_back_is_waited_for_by_p5_and_taken_by_documented():
    states = history((100, 2))

    patient = decide(Moment.ON_DEMAND, [market()], states, WISHES)
    hasty = decide(Moment.ON_DEMAND, [market()], states, replace(WISHES, policy="documented"))

    assert patient.action is Action.STAY
    assert patient.weighed[0].verdict in (Verdict.NOT_WORTH, Verdict.TOO_YOUNG)
    assert patient.weighed[0].numbers["valueNow"] is not None
    assert hasty.action is Action.MOVE


def test_a_larger_size_with_a_better_discount_is_never_chosen_over_a_cheaper_size_of_equal_share():
    small = market("D4", price=0.060)  # 30 % of its own price of 0.20
    large = market("D16", price=0.096)  # 12 % of its own price of 0.80
    states = history((10, 600), (10, 600))

    for moment in (Moment.ON_DEMAND, Moment.LAUNCH, Moment.EVICTED):
        for policy in ("p5", "documented"):
            decision = decide(moment, [large, small], states, replace(WISHES, policy=policy))
            assert decision.chosen == small.place


def test_a_share_that_is_better_by_less_than_two_points_does_not_beat_a_lower_price():
    dear, cheap = market(zone="1", price=0.08), market(zone="2", price=0.04)
    close = history((10, 990), (20, 980))
    apart = history((10, 990), (100, 900))

    assert decide(Moment.ON_DEMAND, [dear, cheap], close, WISHES).chosen == cheap.place
    assert decide(Moment.ON_DEMAND, [dear, cheap], apart, WISHES).chosen == dear.place


def test_what_costs_as_much_as_on_demand_is_not_admissible():
    decision = decide(
        Moment.ON_DEMAND, [market(price=0.20), market(zone="2", price=None)], history((1, 600), (1, 600)), WISHES
    )

    assert decision.action is Action.STAY
    assert list(verdicts(decision).values()) == [Verdict.NOT_CHEAPER, Verdict.NO_PRICE]


def test_preferred_zone_then_preferred_size_come_before_the_rank():
    markets = [market("D4", "1", 0.02), market("D4", "2", 0.05), market("E4", "2", 0.06), market("E4", "1", 0.01)]
    states = history((1, 600), (1, 600), (1, 600), (1, 600))
    wishes = replace(WISHES, preferred_zone="2", preferred_sizes=("E4",))

    decision = decide(Moment.EVICTED, markets, states, wishes, lost=Place("X"))

    assert [str(p) for p in decision.order] == ["E4 zone 2", "D4 zone 2", "E4 zone 1", "D4 (on-demand)"]


def test_a_preference_admits_nothing():
    wishes = replace(WISHES, preferred_sizes=("D4",))

    decision = decide(Moment.ON_DEMAND, [market("D4"), market("E4")], history((500, 2), (1, 600)), wishes)

    assert decision.chosen == Place("E4", "1")


def test_after_an_eviction_three_others_are_tried_and_then_on_demand():
    markets = [market(zone=z) for z in "12345"]
    states = history(*[(1, 600)] * 5)

    decision = decide(Moment.EVICTED, markets, states, WISHES, lost=Place("D4", "1"))

    assert [p.zone for p in decision.order] == ["2", "3", "4", None]
    assert decision.order[-1].priority == "on-demand"
    assert verdicts(decision)["D4 zone 1"] is Verdict.SERVED


def test_without_fallback_nothing_admissible_means_waiting():
    decision = decide(
        Moment.EVICTED, [market(answers=False)], history((10, 0)), replace(WISHES, fallback=False), lost=Place("X")
    )

    assert decision.action is Action.STAY
    assert decision.order == ()
    assert "on-demand is not allowed" in decision.why


def test_blocked_markets_and_those_without_quota_are_never_ordered():
    markets = [
        market(zone="1", blocked="AllocationFailed until 10:00"),
        market(zone="2", no_headroom="4 vCPUs needed, 2 left"),
        market(zone="3"),
    ]
    states = history(*[(1, 600)] * 3)

    for moment in (Moment.LAUNCH, Moment.ON_DEMAND, Moment.EVICTED):
        decision = decide(moment, markets, states, WISHES)
        assert decision.chosen == Place("D4", "3")
        assert verdicts(decision)["D4 zone 1"] is Verdict.BLOCKED
        assert verdicts(decision)["D4 zone 2"] is Verdict.NO_HEADROOM


def test_a_window_masks_planned_moves_and_no_replacement():
    wishes = replace(WISHES, moves_allowed=False, window="02:00-06:00")
    states = history((1, 600))

    planned = decide(Moment.ON_DEMAND, [market()], states, wishes)
    forced = decide(Moment.EVICTED, [market()], states, wishes, lost=Place("X"))

    assert planned.action is Action.STAY
    assert "02:00-06:00" in planned.why
    assert planned.weighed[0].verdict is Verdict.WINDOW
    assert forced.chosen == Place("D4", "1")


def test_a_machine_on_spot_stays_whatever_is_cheaper():
    decision = decide(Moment.ON_SPOT, [market(price=0.001)], history((1, 600)), WISHES, lost=Place("E4", "1"))

    assert decision.action is Action.STAY


def test_the_first_launch_takes_spot_also_from_a_market_nobody_has_asked():
    markets = [
        market(zone="1", price=0.05, answers=None),
        market(zone="2", price=None),
        market(zone="3", answers=False),
    ]

    decision = decide(Moment.LAUNCH, markets, MarketStates.unseen(3), WISHES)

    assert [p.zone for p in decision.order] == ["1", "2", None]


def test_a_reservation_comes_first_or_only_before_on_demand_as_asked():
    slot = Candidate(Place("D4", "1", "reserved"), None, True, reserved=Reserved.OVER_SPOT)
    states = history((1, 600), (1, 2))

    first = decide(Moment.ON_DEMAND, [market(), slot], states, WISHES)
    last = decide(Moment.EVICTED, [market(), replace(slot, reserved=Reserved.OVER_ON_DEMAND)], states, WISHES)
    alone = decide(Moment.ON_DEMAND, [replace(slot, reserved=Reserved.OVER_ON_DEMAND)], history((1, 2)), WISHES)

    assert first.chosen == slot.place
    assert [p.priority for p in last.order] == ["spot", "reserved", "on-demand"]
    assert alone.action is Action.STAY


def test_a_decision_explains_itself_as_text_and_as_json():
    markets = [market(zone="1"), market(zone="2", answers=False), market(zone="3", price=0.3)]

    decision = decide(Moment.ON_DEMAND, markets, history((1, 600), (600, 0), (1, 600)), WISHES)

    told = json.loads(json.dumps(decision.to_json(), allow_nan=False))
    assert told["action"] == "move"
    assert [a["verdict"] for a in told["alternatives"]] == ["chosen", "does-not-answer", "not-cheaper"]
    assert told["alternatives"][0]["numbers"]["lifeHours"] > 0
    text = decision.text()
    assert text.startswith("Move to D4 zone 1: 20% of on-demand, has answered for")
    assert "costs 150% of on-demand" in text
    assert decision.text(most=1).endswith("and 2 more")


def test_an_eviction_band_starts_the_hazard_of_an_unknown_market():
    bands = [market(zone="1", eviction_band="20+"), market(zone="2", eviction_band="0-5"), market(zone="3")]
    decision = decide(Moment.ON_DEMAND, bands, MarketStates.unseen(3), WISHES)

    hazard = {w.place.zone: w.numbers["evictionsPerHour"] for w in decision.weighed}
    assert hazard["2"] < hazard["1"] < hazard["3"]  # type: ignore[operator]


def test_policies_that_are_not_offered_and_unknown_on_demand_prices_are_refused():
    with pytest.raises(InvalidInput):
        decide(Moment.LAUNCH, [], MarketStates.unseen(0), replace(WISHES, policy="p3"))
    with pytest.raises(InvalidInput):
        decide(Moment.LAUNCH, [], MarketStates.unseen(0), replace(WISHES, on_demand_per_hour=0.0))
    with pytest.raises(InvalidInput):
        decide(Moment.LAUNCH, [market()], MarketStates.unseen(0), WISHES)


def test_without_any_market_the_node_runs_on_demand():
    decision = decide(Moment.LAUNCH, [], MarketStates.unseen(0), WISHES)

    assert decision.order == (WISHES.on_demand,)
    assert "no spot market" in decision.why


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([True, False, None]), st.sampled_from([0.01, 0.1, 0.3, None]), st.integers(0, 300)),
        max_size=8,
    ),
    st.sampled_from(list(Moment)),
    st.sampled_from(["p5", "documented"]),
)
def test_every_market_is_weighed_once_and_only_admissible_ones_are_ordered(drawn, moment, policy):
    markets = [market(zone=str(i), price=p, answers=a) for i, (a, p, _) in enumerate(drawn)]
    states = history(*[(1, up) for *_, up in drawn]) if drawn else MarketStates.unseen(0)

    decision = decide(moment, markets, states, replace(WISHES, policy=policy))

    assert sorted(str(w.place) for w in decision.weighed) == sorted(str(m.place) for m in markets)
    ordered = [p for p in decision.order if p.priority == "spot"]
    chosen = [w.place for w in decision.weighed if w.verdict is Verdict.CHOSEN]
    assert ordered == chosen
    by_place = {m.place: m for m in markets}
    assert all(by_place[p].answers is not False for p in ordered)
    assert all((by_place[p].price_per_hour or 0) < 0.2 for p in ordered)
    json.dumps(decision.to_json(), allow_nan=False)


def test_one_decision_over_200_markets_takes_milliseconds():
    rng = np.random.default_rng(1)
    markets = [market(f"D{i}", str(i % 3), float(rng.uniform(0.02, 0.19))) for i in range(200)]
    states = MarketStates.unseen(200)
    for _ in range(100):
        states.observe(rng.random(200) < 0.9, 5.0)
    decide(Moment.ON_DEMAND, markets, states, WISHES)

    spent = []
    for _ in range(7):
        start = time.process_time()
        decide(Moment.ON_DEMAND, markets, states, WISHES)
        spent.append(time.process_time() - start)

    assert min(spent) < 0.015  # processor time; 5 ms is the goal, measured in benchmarks/ where nothing else runs


def test_the_state_of_ten_thousand_nodes_with_fifty_markets_each_is_updated_in_seconds():
    states = MarketStates.unseen(500_000)
    answers = np.random.default_rng(2).random(500_000) < 0.8
    states.observe(answers, 5.0)

    start = time.process_time()
    states.observe(answers, 5.0)

    assert time.process_time() - start < 2.0  # processor time
