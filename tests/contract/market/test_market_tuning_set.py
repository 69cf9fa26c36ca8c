"""The tuning set's figures, as the reference page prints them. Skipped where the traces are not present."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.market.deciding.policies import policy
from holdfast.market.deciding.replay.oracle import oracle
from holdfast.market.deciding.replay.replaying import Setting, replay_all
from holdfast.market.deciding.terms import Terms
from holdfast.market.observing.pools import pools_from_file

SHARED = Path(os.environ.get("HOLDFAST_SHARED", Path(__file__).parents[4] / "shared"))
TRACES = SHARED / "data" / "market" / "traces"
POOLS = Path(__file__).parents[3] / "benchmarks" / "market" / "tune_pools.json"

pytestmark = pytest.mark.skipif(not (TRACES / "availability").is_dir(), reason=f"{TRACES} is not here")

# λ: (oracle J, then J/J* of p3 and p5, then J of documented and of the best hysteresis)
PAGE = {
    3.0: (0.502, 1.075, 1.060, 0.544, "p1:0", 0.544),
    10.0: (0.585, 1.141, 1.112, 0.801, "p1:120", 0.685),
    30.0: (0.721, 1.250, 1.209, 1.536, "p1:240", 0.927),
}


@pytest.fixture(scope="module")
def pools():
    return pools_from_file(POOLS.read_text(), TRACES)


@pytest.mark.parametrize(
    "lam", [pytest.param(3.0, marks=pytest.mark.slow), 10.0, pytest.param(30.0, marks=pytest.mark.slow)]
)
def test_figures_of_the_tuning_set_are_reproduced(pools, lam: float):
    least, p3, p5, documented, best_p1, hysteresis = PAGE[lam]
    names = ("p3", "p5", "documented", best_p1)
    setting = Setting(Terms(lam))
    minutes = sum(p.minutes for p in pools)

    outcomes = [replay_all(p, [policy(n) for n in names], setting) for p in pools]
    j = [sum(o[i].j * o[i].minutes for o in outcomes) / minutes for i in range(len(names))]
    best = sum(oracle(p, setting.terms).j * p.minutes for p in pools) / minutes

    assert best == pytest.approx(least, abs=0.002)
    assert j[0] / best == pytest.approx(p3, abs=0.005)
    assert j[1] / best == pytest.approx(p5, abs=0.005)
    assert j[2] == pytest.approx(documented, abs=0.005)
    assert j[3] == pytest.approx(hysteresis, abs=0.005)
