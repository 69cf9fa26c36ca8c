"""Make traces that behave like spot markets: heavy-tailed spells, and families and regions that go down together.

Everything is drawn from one seed. Tests, documents and rehearsals use these traces; no recorded trace is in the
product. A market's calm is an alternation of Pareto-tailed spells; on top come shocks of its region and of its family
(size × region), which take each member down with some probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.ages import Floats
from holdfast.market.deciding.replay.pool import MINUTES_PER_DAY, Pool

__all__ = ["Climate", "generate_pool", "perfect_forecast"]


@dataclass(frozen=True)
class Climate:
    """How markets behave. The defaults give availabilities from .1 to .9 and hazards that fall with age."""

    up_median_min: float = 120.0
    up_tail: float = 0.6  # Pareto index: below 1 the mean is carried by a few very long spells
    down_median_min: float = 45.0
    down_tail: float = 0.9
    longest_min: float = 20_000.0
    region_shocks_per_day: float = 1.0
    family_shocks_per_day: float = 0.8
    shock_hits: float = 0.6  # probability that a shock takes a member down
    shock_median_min: float = 90.0
    price_low: float = 0.24
    price_high: float = 0.36
    price_steps_per_30_days: float = 2.0


def generate_pool(
    name: str,
    seed: int,
    days: float = 45.0,
    zones: Sequence[str] = ("west-1a", "west-1b", "west-1c"),
    sizes: Sequence[str] = ("d4", "d8", "e4"),
    climate: Climate | None = None,
) -> Pool:
    """One market for each size and zone, named zone_size; the zone without its letter is the region."""
    if not zones or not sizes or days <= 0:
        raise InvalidInput(field="generator", problem="needs zones, sizes and a positive number of days")
    climate = climate or Climate()
    rng = np.random.default_rng(seed)
    minutes = round(days * MINUTES_PER_DAY)
    markets = [(zone, size) for zone in zones for size in sizes]
    regions = tuple(zone.rstrip("abcdefgh") or zone for zone, _ in markets)
    up = np.stack([_spells(rng, minutes, climate) for _ in markets], axis=1)
    for region in sorted(set(regions)):
        members = [i for i, r in enumerate(regions) if r == region]
        _shock(rng, up, members, climate.region_shocks_per_day, climate)
        for size in sizes:
            family = [i for i in members if markets[i][1] == size]
            _shock(rng, up, family, climate.family_shocks_per_day, climate)
    price = np.stack([_prices(rng, minutes, climate) for _ in markets], axis=1)
    return Pool(name, tuple(f"{zone}_{size}" for zone, size in markets), up, price, regions)


def perfect_forecast(pool: Pool, horizon_min: int, error_rate: float = 0.0, seed: int = 0) -> NDArray[np.int8]:
    """Whether each market stays up for the horizon, wrong with `error_rate`; an error lasts for one horizon.

    Errors must last: drawn anew each minute they would let a policy wait for the draw that it likes.
    """
    ahead = pool.next_down()[:-1]
    stays = (ahead - np.arange(pool.minutes)[:, None] >= horizon_min) | (ahead >= pool.minutes)
    rng = np.random.default_rng(seed)
    wrong = rng.random((pool.minutes // horizon_min + 1, pool.size)) < error_rate
    return (stays ^ np.repeat(wrong, horizon_min, axis=0)[: pool.minutes]).astype(np.int8)


def _pareto(rng: np.random.Generator, median: float, tail: float, longest: float) -> int:
    """A length in minutes with this median and a Pareto tail."""
    scale = median / 2.0 ** (1.0 / tail)
    return int(np.clip(scale * rng.uniform() ** (-1.0 / tail), 1.0, longest))


def _spells(rng: np.random.Generator, minutes: int, climate: Climate) -> NDArray[np.uint8]:
    """One market alone. Markets differ: each draws how good it is."""
    goodness = float(np.exp(rng.normal(0.0, 0.6)))
    series = np.zeros(minutes, dtype=np.uint8)
    at, up = 0, bool(rng.uniform() < 0.6)
    while at < minutes:
        if up:
            length = _pareto(rng, climate.up_median_min * goodness, climate.up_tail, climate.longest_min)
            series[at : at + length] = 1
        else:
            length = _pareto(rng, climate.down_median_min / goodness, climate.down_tail, climate.longest_min)
        at, up = at + length, not up
    return series


def _shock(
    rng: np.random.Generator, up: NDArray[np.uint8], members: Sequence[int], per_day: float, climate: Climate
) -> None:
    minutes = len(up)
    for _ in range(rng.poisson(per_day * minutes / MINUTES_PER_DAY)):
        at = int(rng.integers(minutes))
        shortage = _pareto(rng, climate.shock_median_min, climate.down_tail, climate.longest_min)
        for member in members:
            if rng.uniform() < climate.shock_hits:
                start = at + int(rng.integers(0, 5))  # siblings drop within minutes of each other
                length = max(1, int(shortage * rng.uniform(0.5, 1.5)))  # and come back as the shortage ends
                up[start : start + length, member] = 0


def _prices(rng: np.random.Generator, minutes: int, climate: Climate) -> Floats:
    """Administered steps: flat for weeks, then another level."""
    changes = np.sort(rng.integers(0, minutes, rng.poisson(climate.price_steps_per_30_days * minutes / 43_200)))
    levels = rng.uniform(climate.price_low, climate.price_high, len(changes) + 1).round(4)
    return np.asarray(levels[np.searchsorted(changes, np.arange(minutes), side="right")], dtype=np.float64)
