"""The figure that `market replay --plot` writes: each pool's bands and strips, and the frontier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.policies import Policy
from holdfast.market.deciding.replay.benchmark import Benchmark
from holdfast.market.picturing.bands import draw_bands, draw_strips, price_scale
from holdfast.market.picturing.frontier import LAMBDAS, draw_frontier, frontier

__all__ = ["check_plot_file", "plot_work", "write_plot"]

# inches: a market, a policy, below the strips, the colour bar with its words, the frontier
_ROW, _STRIP, _GAP, _BAR, _FRONTIER = 0.26, 0.19, 0.62, 0.6, 3.7

_COLOURS = (
    *("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#bcbd22", "#17becf"),
    *("#aec7e8", "#98df8a", "#c5b0d5", "#c49c94"),
)


def check_plot_file(path: Path) -> Path:
    """Refuse before the work is done what could not be written after it."""
    if path.suffix.lower() not in (".svg", ".png"):
        raise InvalidInput(field="--plot", problem=f"{path} ends neither in .svg nor in .png")
    if not path.parent.is_dir():
        raise InvalidInput(field="--plot", problem=f"there is no folder {path.parent}")
    return path


def plot_work(benchmark_pools: int) -> int:
    """How often `write_plot` reports progress."""
    return benchmark_pools * len(LAMBDAS)


def write_plot(
    path: Path, benchmark: Benchmark, policies: Sequence[Policy], progress: Callable[[], None] | None = None
) -> None:
    """Write the figure. The policy whose places are drawn over the markets is the last one named that uses spot."""
    import matplotlib as mpl

    mpl.use("Agg")
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "holdfast", "font.family": "DejaVu Sans"}):
        figure = _draw(benchmark, policies, progress)
        # the same input gives the same file: no date, no random ids
        figure.savefig(path, dpi=160, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)


def _draw(benchmark: Benchmark, policies: Sequence[Policy], progress: Callable[[], None] | None) -> Any:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    pools = [r.pool for r in benchmark.results]
    strips = len(policies) + 1
    heights: list[float] = []
    for pool in pools:
        heights += [_ROW * (pool.size + 1), _STRIP * strips + 0.06]
    total = 0.35 + sum(heights) + len(pools) * _GAP + _BAR + _FRONTIER
    figure = Figure(figsize=(12.0, total))
    scale = price_scale(pools)
    cmap = colormaps["YlGnBu"].resampled(256)
    shades = _upper_part(cmap)
    market_colours = _market_colours(max(p.size for p in pools))
    focus = next((i for i in range(len(policies) - 1, -1, -1) if policies[i].starts_on_spot), 0)

    top = total - 0.35
    for result in benchmark.results:
        tall = _ROW * (result.pool.size + 1)
        top -= tall
        axes = figure.add_axes(_box(top, tall, total))
        draw_bands(axes, result.pool, result.outcomes[focus].stretches, policies[focus].name, scale, shades)
        _swatches(axes, result.pool.size, market_colours)
        low = _STRIP * strips
        top -= low + 0.06
        rows = [(o.policy, o.stretches) for o in result.outcomes] + [("oracle", result.oracle.stretches)]
        draw_strips(figure.add_axes(_box(top, low, total)), result.pool, rows, market_colours)
        top -= _GAP
    bar = figure.add_axes((0.13, (top - 0.02) / total, 0.30, 0.10 / total))
    figure.colorbar(ScalarMappable(Normalize(*scale), shades), cax=bar, orientation="horizontal").set_label(
        "price of a market that answers, fraction of on-demand", fontsize=8
    )
    bar.tick_params(labelsize=7)
    figure.text(
        0.47,
        top / total,
        "grey: does not answer    black line: the machine's place    strips: place by colour, red where it is down",
        fontsize=8,
    )
    frontier_box = (0.13, 0.5 / total, 0.72, (_FRONTIER - 0.8) / total)
    draw_frontier(figure.add_axes(frontier_box), frontier(pools, policies, benchmark.setting, progress=progress))
    return figure


def _box(bottom: float, height: float, total: float) -> tuple[float, float, float, float]:
    return (0.13, bottom / total, 0.85, height / total)


def _upper_part(cmap: Any) -> Any:
    """Without the palest part, which reads as grey, and the darkest, on which the black line is not seen."""
    from matplotlib.colors import ListedColormap

    return ListedColormap(cmap(np.linspace(0.30, 0.78, 256)))


def _market_colours(count: int) -> Any:
    """Red is kept for downtime, dark grey for on-demand."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    if count <= len(_COLOURS):
        return np.array([to_rgb(c) for c in _COLOURS[:count]])
    return np.asarray(colormaps["viridis"](np.linspace(0.0, 1.0, count)))[:, :3]


def _swatches(axes: Any, count: int, colours: Any) -> None:
    """A square of each market's strip colour beside its name."""
    from matplotlib.patches import Rectangle
    from matplotlib.transforms import blended_transform_factory

    place = blended_transform_factory(axes.transAxes, axes.transData)
    for row in range(count + 1):
        colour = (0.30, 0.30, 0.34) if row == 0 else tuple(colours[row - 1])
        axes.add_patch(
            Rectangle((-0.0055, row - 0.32), 0.004, 0.64, transform=place, color=colour, clip_on=False, linewidth=0)
        )
