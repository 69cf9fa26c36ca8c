"""P2: spot is worth being on while h < (1 − p)/K. One number per market, best first; no view of the spell's future."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from holdfast.market.deciding.ages import Floats, bin_of
from holdfast.market.deciding.hazard import LEVEL_EVENTS, POOLED_PER_HOUR
from holdfast.market.deciding.knowledge import Knowledge
from holdfast.market.deciding.policies.choosing import Choice
from holdfast.market.deciding.terms import Terms

__all__ = ["Index"]


@dataclass(frozen=True)
class Index:
    """`hazard`: constant (P2a: per market), age (P2b: by age), context (P2c: by age and context)."""

    hazard: str
    name: str
    uses_context: bool = False
    uses_notice: bool = False
    starts_on_spot: bool = True
    returns: str = "always"
    waits_for_the_lost_market: bool = False
    attempts: int = 3

    def returning(self, known: Knowledge, terms: Terms) -> Choice:
        return self._above(known, terms.index_h)

    def replacing(self, known: Knowledge, terms: Terms) -> Choice:
        return self._above(known, terms.index_unplanned_h)

    def _above(self, known: Knowledge, cost_h: float) -> Choice:
        index = (1.0 - known.price) - cost_h * self._per_hour(known)
        index = np.where(known.never_evicted, 1.0 - known.price, index)
        return Choice(known.answers & (index > 0), (index,))

    def _per_hour(self, known: Knowledge) -> Floats:
        if self.hazard == "constant":
            total, hours = known.events.sum(-1), known.exposure_h.sum(-1)
            return np.asarray((LEVEL_EVENTS + total) / (LEVEL_EVENTS / POOLED_PER_HOUR + hours))
        by_age = known.hazard_in_context if self.hazard == "context" else known.hazard
        return np.asarray(np.take_along_axis(by_age, bin_of(known.age_min)[..., None], -1)[..., 0])
