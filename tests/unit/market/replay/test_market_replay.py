"""The replay against a plain minute stepper, the oracle against exhaustive search, and no knowledge of the future."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_bench import least_cost, random_pool, stepped

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.policies import POLICY_NAMES, policy
from holdfast.market.deciding.replay.benchmark import run_benchmark
from holdfast.market.deciding.replay.generating import Climate, generate_pool, perfect_forecast
from holdfast.market.deciding.replay.oracle import oracle
from holdfast.market.deciding.replay.pool import Pool
from holdfast.market.deciding.replay.replaying import ON_DEMAND, Setting, choices_by_tick, replay_all, replay_one
from holdfast.market.deciding.terms import Terms


@pytest.mark.parametrize("seed", range(60))
def test_oracle_is_equal_to_exhaustive_search_on_a_tiny_pool(seed: int):
    rng = np.random.default_rng(seed)
    pool = random_pool(rng, int(rng.integers(4, 15)), int(rng.integers(1, 4)))
    terms = Terms(
        lam=float(rng.choice([0.3, 1.0, 3.0, 10.0])),
        unplanned_min=int(rng.integers(0, 4)),
        planned_min=int(rng.integers(0, 4)),
        detect_min=int(rng.integers(0, 3)),
    )

    assert oracle(pool, terms).j == pytest.approx(least_cost(pool, terms), abs=1e-9)


def test_oracle_is_equal_to_exhaustive_search_where_moves_pay():
    """Cheap moves in restless pools: most optima move, so that every kind of move is compared."""
    moved = 0
    for seed in range(60):
        rng = np.random.default_rng(1000 + seed)
        pool = random_pool(rng, int(rng.integers(15, 40)), int(rng.integers(2, 5)))
        terms = Terms(
            lam=float(rng.choice([0.05, 0.2, 0.5])),
            unplanned_min=int(rng.integers(0, 4)),
            planned_min=int(rng.integers(0, 4)),
            detect_min=int(rng.integers(0, 3)),
        )
        best = oracle(pool, terms)
        assert best.j == pytest.approx(least_cost(pool, terms), abs=1e-9), seed
        moved += best.moves > 0
    assert moved >= 30


@pytest.mark.parametrize("seed", range(20))
def test_the_oracles_course_costs_what_the_oracle_says(seed: int):
    rng = np.random.default_rng(seed)
    pool = random_pool(rng, 400, 3, change=0.05)
    terms = Terms(lam=3.0, unplanned_min=int(rng.integers(1, 6)), planned_min=int(rng.integers(1, 6)))

    best = oracle(pool, terms)

    cost = 0.0
    for stretch in best.stretches:
        minutes = slice(stretch.start, stretch.end)
        if stretch.place == ON_DEMAND:
            cost += stretch.end - stretch.start
        elif stretch.place is not None:
            assert pool.available[minutes, stretch.place].all()
            cost += float(pool.price[minutes, stretch.place].sum())
    assert best.stretches[-1].end == pool.minutes
    assert best.cost == pytest.approx(cost)
    assert best.j == pytest.approx((cost + 3.0 * best.downtime_min) / pool.minutes)


@pytest.mark.parametrize("name", [*POLICY_NAMES, "p1:10"])
@pytest.mark.parametrize("seed", range(4))
def test_event_driven_replay_is_equal_to_the_minute_stepper(name: str, seed: int):
    rng = np.random.default_rng(1000 + seed)
    pool = random_pool(rng, 900, int(rng.integers(1, 5)), change=float(rng.choice([0.01, 0.05, 0.2])))
    setting = Setting(
        terms=Terms(
            lam=float(rng.choice([1.0, 3.0, 10.0])),
            unplanned_min=int(rng.integers(0, 7)),
            planned_min=int(rng.integers(0, 7)),
            detect_min=int(rng.integers(0, 3)),
        ),
        probe_min=int(rng.choice([1, 4, 5])),
        window=(120, 700) if seed == 3 else None,
    )

    out = replay_one(pool, policy(name), setting)

    assert (out.downtime_min, out.moves, out.evictions) == stepped(pool, policy(name), setting)[1:]
    assert out.cost == pytest.approx(stepped(pool, policy(name), setting)[0])


@pytest.mark.parametrize("seed", range(6))
def test_no_policy_is_below_the_oracle_of_its_own_detect(seed: int):
    rng = np.random.default_rng(seed)
    pool = random_pool(rng, 3000, 3, change=0.02)
    setting = Setting(Terms(lam=float(rng.choice([3.0, 10.0, 30.0])), unplanned_min=5, planned_min=2))

    result = run_benchmark([pool], [policy(n) for n in POLICY_NAMES], setting)

    assert result.to_json()["below_oracle"] == []
    assert all(o.j >= own - 1e-9 for r in result.results for o, own in zip(r.outcomes, r.own_oracles, strict=True))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(1, 999), other=st.integers(0, 10_000))
def test_changing_the_future_of_a_trace_never_changes_an_earlier_decision(seed: int, cut: int, other: int):
    rng = np.random.default_rng(seed)
    pool = random_pool(rng, 1000, 3, change=0.03)
    changed = random_pool(np.random.default_rng(other), 1000, 3, change=0.1)
    up, price = pool.available.copy(), pool.price.copy()
    up[cut:], price[cut:] = changed.available[cut:], changed.price[cut:]
    future = replace(pool, available=up, price=price)
    cases = [(policy(n), Terms(lam=3.0)) for n in ("documented", "p1:20", "p2c", "p3", "p5")]
    setting = Setting()

    before, after = choices_by_tick(pool, cases, setting), choices_by_tick(future, cases, setting)

    ticks = (cut - 1) // setting.probe_min + 1  # ticks at minutes before the cut
    for one, two in zip(before, after, strict=True):
        assert (one.returns[:ticks] == two.returns[:ticks]).all()
        assert (one.replacements[:ticks] == two.replacements[:ticks]).all()
    for name in ("documented", "p3", "p5"):
        path, other_path = (
            # what ends before the cut was decided before it
            [s for s in replay_one(p, policy(name), setting).stretches if s.end < cut]
            for p in (pool, future)
        )
        assert path == other_path


def test_a_market_that_is_always_up_costs_its_price_and_nothing_else():
    pool = Pool("calm", ("a_s",), np.ones((1440, 1), dtype=np.uint8), np.full((1440, 1), 0.3), ("r",))

    out, best = replay_one(pool, policy("p3"), Setting()), oracle(pool, Terms())

    assert out.j == pytest.approx(0.3)
    assert best.j == pytest.approx(0.3)
    assert (out.moves, out.downtime_min) == (0, 0)


def test_a_failed_attempt_costs_one_minute_and_no_rent():
    up = np.ones((60, 3), dtype=np.uint8)
    up[12:, 0] = 0  # evicted at 12
    up[11:, 1] = 0  # answered the probe at 10, does not answer the order at 13
    price = np.tile([0.1, 0.2, 0.3], (60, 1))
    pool = Pool("failing", ("a_s", "b_s", "c_s"), up, price, ("r",) * 3)

    out = replay_one(pool, policy("documented"), Setting())

    # detect 12, failed 13, boot in c from 14 to 19
    assert [(s.start, s.end, s.place, s.down) for s in out.stretches] == [
        (0, 12, 0, False),
        (12, 13, None, True),
        (13, 14, None, True),
        (14, 19, 2, True),
        (19, 60, 2, False),
    ]
    assert out.cost == pytest.approx(12 * 0.1 + 46 * 0.3)


def test_a_drop_during_boot_is_another_eviction():
    up = np.ones((60, 2), dtype=np.uint8)
    up[12:, 0] = 0
    up[15:, 1] = 0
    pool = Pool("twice", ("a_s", "b_s"), up, np.full((60, 2), 0.2), ("r",) * 2)

    out = replay_one(pool, policy("documented"), Setting())

    assert out.evictions == 2
    assert out.stretches[-1].place == ON_DEMAND


def test_a_window_masks_returns_and_never_replacements():
    pool = generate_pool("w", seed=5, days=6, zones=("west-1a", "west-1b"), sizes=("d4",))
    setting = Setting(window=(120, 360))

    out = replay_one(pool, policy("documented"), setting)

    after = [b for a, b in zip(out.stretches, out.stretches[1:], strict=False) if a.place == ON_DEMAND and not a.down]
    assert after
    assert all(120 <= s.start % 1440 < 360 for s in after)
    assert out.evictions > out.planned_moves


def test_same_size_never_runs_on_demand_and_naive_a_stays_there():
    pool = generate_pool("n", seed=3, days=8, zones=("west-1a", "west-1b"), sizes=("d4",))
    assert pool.available[0].any()

    same, naive = replay_all(pool, [policy("same-size"), policy("naive-a")], Setting())

    assert all(s.place != ON_DEMAND for s in same.stretches)
    assert len({s.place for s in same.stretches if s.place is not None}) == 1
    assert (naive.evictions, naive.moves) == (1, 1)


def test_generated_traces_repeat_by_seed_and_have_heavy_tails_and_company():
    pool, again = (generate_pool("g", seed=11, days=45) for _ in range(2))

    assert (pool.available == again.available).all()
    assert (pool.price == again.price).all()
    up = pool.available.astype(float)
    spells = np.concatenate([np.diff(np.flatnonzero(np.diff(up[:, m]) != 0)) for m in range(pool.size)])
    assert np.percentile(spells, 99) > 20 * np.median(spells)
    inside = np.corrcoef(up.T)[np.triu_indices(pool.size, 1)]
    assert inside.mean() > 0.1
    drops = (np.diff(up, axis=0) < 0).astype(float)
    window = np.ones(11)
    near = np.stack([np.convolve(drops[:, m], window, "same") > 0 for m in range(pool.size)], axis=1)
    beside = np.mean(
        [near[drops[:, m] > 0][:, [i for i in range(pool.size) if i != m]].mean() for m in range(pool.size)]
    )
    assert beside > 3 * near.mean()


def test_a_perfect_forecast_helps_and_an_unknown_one_changes_nothing():
    pool = generate_pool(
        "f", seed=21, days=20, zones=("west-1a", "west-1b"), sizes=("d4",), climate=Climate(up_tail=0.5)
    )
    told = replace(pool, stays=perfect_forecast(pool, 60))
    terms = Terms(lam=10.0)

    without = replay_one(pool, policy("p5"), Setting(terms)).j
    nothing = replay_one(told, policy("p5"), Setting(terms, forecast_horizon_min=60, forecast_error=0.5)).j
    perfect = replay_one(told, policy("p5"), Setting(terms, forecast_horizon_min=60, forecast_error=0.0)).j
    measured = replay_one(told, policy("p5"), Setting(terms, forecast_horizon_min=60)).j

    assert nothing == pytest.approx(without, abs=1e-9)
    assert perfect < without
    assert measured < without


def test_pools_of_another_shape_and_unknown_policies_are_refused():
    with pytest.raises(InvalidInput):
        Pool("x", ("a", "b"), np.ones((3, 1), dtype=np.uint8), np.ones((3, 1)), ("r",))
    with pytest.raises(InvalidInput):
        policy("p4")
    with pytest.raises(InvalidInput):
        run_benchmark([], [policy("p3"), policy("p3")], Setting())
