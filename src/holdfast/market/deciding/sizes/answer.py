"""The whole answer to "which sizes": spot and on-demand funnels with prices, as a value and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from holdfast.market.deciding.sizes.funnel import Funnel, NoSizeMatches, Refused, qualify, require_some
from holdfast.market.deciding.sizes.judging import Priority, Quota
from holdfast.market.deciding.sizes.prices import PriceBook, PricedSize, price_table
from holdfast.market.deciding.sizes.size import Size
from holdfast.market.deciding.sizes.traits import MachineTraits
from holdfast.market.deciding.sizes.wish import SizeWish

__all__ = ["SizesAnswer", "sizes_for"]

UNKNOWN = "unknown"


@dataclass(frozen=True)
class SizesAnswer:
    """`on_demand` is None when no on-demand sizes were named. `error` says that a list leaves nothing to run on."""

    region: str
    os: str
    prices: PriceBook
    spot: Funnel
    table: tuple[PricedSize, ...]
    on_demand: Funnel | None
    on_demand_table: tuple[PricedSize, ...]
    error: NoSizeMatches | None

    def to_json(self) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "region": self.region,
            "os": self.os,
            "priceDate": self.prices.dated,
            "currency": self.prices.currency,
            **_funnel_json(self.spot, self.table),
        }
        if self.on_demand is not None:
            answer["onDemand"] = _funnel_json(self.on_demand, self.on_demand_table)
        if self.error is not None:
            answer["error"] = {
                "code": self.error.code,
                "field": self.error.about,
                "text": self.error.message,
                "remedy": self.error.advice,
                "nearestMisses": self.error.details["misses"],
            }
        return answer


def sizes_for(
    traits: MachineTraits,
    sizes: Sequence[Size],
    wish: SizeWish,
    *,
    today: date,
    prices: PriceBook | None = None,
    quota: Quota | None = None,
    region: str | None = None,
) -> SizesAnswer:
    """Judge spot sizes, and the named on-demand sizes by the same rules. Never raises for an empty result."""
    book = prices or PriceBook()
    spot = qualify(traits, sizes, wish, today=today, quota=quota, spot_priced=book.spot_priced)
    on_demand = None
    if wish.od_sizes:
        on_demand = qualify(traits, sizes, wish, today=today, priority=Priority.ON_DEMAND, quota=quota)
    place = region or traits.location or "this region"
    error = None
    for funnel in (spot, on_demand):
        if funnel is not None and error is None:
            try:
                require_some(funnel, place)
            except NoSizeMatches as refused:
                error = refused
    return SizesAnswer(
        region=place,
        os=traits.os,
        prices=book,
        spot=spot,
        table=tuple(price_table(spot, book)),
        on_demand=on_demand,
        on_demand_table=tuple(price_table(on_demand, book)) if on_demand else (),
        error=error,
    )


def _funnel_json(funnel: Funnel, table: Sequence[PricedSize]) -> dict[str, Any]:
    return {
        "funnel": [{"rule": s.code, "title": s.title, "remain": s.remain} for s in funnel.stages],
        "markets": funnel.markets,
        "sizes": [_row_json(row) for row in table],
        "unsupported": [_refused_json(r) for r in funnel.refused],
    }


def _row_json(row: PricedSize) -> dict[str, Any]:
    return {
        "name": row.name,
        "type": row.type,
        "vCpus": row.vcpus,
        "memoryGiB": row.memory_gib,
        "storageGiB": row.storage_gib,
        "spotCostPerMonth": UNKNOWN if row.spot_per_month is None else row.spot_per_month,
        "onDemandCostPerMonth": UNKNOWN if row.on_demand_per_month is None else row.on_demand_per_month,
        "preferred": row.preferred,
        "zones": list(row.zones),
        "notes": list(row.notes),
    }


def _refused_json(refused: Refused) -> dict[str, Any]:
    return {
        "name": refused.name,
        "reasons": [
            {"rule": r.code, "kind": r.kind.value, "reason": r.reason, "remedy": r.remedy} for r in refused.reasons
        ],
    }
