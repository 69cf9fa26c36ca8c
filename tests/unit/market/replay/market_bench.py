"""A plain minute stepper and an exhaustive search: written from the page's rules, slowly and without the product's code
for stepping, so that each judges the other.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from holdfast.market.deciding.policies import Policy
from holdfast.market.deciding.replay.pool import Pool
from holdfast.market.deciding.replay.probing import knowledge_by_tick
from holdfast.market.deciding.replay.replaying import Setting
from holdfast.market.deciding.terms import Terms


def random_pool(rng: np.random.Generator, minutes: int, markets: int, change: float = 0.25) -> Pool:
    """Short spells, two price levels now and then."""
    flips = rng.random((minutes, markets)) < change
    start = rng.random(markets) < 0.6
    up = ((np.cumsum(flips, axis=0) % 2 == 1) ^ start).astype(np.uint8)
    price = rng.choice([0.1, 0.25, 0.3, 0.8], size=(1, markets)) * np.ones((minutes, 1))
    price = price + (rng.random((minutes, markets)) < 0.02).cumsum(axis=0) * 0.01
    return Pool(f"random {minutes}x{markets}", tuple(f"z{m}_s" for m in range(markets)), up, price, ("r",) * markets)


def least_cost(pool: Pool, terms: Terms) -> float:
    """The optimum by trying every course of action from the start, minute by minute. Only for tiny pools.

    `boot` holds the minutes of a boot that remain. Every choice that the replay's rules allow is tried: stay, move to
    any market that answers now or to on-demand, wait after an eviction, order any market or on-demand. Boots that
    would fail are left out, as the page's oracle leaves them out: where an unplanned replacement were quicker than a
    planned move, an eviction taken on purpose would be the cheaper move.
    """
    end, lam = pool.minutes, terms.lam
    od = pool.size
    up = [[*(bool(v) for v in row), True] for row in pool.available]
    rent = [[*row, 1.0] for row in pool.price.tolist()]

    @cache
    def booting(t: int, place: int, left: int) -> float:
        if t >= end:
            return 0.0
        if left == 0:
            return serving(t, place)
        if not up[t][place]:
            return float("inf")
        return rent[t][place] + lam + booting(t + 1, place, left - 1)

    @cache
    def serving(t: int, place: int) -> float:
        if t >= end:
            return 0.0
        if not up[t][place]:
            return evicted(t)
        best = rent[t][place] + serving(t + 1, place)
        for other in range(od + 1):
            if other != place and up[t][other]:
                if terms.planned_min:
                    best = min(best, booting(t, other, terms.planned_min))
                else:  # a free move: the other place serves this very minute
                    best = min(best, rent[t][other] + serving(t + 1, other))
        return best

    def evicted(t: int) -> float:
        waited = min(t + terms.detect_min, end)
        return lam * (waited - t) + nowhere(waited)

    @cache
    def nowhere(t: int) -> float:
        if t >= end:
            return 0.0
        best = lam + nowhere(t + 1)
        for place in range(od + 1):
            if up[t][place]:
                best = min(best, booting(t, place, terms.unplanned_min))
        return best

    starts = [p for p in range(od + 1) if up[0][p]]
    return min(serving(0, p) for p in starts) / end


def stepped(pool: Pool, policy: Policy, setting: Setting) -> tuple[float, int, int, int]:
    """(cost, downtime, moves, evictions) of a replay that looks at every single minute."""
    terms = setting.terms_for(policy)
    probe, end = setting.probe_min, pool.minutes
    returns: list[int] = []
    orders: list[list[int]] = []
    for _, known in knowledge_by_tick(pool, probe, policy.uses_context):
        chosen, after = policy.returning(known, terms), policy.replacing(known, terms)
        best, ranked = chosen.best(), after.best_first()
        for k in range(len(best)):
            returns.append(int(best[k]))
            orders.append([int(m) for m in ranked[k] if after.admissible[k, m]])

    answering = [m for m in range(pool.size) if pool.available[0, m]]
    place: int | None = None  # None = on-demand
    if policy.starts_on_spot and answering:
        place = min(answering, key=lambda m: float(pool.price[0, m]))
    mode, left, lost = "up", 0, -1
    queue: list[int] = []
    seen_spot = place is not None
    cost, down, moves, evictions = 0.0, 0, 0, 0
    t = 0
    while t < end:
        if mode in ("up", "boot") and place is not None and not pool.available[t, place]:
            evictions += 1
            mode, left, lost = "detect", terms.detect_min, place
        if mode == "boot" and left == 0:
            mode = "up"
        if mode == "up" and place is None and t % probe == 0:
            may = policy.returns == "always" or (policy.returns == "first" and not seen_spot)
            target = returns[t // probe]
            if may and target >= 0 and in_window(t, setting.window):
                place, mode, left, seen_spot = target, "boot", terms.planned_min, True
                moves += 1
                if left == 0:
                    mode = "up"
        if mode == "detect" and left == 0:
            mode, queue = "ask", []
        if mode == "ask":
            if policy.waits_for_the_lost_market:
                queue = [lost]
            else:
                queue = [m for m in orders[t // probe] if m != lost][: policy.attempts]
            mode = "order"
        if mode == "wait" and left == 0:
            mode, queue = "order", [lost]
        if mode == "order":
            if queue and pool.available[t, queue[0]]:
                place, mode, left, seen_spot = queue[0], "boot", terms.unplanned_min, True
                moves += 1
            elif not queue and policy.waits_for_the_lost_market:
                mode, left = "wait", 1
            elif not queue:
                place, mode, left = None, "boot", terms.unplanned_min
                moves += 1
            else:
                queue.pop(0)
                down += 1  # the failed attempt's minute
                t += 1
                continue
            if mode == "boot" and left == 0:
                mode = "up"
        if mode in ("up", "boot"):
            cost += 1.0 if place is None else float(pool.price[t, place])
        if mode != "up":
            down += 1
        left -= 1 if mode in ("boot", "detect", "wait") else 0
        t += 1
    return cost, down, moves, evictions


def in_window(t: int, window: tuple[int, int] | None) -> bool:
    if window is None:
        return True
    begin, end = window
    of_day = t % 1440
    return begin <= of_day < end if begin < end else of_day >= begin or of_day < end
