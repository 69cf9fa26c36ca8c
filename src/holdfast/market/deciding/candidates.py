"""The markets of one node as a decision sees them: prices, answers, preferences, and what forbids an order outright."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from holdfast.market.deciding.ages import Floats
from holdfast.market.deciding.forecast import Forecast
from holdfast.market.deciding.hazard import level_of_band
from holdfast.market.deciding.knowledge import Knowledge
from holdfast.market.deciding.state import MarketStates

__all__ = ["Candidate", "Place", "Reserved", "knowledge_of"]


class Reserved(StrEnum):
    """A paid reservation with a free slot: ahead of spot, or only ahead of the on-demand sizes."""

    OVER_SPOT = "over-spot"
    OVER_ON_DEMAND = "over-on-demand"


@dataclass(frozen=True)
class Place:
    """One (size, zone, priority) that a machine can be ordered in. `zone` None = without a zone."""

    size: str
    zone: str | None = None
    priority: str = "spot"  # spot | on-demand | reserved

    def __str__(self) -> str:
        where = f" zone {self.zone}" if self.zone else ""
        return f"{self.size}{where}" + ("" if self.priority == "spot" else f" ({self.priority})")

    def to_json(self) -> dict[str, str | None]:
        return {"size": self.size, "zone": self.zone, "priority": self.priority}


@dataclass(frozen=True)
class Candidate:
    """One market with what is known of it now; its history is the row of the same index in `MarketStates`.

    `price_per_hour` None: unknown, which is not 0. `answers`: would it take an order now; None: nobody asked.
    `blocked` and `no_headroom` are words for the user: why it is not ordered at all.
    """

    place: Place
    price_per_hour: float | None
    answers: bool | None
    eviction_band: str | None = None
    blocked: str | None = None
    no_headroom: str | None = None
    reserved: Reserved | None = None


def knowledge_of(
    candidates: Sequence[Candidate],
    states: MarketStates,
    on_demand_per_hour: float,
    context_per_hour: Floats | None = None,
    forecast: Forecast | None = None,
) -> Knowledge:
    """p = the market's price per hour ÷ the price of the on-demand size that the node would otherwise run on.

    So a larger size with a better discount is dear where it costs more. An unknown price is taken as on-demand's,
    which admits nothing. A reserved slot has p = 0 and is never evicted.
    """
    reserved = np.array([c.reserved is not None for c in candidates], dtype=np.bool_)
    price = np.array(
        [1.0 if c.price_per_hour is None else c.price_per_hour / on_demand_per_hour for c in candidates],
        dtype=np.float64,
    )
    return Knowledge(
        answers=np.array([c.answers is True for c in candidates], dtype=np.bool_),
        price=np.where(reserved, 0.0, price),
        share=states.share,
        age_min=states.age_min,
        events=states.events,
        exposure_h=states.exposure_h,
        context_per_hour=context_per_hour,
        band_level=np.array([level_of_band(c.eviction_band) for c in candidates], dtype=np.float64),
        endless=reserved,
        forecast=forecast,
    )
