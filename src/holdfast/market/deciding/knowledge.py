"""What a policy may look at: the last probe and what was counted until then. Nothing newer, nothing of the future."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from holdfast.market.deciding.ages import Floats, Lives, lives
from holdfast.market.deciding.context import context_factor
from holdfast.market.deciding.forecast import Forecast
from holdfast.market.deciding.hazard import hazards, level
from holdfast.market.deciding.state import Bools

__all__ = ["Knowledge"]


@dataclass(frozen=True)
class Knowledge:
    """Of N markets, with any leading shape: [N] for one decision, [ticks, N] for a whole replay at once.

    `price` is a fraction of the on-demand price that the machine would otherwise pay. `context_per_hour` is None
    where nobody keeps the last 24 hours; the factor is then 1. `band_level` = θ0, 1 where no band is known.
    `endless` marks markets that are never evicted (paid reservations).
    """

    answers: Bools
    price: Floats
    share: Floats
    age_min: Floats
    events: Floats
    exposure_h: Floats
    context_per_hour: Floats | None = None
    band_level: Floats | float = 1.0
    endless: Bools | None = None
    forecast: Forecast | None = None

    @cached_property
    def hazard(self) -> Floats:
        """Per hour by age bin, from counts alone."""
        return hazards(self.events, self.exposure_h, self.band_level)

    @cached_property
    def hazard_in_context(self) -> Floats:
        """The same with the context factor on all bins; the plain one where there is no context."""
        if self.context_per_hour is None:
            return self.hazard
        factor = context_factor(self.context_per_hour, self.hazard, self.age_min)
        return np.asarray(self.hazard * factor[..., None])

    @cached_property
    def level(self) -> Floats:
        return level(self.events, self.exposure_h, self.band_level)

    @cached_property
    def lives(self) -> Lives:
        return lives(self.hazard, self.age_min)

    @cached_property
    def lives_in_context(self) -> Lives:
        return self.lives if self.context_per_hour is None else lives(self.hazard_in_context, self.age_min)

    @property
    def never_evicted(self) -> Bools:
        if self.endless is None:
            return np.zeros(self.answers.shape, dtype=np.bool_)
        return self.endless

    def order_by_index(self) -> NDArray[np.intp]:
        """0, 1, 2 … along the last axis: the last tie-break, so that equal markets keep the given order."""
        return np.broadcast_to(np.arange(self.answers.shape[-1]), self.answers.shape)
