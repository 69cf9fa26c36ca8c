"""The policies that others use, to measure against: on-demand, naive A and B, and Azure's own same-size retry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from holdfast.market.deciding.knowledge import Knowledge
from holdfast.market.deciding.policies.choosing import Choice, nothing
from holdfast.market.deciding.terms import Terms

__all__ = ["NaiveA", "NaiveB", "OnDemand", "SameSize"]


@dataclass(frozen=True)
class OnDemand:
    """Never spot: J = 1."""

    name: str = "on-demand"
    uses_notice: bool = False
    uses_context: bool = False
    starts_on_spot: bool = False
    returns: str = "never"
    waits_for_the_lost_market: bool = False
    attempts: int = 0

    def returning(self, known: Knowledge, terms: Terms) -> Choice:
        return nothing(known)

    def replacing(self, known: Knowledge, terms: Terms) -> Choice:
        return nothing(known)


@dataclass(frozen=True)
class NaiveA:
    """Spot until the first eviction, then on-demand for ever."""

    name: str = "naive-a"
    uses_notice: bool = False
    uses_context: bool = False
    starts_on_spot: bool = True
    returns: str = "first"
    waits_for_the_lost_market: bool = False
    attempts: int = 0

    def returning(self, known: Knowledge, terms: Terms) -> Choice:
        return Choice(known.answers, (-known.price,))

    def replacing(self, known: Knowledge, terms: Terms) -> Choice:
        return nothing(known)


@dataclass(frozen=True)
class NaiveB:
    """After an eviction up to three other markets, cheapest first and blindly, then on-demand for ever."""

    name: str = "naive-b"
    uses_notice: bool = False
    uses_context: bool = False
    starts_on_spot: bool = True
    returns: str = "first"
    waits_for_the_lost_market: bool = False
    attempts: int = 3

    def returning(self, known: Knowledge, terms: Terms) -> Choice:
        return Choice(known.answers, (-known.price,))

    def replacing(self, known: Knowledge, terms: Terms) -> Choice:
        return Choice(np.ones(known.answers.shape, dtype=np.bool_), (-known.price,))


@dataclass(frozen=True)
class SameSize:
    """Azure's default: deallocated, then the lost market is ordered until it answers; never on-demand.

    Where no market is up in the first minute it has lost none, and stays on-demand.
    """

    name: str = "same-size"
    uses_notice: bool = False
    uses_context: bool = False
    starts_on_spot: bool = True
    returns: str = "never"
    waits_for_the_lost_market: bool = True
    attempts: int = 1

    def returning(self, known: Knowledge, terms: Terms) -> Choice:
        return nothing(known)

    def replacing(self, known: Knowledge, terms: Terms) -> Choice:
        return nothing(known)
