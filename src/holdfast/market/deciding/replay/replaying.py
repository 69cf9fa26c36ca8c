"""Replay a policy on a pool, event by event. The rules are those of `docs/market.md`, "The replay".

The VM is in one market, on on-demand, or down. Between events nothing happens but rent, so the replay jumps from
event to event: an eviction, the end of a boot, the next tick at which the policy would leave on-demand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from holdfast.market.deciding.policies import Policy
from holdfast.market.deciding.replay.pool import MINUTES_PER_DAY, Pool
from holdfast.market.deciding.replay.probing import ForecastUse, knowledge_by_tick, tick_minutes
from holdfast.market.deciding.state import Forgetting
from holdfast.market.deciding.terms import Terms

__all__ = ["ON_DEMAND", "Outcome", "Setting", "Stretch", "replay_all", "replay_cases", "replay_one"]

ON_DEMAND = -1  # as a place; in the arrays of choices it means that none is admissible
_30_DAYS = 30 * MINUTES_PER_DAY


@dataclass(frozen=True)
class Setting:
    """How the benchmark is run. Minutes.

    `window`: minutes of the day [from, to) in which planned moves are allowed; None = always. It never masks a
    replacement after an eviction. `failed_min`: an order into a market that does not answer.
    """

    terms: Terms = field(default_factory=Terms)
    probe_min: int = 5
    failed_min: int = 1
    window: tuple[int, int] | None = None
    forgetting: Forgetting | None = None
    forecast_horizon_min: float | None = None  # use the pool's forecast column; None: do not
    forecast_error: float | None = None  # None: as measured so far

    def terms_for(self, policy: Policy, lam: float | None = None) -> Terms:
        terms = self.terms if lam is None else replace(self.terms, lam=lam)
        return terms.with_notice() if policy.uses_notice else terms


@dataclass(frozen=True)
class Stretch:
    """The VM's place for the minutes [start, end): a market's index or ON_DEMAND; `down` while it boots or waits."""

    start: int
    end: int
    place: int | None  # None: nowhere, an eviction was not answered yet
    down: bool


@dataclass(frozen=True)
class Outcome:
    """What a policy cost on a pool. Costs in on-demand minutes."""

    policy: str
    minutes: int
    lam: float
    cost: float
    downtime_min: int
    moves: int
    planned_moves: int
    evictions: int
    spot_min: int
    stretches: tuple[Stretch, ...] = ()

    @property
    def j(self) -> float:
        return (self.cost + self.lam * self.downtime_min) / self.minutes

    @property
    def cost_percent(self) -> float:
        return 100.0 * self.cost / self.minutes

    @property
    def availability(self) -> float:
        return 1.0 - self.downtime_min / self.minutes

    @property
    def spot_share(self) -> float:
        return self.spot_min / self.minutes

    def per_30_days(self, count: float) -> float:
        return count * _30_DAYS / self.minutes


@dataclass(frozen=True)
class Choices:
    """A policy's answers for every tick: where to from on-demand (−1: stay), and the order after an eviction.

    `replacements` [ticks, attempts + 1] are market indices, −1 where no further market is admissible; one more than
    `attempts`, because the lost market is left out.
    """

    returns: NDArray[np.intp]
    replacements: NDArray[np.intp]


def replay_one(pool: Pool, policy: Policy, setting: Setting, progress: Callable[[int], None] | None = None) -> Outcome:
    """One policy on one pool. Deterministic."""
    return replay_all(pool, [policy], setting, progress)[0]


def replay_all(
    pool: Pool, policies: Sequence[Policy], setting: Setting, progress: Callable[[int], None] | None = None
) -> list[Outcome]:
    """Several policies in one pass over the probes."""
    return replay_cases(pool, [(policy, setting.terms_for(policy)) for policy in policies], setting, progress)


def replay_cases(
    pool: Pool,
    cases: Sequence[tuple[Policy, Terms]],
    setting: Setting,
    progress: Callable[[int], None] | None = None,
) -> list[Outcome]:
    """Several policies, each under terms of its own (`setting.terms` is not looked at), in one pass over the probes."""
    choices = choices_by_tick(pool, cases, setting, progress)
    return [
        _Run(pool, policy, terms, setting, made).outcome() for (policy, terms), made in zip(cases, choices, strict=True)
    ]


def choices_by_tick(
    pool: Pool,
    cases: Sequence[tuple[Policy, Terms]],
    setting: Setting,
    progress: Callable[[int], None] | None = None,
) -> list[Choices]:
    """Ask every policy for every tick."""
    ticks = len(tick_minutes(pool, setting.probe_min))
    made = [
        Choices(np.full(ticks, -1), np.full((ticks, min(p.attempts + 1, pool.size)), -1, dtype=np.intp))
        for p, _ in cases
    ]
    chunks = knowledge_by_tick(
        pool,
        setting.probe_min,
        any(p.uses_context for p, _ in cases),
        setting.forgetting,
        None
        if setting.forecast_horizon_min is None
        else ForecastUse(setting.forecast_horizon_min, setting.forecast_error),
        progress,
    )
    for place, known in chunks:
        for (policy, terms), into in zip(cases, made, strict=True):
            into.returns[place] = policy.returning(known, terms).best()
            after = policy.replacing(known, terms)
            order = after.best_first()[..., : into.replacements.shape[1]]
            admissible = np.take_along_axis(after.admissible, order, -1)
            into.replacements[place] = np.where(admissible, order, -1)
    return made


class _Run:
    """One replay while it runs: where the VM is, at which minute, and what was spent."""

    def __init__(self, pool: Pool, policy: Policy, terms: Terms, setting: Setting, choices: Choices) -> None:
        self.pool, self.policy, self.terms, self.setting, self.choices = pool, policy, terms, setting, choices
        self.end = pool.minutes
        self.up = pool.available
        self.next_down = pool.next_down()
        self.rent = np.vstack([np.zeros(pool.size), np.cumsum(pool.price, axis=0)])
        self.return_ticks = self._return_ticks()
        self.cost = 0.0
        self.downtime = self.moves = self.planned = self.evictions = self.spot = 0
        self.was_on_spot = False
        self.stretches: list[Stretch] = []

    def outcome(self) -> Outcome:
        minute, place = 0, self._start()
        while minute < self.end:
            minute, place = self._on_demand(minute) if place == ON_DEMAND else self._on_spot(minute, place)
        return Outcome(
            self.policy.name,
            self.end,
            self.terms.lam,
            self.cost,
            self.downtime,
            self.moves,
            self.planned,
            self.evictions,
            self.spot,
            tuple(self.stretches),
        )

    def _start(self) -> int:
        """The cheapest market that is up at minute 0, else on-demand; without cost."""
        up = np.flatnonzero(self.up[0])
        if not self.policy.starts_on_spot or not len(up):
            return ON_DEMAND
        return int(up[np.argmin(self.pool.price[0, up])])

    def _return_ticks(self) -> NDArray[np.int64]:
        """Minutes of the ticks at which the policy would leave on-demand."""
        if self.policy.returns == "never":
            return np.zeros(0, dtype=np.int64)
        minutes = np.flatnonzero(self.choices.returns >= 0) * self.setting.probe_min
        if self.setting.window is not None:
            begin, end = self.setting.window
            of_day = minutes % MINUTES_PER_DAY
            inside = (of_day >= begin) & (of_day < end) if begin < end else (of_day >= begin) | (of_day < end)
            minutes = minutes[inside]
        return minutes.astype(np.int64)

    def _on_demand(self, minute: int) -> tuple[int, int]:
        """Stay until a tick at which the policy wants a market; then boot into it."""
        leave = self.end
        if self.policy.returns == "always" or not self.was_on_spot:
            found = int(np.searchsorted(self.return_ticks, minute))
            if found < len(self.return_ticks):
                leave = int(self.return_ticks[found])
        self._stay(minute, leave, ON_DEMAND)
        if leave >= self.end:
            return self.end, ON_DEMAND
        self.planned += 1
        market = int(self.choices.returns[leave // self.setting.probe_min])
        return self._boot(leave, market, self.terms.planned_min)

    def _on_spot(self, minute: int, market: int) -> tuple[int, int]:
        """Stay until the market is 0; then find another place."""
        self.was_on_spot = True
        lost = int(self.next_down[minute, market])
        self._stay(minute, lost, market)
        return (self.end, market) if lost >= self.end else self._evicted(lost, market)

    def _evicted(self, minute: int, lost: int) -> tuple[int, int]:
        """Detect, then try the policy's list; a market that is 0 costs one failed attempt; on-demand always answers."""
        self.evictions += 1
        minute = self._down(minute, minute + self.terms.detect_min)
        while minute < self.end:
            for market in self._list(minute, lost):
                if self.up[minute, market]:
                    return self._boot(minute, market, self.terms.unplanned_min)
                minute = self._down(minute, minute + self.setting.failed_min)
                if minute >= self.end:
                    return self.end, ON_DEMAND
            if not self.policy.waits_for_the_lost_market:
                return self._boot(minute, ON_DEMAND, self.terms.unplanned_min)
            minute = self._down(minute, minute + 1)
        return self.end, ON_DEMAND

    def _list(self, minute: int, lost: int) -> list[int]:
        if self.policy.waits_for_the_lost_market:
            return [lost]
        known = self.choices.replacements[minute // self.setting.probe_min]
        return [int(m) for m in known if m >= 0 and m != lost][: self.policy.attempts]

    def _boot(self, minute: int, place: int, takes: int) -> tuple[int, int]:
        """Down for `takes` minutes, rent from the first; a drop during boot is another eviction."""
        self.moves += 1
        ready = min(minute + takes, self.end)
        if place == ON_DEMAND:
            self._pay(minute, ready, place, down=True)
            return ready, place
        self.was_on_spot = True
        lost = int(self.next_down[minute, place])
        if lost < ready:
            self._pay(minute, lost, place, down=True)
            return self._evicted(lost, place)
        self._pay(minute, ready, place, down=True)
        return ready, place

    def _stay(self, start: int, end: int, place: int) -> None:
        if place != ON_DEMAND:
            self.spot += end - start
        self._pay(start, end, place, down=False)

    def _pay(self, start: int, end: int, place: int, down: bool) -> None:
        if end <= start:
            return
        self.cost += (end - start) if place == ON_DEMAND else float(self.rent[end, place] - self.rent[start, place])
        if down:
            self.downtime += end - start
        self.stretches.append(Stretch(start, end, place, down))

    def _down(self, start: int, end: int) -> int:
        """Nowhere and down; returns the minute at which that ends, cut at the horizon."""
        end = min(end, self.end)
        if end > start:
            self.downtime += end - start
            self.stretches.append(Stretch(start, end, None, True))
        return end
