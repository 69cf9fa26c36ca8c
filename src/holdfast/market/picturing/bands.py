"""One pool over time: markets as bands (colour: price; grey: down), a policy's places over them, all policies below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.market.deciding.ages import Floats
from holdfast.market.deciding.replay.pool import MINUTES_PER_DAY, Pool
from holdfast.market.deciding.replay.replaying import ON_DEMAND, Stretch

__all__ = ["draw_bands", "draw_strips", "price_scale"]

COLUMNS = 2000  # pixels of a wide screen; more is not seen
DOWN_GREY = np.array([0.93, 0.93, 0.93])
PATH = "#111111"
ON_DEMAND_COLOUR = np.array([0.30, 0.30, 0.34])
DOWN_RED = np.array([0.84, 0.10, 0.11])


def price_scale(pools: Sequence[Pool]) -> tuple[float, float]:
    """One scale for all pools of a figure, rounded outwards to .05."""
    low = min(float(p.price.min()) for p in pools)
    high = max(float(p.price.max()) for p in pools)
    low, high = np.floor(low * 20) / 20, np.ceil(high * 20) / 20
    return float(low), float(max(high, low + 0.05))


def draw_bands(
    axes: Any, pool: Pool, stretches: Sequence[Stretch], focus: str, scale: tuple[float, float], colours: Any
) -> None:
    """Rows from the top: on-demand, then the markets. `stretches` are the focus policy's places."""
    edges = np.linspace(0, pool.minutes, min(COLUMNS, pool.minutes) + 1).astype(np.int64)
    widths = np.diff(edges)
    up = np.add.reduceat(pool.available.astype(np.float64), edges[:-1], axis=0) / widths[:, None]
    price = np.add.reduceat(pool.price, edges[:-1], axis=0) / widths[:, None]
    low, high = scale
    rgb = colours(np.clip((price - low) / (high - low), 0, 1))[..., :3]
    image = up[..., None] * rgb + (1 - up[..., None]) * DOWN_GREY
    days = pool.minutes / MINUTES_PER_DAY
    axes.imshow(
        image.transpose(1, 0, 2),
        aspect="auto",
        interpolation="nearest",
        extent=(0, days, pool.size + 0.5, 0.5),
    )
    for row in range(1, pool.size):
        axes.axhline(row + 0.5, color="white", linewidth=1.6)
    _draw_path(axes, stretches)
    axes.set_xlim(0, days)
    axes.set_ylim(pool.size + 0.5, -0.5)
    axes.set_yticks(range(pool.size + 1))
    axes.set_yticklabels(["on-demand", *(f"{name}  {share:.0%}" for name, share in _shares(pool))], fontsize=8)
    axes.tick_params(length=0, labelbottom=False)
    axes.set_title(f"{pool.name}: {days:.0f} days, places of {focus}", loc="left", fontsize=10, fontweight="bold")
    _frameless(axes)


def draw_strips(axes: Any, pool: Pool, rows: Sequence[tuple[str, Sequence[Stretch]]], market_colours: Floats) -> None:
    """One strip per policy, coloured by place; red where the machine was down. The oracle is the last row."""
    count = min(COLUMNS, pool.minutes)
    image = np.ones((len(rows) * 4, count, 3))
    for index, (_, stretches) in enumerate(rows):
        place, down = _resampled(pool, stretches, count)
        colours = np.vstack([market_colours[: pool.size], ON_DEMAND_COLOUR])
        image[index * 4 : index * 4 + 2] = colours[place]
        strength = np.clip(down * 4, 0, 1)[:, None]  # a few minutes in a column of half an hour must be seen
        image[index * 4 + 2] = strength * DOWN_RED + (1 - strength) * image[index * 4 + 1]
    days = pool.minutes / MINUTES_PER_DAY
    axes.imshow(image, aspect="auto", interpolation="nearest", extent=(0, days, len(rows), 0))
    axes.set_xlim(0, days)
    axes.set_yticks([i + 0.375 for i in range(len(rows))])
    axes.set_yticklabels([name for name, _ in rows], fontsize=8)
    axes.set_xlabel("days", fontsize=8, loc="right", labelpad=1)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    _frameless(axes)


def _draw_path(axes: Any, stretches: Sequence[Stretch]) -> None:
    """The places as one line: thick where the machine serves, thin where it changes place."""
    segments, jumps = [], []
    before: float | None = None
    for stretch in stretches:
        if stretch.place is None:
            continue
        row = 0.0 if stretch.place == ON_DEMAND else float(stretch.place + 1)
        start, end = stretch.start / MINUTES_PER_DAY, stretch.end / MINUTES_PER_DAY
        if before is not None and before != row:
            jumps.append([(start, before), (start, row)])
        if not stretch.down:
            segments.append([(start, row), (end, row)])
        before = row
    from matplotlib.collections import LineCollection

    axes.add_collection(LineCollection(jumps, colors=PATH, linewidths=0.45, alpha=0.55))
    axes.add_collection(LineCollection(segments, colors=PATH, linewidths=2.2, capstyle="butt"))


def _resampled(pool: Pool, stretches: Sequence[Stretch], count: int) -> tuple[NDArray[np.intp], Floats]:
    """For each column the place at its middle (pool.size = on-demand), and the share of minutes down."""
    place = np.full(pool.minutes, pool.size, dtype=np.intp)
    down = np.zeros(pool.minutes)
    last = pool.size
    for stretch in stretches:
        if stretch.place is not None:
            last = pool.size if stretch.place == ON_DEMAND else stretch.place
        place[stretch.start : stretch.end] = last
        down[stretch.start : stretch.end] = stretch.down
    edges = np.linspace(0, pool.minutes, count + 1).astype(np.int64)
    share = np.add.reduceat(down, edges[:-1]) / np.diff(edges)
    return place[(edges[:-1] + edges[1:]) // 2], share


def _shares(pool: Pool) -> list[tuple[str, float]]:
    return [(name, float(pool.available[:, m].mean())) for m, name in enumerate(pool.markets)]


def _frameless(axes: Any) -> None:
    for side in axes.spines.values():
        side.set_visible(False)
