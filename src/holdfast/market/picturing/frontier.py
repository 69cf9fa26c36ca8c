"""Cost against downtime: one curve per policy over λ, and the oracle's as the border of what is possible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.market.deciding.policies import Policy
from holdfast.market.deciding.replay.oracle import oracle
from holdfast.market.deciding.replay.pool import MINUTES_PER_DAY, Pool
from holdfast.market.deciding.replay.replaying import Setting, replay_cases

__all__ = ["LAMBDAS", "FrontierPoint", "draw_frontier", "frontier"]

LAMBDAS = (3.0, 10.0, 30.0, 100.0)
# Their choices depend on λ; the others are one point.
_STYLES = {
    "oracle": ("#000000", "D"),
    "p5": ("#0b6e4f", "o"),
    "p3": ("#1f78b4", "s"),
    "p5-plain": ("#66a61e", "o"),
    "p3-plain": ("#7fb3d5", "s"),
    "p2a": ("#fdae61", "^"),
    "p2b": ("#f46d43", "^"),
    "p2c": ("#d73027", "^"),
    "documented": ("#7b3294", "X"),
}


@dataclass(frozen=True)
class FrontierPoint:
    policy: str
    lam: float
    downtime_per_30_days: float
    cost_percent: float


def frontier(
    pools: Sequence[Pool],
    policies: Sequence[Policy],
    setting: Setting,
    lambdas: Sequence[float] = LAMBDAS,
    progress: Callable[[], None] | None = None,
) -> list[FrontierPoint]:
    """Every policy and the oracle at every λ, over all pools. `progress` is called for every λ of every pool."""
    sums: dict[tuple[str, float], list[float]] = {}
    for pool in pools:
        cases = [(p, setting.terms_for(p, lam)) for lam in lambdas for p in policies]
        for outcome in replay_cases(pool, cases, setting):
            total = sums.setdefault((outcome.policy, outcome.lam), [0.0, 0.0])
            total[0] += outcome.downtime_min
            total[1] += outcome.cost
        for lam in lambdas:
            best = oracle(pool, replace(setting.terms, lam=lam, detect_min=1))
            total = sums.setdefault(("oracle", lam), [0.0, 0.0])
            total[0] += best.downtime_min
            total[1] += best.cost
            if progress is not None:
                progress()
    minutes = sum(p.minutes for p in pools)
    return [
        FrontierPoint(name, lam, down * 30 * MINUTES_PER_DAY / minutes, 100 * cost / minutes)
        for (name, lam), (down, cost) in sums.items()
    ]


def draw_frontier(axes: Any, points: Sequence[FrontierPoint]) -> None:
    """Downtime on a scale that is linear up to 10 minutes and logarithmic beyond; λ stands beside each point."""
    spare = iter(["#666666", "#a6761d", "#e7298a", "#8dd3c7", "#bc80bd", "#b15928", "#1b9e77"])
    names = list(dict.fromkeys(p.policy for p in points))
    for name in sorted(names, key=lambda n: (n != "oracle", n)):
        own = sorted((p for p in points if p.policy == name), key=lambda p: p.lam)
        spots = {(round(p.downtime_per_30_days, 3), round(p.cost_percent, 3)) for p in own}
        colour, marker = _STYLES.get(name) or (next(spare, "#999999"), "v")
        x, y = [p.downtime_per_30_days for p in own], [p.cost_percent for p in own]
        axes.plot(
            x,
            y,
            color=colour,
            marker=marker,
            markersize=6,
            linewidth=2.0 if name == "oracle" else 1.3,
            linestyle="--" if name == "oracle" else "-",
            label=name,
            zorder=3 if name == "oracle" else 4,
        )
        if name in ("oracle", "p5") and len(spots) > 1:
            for point in _apart(own):
                axes.annotate(
                    f"λ {point.lam:g}",
                    (point.downtime_per_30_days, point.cost_percent),
                    textcoords="offset points",
                    xytext=(-6, -11) if name == "oracle" else (7, 5),
                    ha="right" if name == "oracle" else "left",
                    fontsize=7,
                    color=colour,
                )
    axes.set_xscale("symlog", linthresh=10)
    axes.set_xlim(left=-0.5)
    axes.set_xticks([0, 10, 30, 100, 300, 1000, 3000, 10000])
    axes.set_xticklabels(["0", "10", "30", "100", "300", "1,000", "3,000", "10,000"])
    top = max(p.downtime_per_30_days for p in points)
    axes.set_xlim(right=max(30.0, top * 1.6))
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.06 * (high - low), high)  # room for labels below the lowest point
    axes.set_xlabel("downtime, minutes per 30 days", fontsize=9)
    axes.set_ylabel("cost, % of on-demand", fontsize=9)
    axes.set_title("Cost against downtime: left and low is better", loc="left", fontsize=10, fontweight="bold")
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(fontsize=8, frameon=False, ncols=1, loc="center left", bbox_to_anchor=(1.005, 0.5))


def _apart(points: Sequence[FrontierPoint]) -> list[FrontierPoint]:
    """Those of a curve whose labels do not lie on one another."""
    kept: list[FrontierPoint] = []
    for point in points:
        if all(
            abs(point.cost_percent - k.cost_percent) > 2.5
            or abs(point.downtime_per_30_days - k.downtime_per_30_days) > 0.25 * (10 + k.downtime_per_30_days)
            for k in kept
        ):
            kept.append(point)
    return kept
