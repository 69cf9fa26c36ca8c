"""The omniscient optimum: what a policy that knew the future would have paid. Exact, by dynamic programming.

V(t) is the least cost from minute t on: `up` in a place, or `down` with nothing. Computed backwards over all minutes;
the horizon cuts every interval. It obeys the replay's rules and never takes a boot that would fail, so no policy is
below it while an unplanned replacement takes no less than a planned move.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holdfast.market.deciding.ages import Floats
from holdfast.market.deciding.replay.pool import Pool
from holdfast.market.deciding.replay.replaying import ON_DEMAND, Stretch
from holdfast.market.deciding.terms import Terms

__all__ = ["Oracle", "oracle"]


@dataclass(frozen=True)
class Oracle:
    """`j` = least (cost + λ·downtime)/minutes. `cost` and `downtime_min` are those of one optimal course."""

    j: float
    minutes: int
    cost: float
    downtime_min: int
    moves: int
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True)
class _Tables:
    """Places are the markets and, last, on-demand. `value_up` [minutes + 1, places], `value_down` [minutes + 1]."""

    price: Floats
    next_down: NDArray[np.int64]
    value_up: Floats
    value_down: Floats
    boot_unplanned: Floats  # rent, λ·D and inf where the place drops during boot; without what follows
    boot_planned: Floats


def oracle(pool: Pool, terms: Terms, progress: Callable[[int], None] | None = None) -> Oracle:
    """The optimum of one pool, with one course that reaches it. Time O(minutes · markets)."""
    tables = _solve(pool, terms, progress)
    start = _best_start(pool, tables)
    total = float(tables.value_up[0, start])
    stretches, moves = _course(pool, terms, tables, start)
    downtime = sum(s.end - s.start for s in stretches if s.down)
    return Oracle(total / pool.minutes, pool.minutes, total - terms.lam * downtime, downtime, moves, tuple(stretches))


def _solve(pool: Pool, terms: Terms, progress: Callable[[int], None] | None) -> _Tables:
    count, places = pool.minutes, pool.size + 1
    price = np.hstack([pool.price, np.ones((count, 1))])
    next_down = np.hstack([pool.next_down(), np.full((count + 1, 1), count)])
    unplanned = _boots(price, next_down, terms.unplanned_min, terms.lam)
    planned = _boots(price, next_down, terms.planned_min, terms.lam)
    is_down = np.hstack([pool.available == 0, np.zeros((count, 1), dtype=bool)])
    some_down = np.asarray(is_down.any(axis=1))
    up = np.zeros((count + 1, places))
    down = np.zeros(count + 1)
    lam, detect = terms.lam, terms.detect_min
    take_u, take_p = terms.unplanned_min, terms.planned_min
    stay, scratch = np.empty(places), np.empty(places)
    for t in range(count - 1, -1, -1):
        np.add(price[t], up[t + 1], out=stay)
        # A move that takes no time lands in this very minute: the place's own stay is its value.
        np.add(planned[t], up[min(t + take_p, count)] if take_p else stay, out=scratch)
        np.minimum(stay, scratch.min(), out=up[t])
        np.add(unplanned[t], up[min(t + take_u, count)] if take_u else up[t], out=scratch)
        down[t] = min(lam + down[t + 1], scratch.min())
        if some_down[t]:
            after = min(t + detect, count)
            up[t, is_down[t]] = lam * (after - t) + down[after]
        if progress is not None and (t % 4096 == 0):
            progress(count - t)
    return _Tables(price, next_down, up, down, unplanned, planned)


def _boots(price: Floats, next_down: NDArray[np.int64], takes: int, lam: float) -> Floats:
    """Rent and λ of a boot begun at each minute in each place; inf where the place is 0 before it ends."""
    count = len(price)
    ends = np.minimum(np.arange(count) + takes, count)
    rent = np.vstack([np.zeros(price.shape[1]), np.cumsum(price, axis=0)])
    cost = rent[ends] - rent[:-1] + lam * (ends - np.arange(count))[:, None]
    # a boot that takes no time still needs a market that answers
    return np.where(next_down[:-1] >= np.maximum(ends, np.arange(count) + 1)[:, None], cost, np.inf)


def _best_start(pool: Pool, tables: _Tables) -> int:
    allowed = np.append(pool.available[0] != 0, True)
    return int(np.argmin(np.where(allowed, tables.value_up[0], np.inf)))


def _course(pool: Pool, terms: Terms, tables: _Tables, place: int) -> tuple[list[Stretch], int]:
    """Walk forwards along the values; ties stay where they are."""
    count, on_demand = pool.minutes, pool.size
    stretches: list[Stretch] = []
    moves = minute = 0

    def add(start: int, end: int, where: int | None, down: bool) -> None:
        where = ON_DEMAND if where == on_demand else where
        if end <= start:
            return
        last = stretches[-1] if stretches else None
        if last is not None and last.place == where and last.down == down and not down:
            stretches[-1] = Stretch(last.start, end, where, down)
        else:
            stretches.append(Stretch(start, end, where, down))

    while minute < count:
        if tables.next_down[minute, place] == minute:  # evicted here
            after = min(minute + terms.detect_min, count)
            add(minute, after, None, True)
            minute = after
            while minute < count:
                boots = tables.boot_unplanned[minute] + tables.value_up[min(minute + terms.unplanned_min, count)]
                if boots.min() <= terms.lam + tables.value_down[minute + 1]:
                    break
                add(minute, minute + 1, None, True)
                minute += 1
            if minute >= count:
                break
            place, takes = int(np.argmin(boots)), terms.unplanned_min
        else:
            stay = tables.price[minute, place] + tables.value_up[minute + 1, place]
            landing = tables.value_up[minute + 1] + tables.price[minute]
            if terms.planned_min:
                landing = tables.value_up[min(minute + terms.planned_min, count)]
            boots = tables.boot_planned[minute] + landing
            if stay <= boots.min():
                add(minute, minute + 1, place, False)
                minute += 1
                continue
            place, takes = int(np.argmin(boots)), terms.planned_min
        moves += 1
        ready = min(minute + takes, count)
        add(minute, ready, place, True)
        minute = ready
    return stretches, moves
