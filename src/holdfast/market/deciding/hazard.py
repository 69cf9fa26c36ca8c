"""Evictions per hour of a market at every age: a pooled prior, the market's own level, and its own bins.

Empirical Bayes in two steps. θ says how much better or worse this market is than the pool; then each bin is drawn
from θ·prior towards what this market showed there. The pseudo-counts 4 and 16 were chosen on the tuning set of the
reference page and are not knobs.
"""

from __future__ import annotations

import numpy as np

from holdfast.market.deciding.ages import PRIOR_PER_HOUR, Floats

__all__ = ["BAND_MIDPOINTS", "POOLED_PER_HOUR", "hazards", "level", "level_of_band"]

LEVEL_EVENTS = 4.0
BIN_EVENTS = 16.0
POOLED_PER_HOUR = 0.50  # mean hazard of the pool that the prior was fitted on

# Azure's eviction bands, in evictions per hour of uptime. The cold start that they give is the reference page's
# proposal and could not be verified: no history of Azure is public.
BAND_MIDPOINTS = {"0-5": 0.025, "5-10": 0.075, "10-15": 0.125, "15-20": 0.175, "20+": 0.25}


def level_of_band(band: str | None) -> float:
    """θ0 of a market that we know only by its eviction band; an unknown band is the pool's own level, 1."""
    midpoint = BAND_MIDPOINTS.get(band or "")
    return 1.0 if midpoint is None else midpoint / POOLED_PER_HOUR


def level(events: Floats, exposure_h: Floats, start: Floats | float = 1.0) -> Floats:
    """θ = (4·θ0 + ΣE) / (4 + Σ h0·X): the market's evictions against those that the prior expected."""
    return np.asarray(
        (LEVEL_EVENTS * start + events.sum(-1)) / (LEVEL_EVENTS + (PRIOR_PER_HOUR * exposure_h).sum(-1)),
        dtype=np.float64,
    )


def hazards(events: Floats, exposure_h: Floats, start: Floats | float = 1.0) -> Floats:
    """Per hour, [..., BINS]: (16 + E) / (16 / (θ·h0) + X)."""
    theta = level(events, exposure_h, start)[..., None]
    return np.asarray((BIN_EVENTS + events) / (BIN_EVENTS / (theta * PRIOR_PER_HOUR) + exposure_h), dtype=np.float64)
