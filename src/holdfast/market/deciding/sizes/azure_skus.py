"""Read Azure's `Microsoft.Compute/skus` items into sizes. The only file that knows the shape of that answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.sizes.size import Restriction, Size

__all__ = ["size_from_azure_sku", "sizes_from_azure_skus"]


def size_from_azure_sku(item: Mapping[str, Any], location: str | None = None) -> Size:
    """One item whose resourceType is virtualMachines. Without `location` the item's first one counts.

    Keys are compared as Azure writes them, with one exception: `zoneDetails[].Name` was sent with a capital N in
    answers of 2020. https://learn.microsoft.com/rest/api/compute/resource-skus/list
    """
    if "name" not in item:
        raise InvalidInput(field="skus", problem="an item has no name; this is not a Microsoft.Compute/skus answer")
    infos = item.get("locationInfo") or []
    wanted = _plain(location or (item.get("locations") or [""])[0])
    info: Mapping[str, Any] = next((i for i in infos if _plain(i.get("location", "")) == wanted), {})
    return Size(
        name=item["name"],
        family=item.get("family") or "",
        location=wanted,
        zones=frozenset(info.get("zones") or ()),
        capabilities=_pairs(item.get("capabilities")),
        zone_capabilities=_zone_pairs(info.get("zoneDetails")),
        restrictions=tuple(_restrictions(item.get("restrictions"), wanted)),
    )


def sizes_from_azure_skus(answer: object, location: str | None = None) -> list[Size]:
    """All VM sizes of an answer: the REST body (`{"value": […]}`) or the bare list that `az vm list-skus` prints.

    With `location`, sizes that are not offered there are left out. Azure lists a size once per location.
    """
    items = answer.get("value") if isinstance(answer, Mapping) else answer
    if not isinstance(items, list):
        raise InvalidInput(field="skus", problem="expected a list of SKUs or an object with a list named value")
    wanted = _plain(location) if location else None
    return [
        size_from_azure_sku(item, location)
        for item in items
        if item.get("resourceType", "virtualMachines") == "virtualMachines"
        and (wanted is None or wanted in {_plain(place) for place in item.get("locations") or ()})
    ]


def _pairs(entries: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    return {e["name"]: str(e["value"]) for e in entries or () if e.get("value") is not None}


def _zone_pairs(details: Iterable[Mapping[str, Any]] | None) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for detail in details or ():
        for zone in detail.get("name") or detail.get("Name") or ():
            found.setdefault(zone, {}).update(_pairs(detail.get("capabilities")))
    return found


def _restrictions(entries: Iterable[Mapping[str, Any]] | None, location: str) -> Iterable[Restriction]:
    for entry in entries or ():
        info = entry.get("restrictionInfo") or {}
        places = {_plain(p) for p in info.get("locations") or entry.get("values") or ()}
        if places and location not in places:
            continue
        if entry.get("type") == "Zone":
            yield Restriction(entry.get("reasonCode") or "unstated", frozenset(info.get("zones") or ()))
        else:
            yield Restriction(entry.get("reasonCode") or "unstated")


def _plain(location: str) -> str:
    return location.replace(" ", "").lower()
