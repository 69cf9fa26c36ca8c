"""Retail prices: `GET /api/retail/prices` without authentication, as the public price list answers."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from azurelab.arm.errors import ArmError
from azurelab.arm.http import Call, Response
from azurelab.arm.types import Route
from azurelab.world.sizes import Size, all_sizes

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["price_routes"]

PAGE = 100
_TERM = re.compile(
    r"^\s*(?:(\w+)\s+(eq|ne)\s+(?:'((?:[^']|'')*)'|(true|false|[\d.]+))|contains\((\w+),\s*'([^']*)'\))\s*$"
)


def _terms(text: str) -> list[tuple[str, str, str]]:
    """[(field, eq|ne|contains, value)] of an `and` chain; an `or` of one field becomes (field, in, a|b)."""
    found: list[tuple[str, str, str]] = []
    for part in re.split(r"\s+and\s+", text.strip()) if text.strip() else []:
        inner = part.strip()
        if inner.startswith("(") and inner.endswith(")"):
            inner = inner[1:-1]
        options = re.split(r"\s+or\s+", inner)
        values = []
        name, operator = "", ""
        for option in options:
            m = _TERM.match(option)
            if m is None:
                raise ArmError(400, "BadRequest", f"Invalid OData parameters supplied: '{option}'")
            if m.group(5):
                name, operator = m.group(5), "contains"
                values.append(m.group(6))
            else:
                name, operator = m.group(1), m.group(2)
                values.append((m.group(3) if m.group(3) is not None else m.group(4)).replace("''", "'"))
        found.append((name, "in" if len(values) > 1 else operator, "\x00".join(values)))
    return found


def _holds(item: dict[str, Any], term: tuple[str, str, str]) -> bool:
    """Values compare with case, as the real service's do."""
    name, operator, value = term
    have = next((v for k, v in item.items() if k.lower() == name.lower()), None)
    text = str(have).lower() if isinstance(have, bool) else str(have)
    if operator == "contains":
        return value in text
    if operator == "in":
        return text in value.split("\x00")
    return (text == value) == (operator == "eq")


def price_routes(lab: Lab) -> list[Route]:
    def item(location: str, size: Size, *, spot: bool, windows: bool) -> dict[str, Any]:
        region = lab.regions.get(location)
        display = region.display if region is not None else location
        short = size.name.removeprefix("Standard_").replace("_", " ")
        series = re.sub(r"\d+", "", short, count=1).replace(" ", "")
        price = lab.market.price(location, size, spot=spot, windows=windows)
        word = f"{short} Spot" if spot else short
        meter = uuid.uuid5(uuid.NAMESPACE_URL, f"{location}/{size.name}/{spot}/{windows}")
        return {
            "currencyCode": "USD",
            "tierMinimumUnits": 0.0,
            "retailPrice": price,
            "unitPrice": price,
            "armRegionName": location,
            "location": display,
            "effectiveStartDate": "2026-06-01T00:00:00Z",
            "meterId": str(meter),
            "meterName": word,
            "productId": f"DZH318Z0{meter.hex[:4].upper()}",
            "skuId": f"DZH318Z0{meter.hex[:4].upper()}/{meter.hex[4:8].upper()}",
            "productName": f"Virtual Machines {series} Series{' Windows' if windows else ''}",
            "skuName": word,
            "serviceName": "Virtual Machines",
            "serviceId": "DZH313Z7MMC8",
            "serviceFamily": "Compute",
            "unitOfMeasure": "1 Hour",
            "type": "Consumption",
            "isPrimaryMeterRegion": True,
            "armSkuName": size.name,
        }

    def items(terms: list[tuple[str, str, str]]) -> Iterator[dict[str, Any]]:
        pinned = {name.lower(): value for name, op, value in terms if op in ("eq", "in")}
        places = [p for p in pinned.get("armregionname", "").split("\x00") if p] or lab.regions.names()
        names = [n for n in pinned.get("armskuname", "").split("\x00") if n]
        sizes = [s for s in all_sizes().values() if not names or s.name in names]
        for location in places:
            if lab.regions.get(location) is None:
                continue
            for size in sizes:
                for windows in (False, True) if size.architecture == "x64" else (False,):
                    for spot in (False, True) if size.spot else (False,):
                        made = item(location, size, spot=spot, windows=windows)
                        if all(_holds(made, t) for t in terms):
                            yield made

    def prices(call: Call, params: dict[str, str]) -> Response:
        skip = int(call.query.get("$skip", "0") or 0)
        found: list[dict[str, Any]] = []
        more = False
        for at, one in enumerate(items(_terms(call.query.get("$filter", "")))):
            if at < skip:
                continue
            if len(found) == PAGE:
                more = True
                break
            found.append(one)
        following = None
        if more:
            query = {**call.query, "$skip": str(skip + PAGE)}
            following = f"{call.base_url}/api/retail/prices?{urlencode(query, safe='$')}"
        return Response(
            200,
            {
                "BillingCurrency": "USD",
                "CustomerEntityId": "Default",
                "CustomerEntityType": "Retail",
                "Items": found,
                "NextPageLink": following,
                "Count": len(found),
            },
        )

    return [Route(method="GET", path="/api/retail/prices", handle=prices, auth=False, versioned=False)]
