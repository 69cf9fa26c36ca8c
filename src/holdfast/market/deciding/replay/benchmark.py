"""Policies × pools, with the oracle, averaged by the pools' length. The value that `market replay` prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.policies import Policy
from holdfast.market.deciding.replay.oracle import Oracle, oracle
from holdfast.market.deciding.replay.pool import MINUTES_PER_DAY, Pool
from holdfast.market.deciding.replay.probing import tick_minutes
from holdfast.market.deciding.replay.replaying import Outcome, Setting, replay_all

__all__ = ["Benchmark", "PoolResult", "run_benchmark", "work_of"]

# J/J* is taken from the oracle with this detect, whatever the policy's: it says what the notice is worth as well.
ORACLE_DETECT_MIN = 1
# Sums of the same rents in another order differ by this much at most over a year of minutes.
ROUNDING = 1e-9

Progress = Callable[[int], None]


@dataclass(frozen=True)
class PoolResult:
    """One pool. `own_oracles[i]` is the oracle's J with the detect of policy i: nothing may be below it."""

    pool: Pool
    oracle: Oracle
    outcomes: tuple[Outcome, ...]
    own_oracles: tuple[float, ...]

    @property
    def below_oracle(self) -> tuple[str, ...]:
        """Policies that beat their own oracle: there is none unless replay or oracle is wrong."""
        pairs = zip(self.outcomes, self.own_oracles, strict=True)
        return tuple(o.policy for o, least in pairs if o.j < least - ROUNDING * self.pool.minutes)


@dataclass(frozen=True)
class Benchmark:
    setting: Setting
    names: tuple[str, ...]
    results: tuple[PoolResult, ...]

    @property
    def minutes(self) -> int:
        return sum(r.pool.minutes for r in self.results)

    @property
    def oracle_j(self) -> float:
        return sum(r.oracle.j * r.pool.minutes for r in self.results) / self.minutes

    def total(self, name: str) -> Outcome:
        """One policy over all pools, as if they were one long pool: that is the mean weighted by length."""
        index = self.names.index(name)
        parts = [r.outcomes[index] for r in self.results]
        return Outcome(
            name,
            self.minutes,
            parts[0].lam,
            sum(o.cost for o in parts),
            sum(o.downtime_min for o in parts),
            sum(o.moves for o in parts),
            sum(o.planned_moves for o in parts),
            sum(o.evictions for o in parts),
            sum(o.spot_min for o in parts),
        )

    def to_json(self) -> dict[str, Any]:
        terms = self.setting.terms
        below = sorted({name for r in self.results for name in r.below_oracle})
        return {
            "lambda": terms.lam,
            "downtime": f"{terms.unplanned_min}/{terms.planned_min}",
            "detect": terms.detect_min,
            "probe": self.setting.probe_min,
            "minutes": self.minutes,
            "pools": [self._pool_json(r) for r in self.results],
            "oracle": {"j": self.oracle_j},
            "policies": {name: _outcome_json(self.total(name), self.oracle_j) for name in self.names},
            "below_oracle": below,
        }

    def _pool_json(self, result: PoolResult) -> dict[str, Any]:
        policies = {}
        for outcome, own in zip(result.outcomes, result.own_oracles, strict=True):
            policies[outcome.policy] = {**_outcome_json(outcome, result.oracle.j), "own_detect_oracle_j": own}
        return {
            "name": result.pool.name,
            "minutes": result.pool.minutes,
            "days": round(result.pool.minutes / MINUTES_PER_DAY, 3),
            "markets": list(result.pool.markets),
            "oracle": {
                "j": result.oracle.j,
                "cost": result.oracle.cost / result.pool.minutes,
                "downtime_minutes_per_30_days": result.oracle.downtime_min * 30 * MINUTES_PER_DAY / result.pool.minutes,
            },
            "policies": policies,
        }


def work_of(pools: Sequence[Pool], setting: Setting) -> int:
    """Units of progress that `run_benchmark` will report: ticks and oracle minutes."""
    return sum(len(tick_minutes(p, setting.probe_min)) + p.minutes for p in pools)


def run_benchmark(
    pools: Sequence[Pool], policies: Sequence[Policy], setting: Setting, progress: Progress | None = None
) -> Benchmark:
    """`progress` is told the units done since it was last told."""
    names = tuple(p.name for p in policies)
    if not names or len(set(names)) != len(names):
        raise InvalidInput(field="--policy", problem="name at least one policy, and each once")
    return Benchmark(setting, names, tuple(_run_pool(p, policies, setting, progress) for p in pools))


def _run_pool(pool: Pool, policies: Sequence[Policy], setting: Setting, progress: Progress | None) -> PoolResult:
    outcomes = replay_all(pool, policies, setting, _steps(progress))
    by_detect: dict[int, float] = {}
    best = oracle(pool, replace(setting.terms, detect_min=ORACLE_DETECT_MIN), _steps(progress))
    by_detect[ORACLE_DETECT_MIN] = best.j
    own = []
    for policy in policies:
        terms = setting.terms_for(policy)
        if terms.detect_min not in by_detect:
            by_detect[terms.detect_min] = oracle(pool, terms).j
        own.append(by_detect[terms.detect_min])
    return PoolResult(pool, best, tuple(outcomes), tuple(own))


def _steps(progress: Progress | None) -> Progress | None:
    """From "done so far" to "done since": one counter for each stage."""
    if progress is None:
        return None
    last = 0

    def told(done: int) -> None:
        nonlocal last
        progress(done - last)
        last = done

    return told


def _outcome_json(outcome: Outcome, oracle_j: float) -> dict[str, Any]:
    return {
        "j": outcome.j,
        "j_over_oracle": outcome.j / oracle_j if oracle_j > 0 else None,
        "cost": outcome.cost / outcome.minutes,
        "cost_percent": outcome.cost_percent,
        "downtime_minutes_per_30_days": outcome.per_30_days(outcome.downtime_min),
        "availability": outcome.availability,
        "moves": outcome.per_30_days(outcome.moves),
        "planned_moves": outcome.per_30_days(outcome.planned_moves),
        "evictions": outcome.per_30_days(outcome.evictions),
        "spot_share": outcome.spot_share,
    }
