"""The documented behaviour of stateful nodes: back to spot as soon as spot answers; and the same with patience (P1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from holdfast.market.deciding.knowledge import Knowledge
from holdfast.market.deciding.policies.choosing import Choice
from holdfast.market.deciding.terms import Terms

__all__ = ["Documented", "Hysteresis"]


@dataclass(frozen=True)
class Documented:
    """Any market that answered the last probe, cheapest first; up to three after an eviction, else on-demand.

    `by_share` orders by past availability instead of price.
    """

    name: str = "documented"
    by_share: bool = False
    uses_notice: bool = False
    uses_context: bool = False
    starts_on_spot: bool = True
    returns: str = "always"
    waits_for_the_lost_market: bool = False
    attempts: int = 3

    def returning(self, known: Knowledge, terms: Terms) -> Choice:
        keys = (known.share, -known.price) if self.by_share else (-known.price,)
        return Choice(known.answers & (known.price < 1.0), keys)

    def replacing(self, known: Knowledge, terms: Terms) -> Choice:
        return self.returning(known, terms)


@dataclass(frozen=True)
class Hysteresis:
    """P1: as documented, but a market must have answered every probe for `patience_min`; ties to the longer streak."""

    patience_min: float = 120.0
    name: str = "p1"
    uses_notice: bool = False
    uses_context: bool = False
    starts_on_spot: bool = True
    returns: str = "always"
    waits_for_the_lost_market: bool = False
    attempts: int = 3

    def returning(self, known: Knowledge, terms: Terms) -> Choice:
        patient = known.age_min >= self.patience_min
        return Choice(
            np.asarray(known.answers & patient & (known.price < 1.0)), (-known.price, np.asarray(known.age_min))
        )

    def replacing(self, known: Knowledge, terms: Terms) -> Choice:
        return self.returning(known, terms)
