"""What sizes cost per month. A price that is not known stays None and is shown as "unknown", never as 0."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.sizes.funnel import Funnel, Qualified

__all__ = ["HOURS_PER_MONTH", "PriceBook", "PricedSize", "cheapest_first", "price_table", "read_price_book"]

HOURS_PER_MONTH = 730  # 365 · 24 / 12, the hours that Azure's own calculator counts


@dataclass(frozen=True)
class PriceBook:
    """USD per hour by lower-case size name, for one location and operating system. `dated` = the prices' day."""

    spot: Mapping[str, float] = field(default_factory=dict)
    on_demand: Mapping[str, float] = field(default_factory=dict)
    dated: str = "unknown"
    currency: str = "USD"

    def spot_per_hour(self, size: str) -> float | None:
        return self.spot.get(size.lower())

    def on_demand_per_hour(self, size: str) -> float | None:
        return self.on_demand.get(size.lower())

    @property
    def spot_priced(self) -> frozenset[str] | None:
        """For the rule that asks for a spot meter: None when the book has no spot prices at all."""
        return frozenset(self.spot) or None


@dataclass(frozen=True)
class PricedSize:
    """One row of the table that users know."""

    name: str
    type: str
    vcpus: int
    memory_gib: float
    storage_gib: float
    spot_per_month: float | None
    on_demand_per_month: float | None
    preferred: bool
    zones: tuple[str, ...]
    notes: tuple[str, ...] = ()


def price_table(funnel: Funnel, prices: PriceBook) -> list[PricedSize]:
    """The qualified sizes: preferred first, then by spot price, unknown prices last."""
    return [_row(q, prices) for q in cheapest_first(funnel, prices)]


def cheapest_first(funnel: Funnel, prices: PriceBook) -> list[Qualified]:
    """The order in which a first launch tries the sizes: preferred, cheapest known price, unknown prices by name."""

    def order(q: Qualified) -> tuple[bool, float, str]:
        known = prices.spot_per_hour(q.size.name)
        return (not q.preferred, float("inf") if known is None else known, q.size.name)

    return sorted(funnel.qualified, key=order)


def _row(q: Qualified, prices: PriceBook) -> PricedSize:
    size = q.size
    return PricedSize(
        name=size.name,
        type=size.kind,
        vcpus=size.vcpus,
        memory_gib=size.memory_gib,
        storage_gib=size.storage_gib,
        spot_per_month=_month(prices.spot_per_hour(size.name)),
        on_demand_per_month=_month(prices.on_demand_per_hour(size.name)),
        preferred=q.preferred,
        zones=q.zones,
        notes=q.notes,
    )


def _month(per_hour: float | None) -> float | None:
    return None if per_hour is None else round(per_hour * HOURS_PER_MONTH, 2)


def read_price_book(text: str, location: str, operating_system: str = "linux") -> PriceBook:
    """Read prices from a file's text: Azure's retail-price JSON (`Items`), or CSV.

    CSV columns: region, size, and either usd_per_hour_linux (on-demand only) or usd_per_hour and usd_per_hour_spot.
    Rows of other regions are skipped. A CSV has no date; a column `date` supplies it.
    """
    head = text.lstrip()[:1]
    if head in ("{", "["):
        return from_retail_items(json.loads(text), location, operating_system)
    return _from_csv(text, location, operating_system)


def from_retail_items(answer: Any, location: str, operating_system: str = "linux") -> PriceBook:
    """Azure's retail prices. https://learn.microsoft.com/rest/api/cost-management/retail-prices

    Spot meters carry "Spot" in skuName; "Low Priority" meters belong to Batch and are skipped, reservations and
    savings plans (type other than Consumption) too. Windows meters say Windows in productName.
    """
    items = answer.get("Items", answer.get("items")) if isinstance(answer, Mapping) else answer
    if not isinstance(items, list):
        raise InvalidInput(field="prices", problem="expected a list of retail prices or an object with Items")
    spot: dict[str, float] = {}
    on_demand: dict[str, float] = {}
    dated = ""
    for item in items:
        words = f"{item.get('skuName', '')} {item.get('meterName', '')}"
        windows = "windows" in str(item.get("productName", "")).lower()
        if (
            str(item.get("armRegionName", "")).lower() != location.replace(" ", "").lower()
            or item.get("type", "Consumption") != "Consumption"
            or "Low Priority" in words
            or windows != (operating_system.lower() == "windows")
            or not item.get("armSkuName")
        ):
            continue
        price = float(item.get("retailPrice", item.get("unitPrice", 0)) or 0)
        if price <= 0:  # a meter without a price says nothing about what the size costs
            continue
        (spot if "Spot" in words else on_demand)[item["armSkuName"].lower()] = price
        dated = max(dated, str(item.get("effectiveStartDate", ""))[:10])
    return PriceBook(spot, on_demand, dated or "unknown")


def _from_csv(text: str, location: str, operating_system: str) -> PriceBook:
    reader = csv.DictReader(io.StringIO(text))
    columns = set(reader.fieldnames or ())
    if not {"region", "size"} <= columns:
        raise InvalidInput(field="prices", problem="a CSV of prices needs the columns region and size")
    own = f"usd_per_hour_{operating_system.lower()}"
    spot: dict[str, float] = {}
    on_demand: dict[str, float] = {}
    dated = ""
    for row in reader:
        if row["region"].lower() != location.replace(" ", "").lower():
            continue
        for column, into in ((own, on_demand), ("usd_per_hour", on_demand), ("usd_per_hour_spot", spot)):
            value = row.get(column)
            if value and float(value) > 0:
                into[row["size"].lower()] = float(value)
        dated = max(dated, row.get("date") or "")
    return PriceBook(spot, on_demand, dated or "unknown")
