"""What age does not say: recent drops of the market and of its siblings, as one factor on its hazards.

A small regression over public traces gives evictions per minute; together with the market's own level it is averaged
(geometrically) with the hazard by age. Worth .01 of J at λ 10 and 30, nothing at λ 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from holdfast.market.deciding.ages import Floats, bin_of
from holdfast.market.deciding.hazard import LEVEL_EVENTS
from holdfast.market.deciding.state import Bools

__all__ = ["ContextStates", "context_factor"]

CONSTANT = -3.75
BY_AGE: Floats = np.array([0.0, -0.06, -0.51, -0.98, -1.26, -1.39, -1.53, -2.24, -2.24])
OWN_DROPS_6H = 0.33
UPTIME_24H = -1.24
SIBLING_DROPPED_30MIN = 0.12
SIBLINGS_DOWN = 0.24

DROPS_MIN, UPTIME_MIN, SIBLING_MIN = 360.0, 1440.0, 30.0


@dataclass
class ContextStates:
    """N markets and the last 24 hours of their answers. `regions` names each market's region.

    The history is a ring of probes, slot-major: an update writes one row. Probes are taken as evenly spaced.
    """

    regions: Sequence[str]
    period_min: float
    events: Floats = field(init=False)
    expected: Floats = field(init=False)
    per_hour: Floats = field(init=False)  # the regression's hazard with the market's level, after the last probe

    def __post_init__(self) -> None:
        count = len(self.regions)
        self._ring: NDArray[np.int8] = np.zeros((max(1, round(UPTIME_MIN / self.period_min)), count), dtype=np.int8)
        self._dropped: NDArray[np.int8] = np.zeros((max(1, round(DROPS_MIN / self.period_min)), count), dtype=np.int8)
        self._up = np.zeros(count)
        self._drops = np.zeros(count)
        self._last_drop = np.full(count, -np.inf)
        self._was = np.zeros(count, dtype=bool)
        self._tick = 0
        self.events, self.expected = np.zeros(count), np.zeros(count)
        self._plain = np.zeros(count)
        self.per_hour = np.zeros(count)
        names, self._region = np.unique(np.asarray(self.regions, dtype=str), return_inverse=True)
        self._sizes = np.bincount(self._region, minlength=len(names)).astype(np.float64)
        # no sibling in the region: all other markets stand in
        self._alone = self._sizes[self._region] <= 1

    def observe(self, answers: Bools, age_min: Floats) -> None:
        """The answers of one probe, and the streak ages after it."""
        dropped = self._was & ~answers
        self.events += dropped
        self.expected += np.where(self._was, self._plain * self.period_min / 60.0, 0.0)
        slot, drop_slot = self._tick % len(self._ring), self._tick % len(self._dropped)
        self._up += answers.astype(np.float64) - self._ring[slot]
        self._drops += dropped.astype(np.float64) - self._dropped[drop_slot]
        self._ring[slot], self._dropped[drop_slot] = answers, dropped
        now = self._tick * self.period_min
        self._last_drop[dropped] = now
        self._was = answers.copy()
        self._tick += 1
        self._plain = 60.0 * np.exp(self._exponent(answers, age_min, now))
        self.per_hour = self._plain * (LEVEL_EVENTS + self.events) / (LEVEL_EVENTS + self.expected)

    def _exponent(self, answers: Bools, age_min: Floats, now: float) -> Floats:
        recent = (now - self._last_drop <= SIBLING_MIN).astype(np.float64)
        down = (~answers).astype(np.float64)
        sibling_dropped = self._of_siblings(recent)[0] > 0
        down_count, siblings = self._of_siblings(down)
        down_share = np.divide(down_count, siblings, out=np.zeros_like(down_count), where=siblings > 0)
        uptime = self._up / min(self._tick, len(self._ring))
        return np.asarray(
            CONSTANT
            + BY_AGE[bin_of(age_min)]
            + OWN_DROPS_6H * np.log1p(self._drops)
            + UPTIME_24H * uptime
            + SIBLING_DROPPED_30MIN * sibling_dropped
            + SIBLINGS_DOWN * down_share
        )

    def _of_siblings(self, values: Floats) -> tuple[Floats, Floats]:
        """Sum over the other markets of the region, and how many they are."""
        by_region = np.bincount(self._region, weights=values, minlength=len(self._sizes))
        total = np.where(self._alone, values.sum(), by_region[self._region]) - values
        count = np.where(self._alone, float(len(values)), self._sizes[self._region]) - 1.0
        return total, count


def context_factor(context_per_hour: Floats, hazard_per_hour: Floats, age_min: Floats) -> Floats:
    """c = sqrt(h_context / h at this age), to be multiplied on all bins; 1 where no context was observed yet (0)."""
    here = np.take_along_axis(hazard_per_hour, bin_of(age_min)[..., None], -1)[..., 0]
    return np.asarray(np.where(context_per_hour > 0, np.sqrt(context_per_hour / here), 1.0))
