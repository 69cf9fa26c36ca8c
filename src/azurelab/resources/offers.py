"""What the subscription may have: Resource SKUs, usages against quota, sizes of a region."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError
from azurelab.arm.http import Call, Response, json_bytes
from azurelab.arm.types import Route
from azurelab.world.market import SPOT_QUOTA, TOTAL_QUOTA
from azurelab.world.sizes import Size, all_sizes, families

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["offer_routes"]

# name, tier, size, capabilities: what clients look up before they choose a disk
_DISK_SKUS = (
    ("Standard_LRS", "Standard", "S4"),
    ("StandardSSD_LRS", "Standard", "E4"),
    ("StandardSSD_ZRS", "Standard", "E4"),
    ("Premium_LRS", "Premium", "P4"),
    ("Premium_ZRS", "Premium", "P4"),
    ("PremiumV2_LRS", "Premium", ""),
    ("UltraSSD_LRS", "Ultra", ""),
)


def _sku(size: Size, location: str, zones: list[str], restrictions: list[dict[str, Any]]) -> dict[str, Any]:
    details = []
    if zones and size.family.ultra:
        details = [{"Name": zones, "capabilities": [{"name": "UltraSSDAvailable", "value": "True"}]}]
    short = size.name.removeprefix("Standard_")
    return {
        "resourceType": "virtualMachines",
        "name": size.name,
        "tier": "Standard",
        "size": short,
        "family": size.family.quota,
        "locations": [location],
        "locationInfo": [{"location": location, "zones": zones, "zoneDetails": details}],
        "capabilities": [
            {"name": name, "value": value}
            for name, value in size.capabilities().items()
            if not (details and name == "UltraSSDAvailable")
        ],
        "restrictions": restrictions,
    }


def _disk_sku(row: tuple[str, str, str], kind: str, location: str, zones: list[str]) -> dict[str, Any]:
    name, tier, size = row
    return {
        "resourceType": kind,
        "name": name,
        "tier": tier,
        **({"size": size} if size else {}),
        "locations": [location],
        "locationInfo": [{"location": location, "zones": zones, "zoneDetails": []}],
        "capabilities": [{"name": "MaxSizeGiB", "value": "32767"}, {"name": "MinSizeGiB", "value": "1"}],
        "restrictions": [],
    }


def _region_skus(location: str, sizes: Iterable[tuple[Size, list[str], list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    value = []
    zones: list[str] = []
    for size, zones, restrictions in sizes:
        value.append(_sku(size, location, zones, restrictions))
    for kind in ("disks", "snapshots"):
        value.extend(_disk_sku(row, kind, location, zones) for row in _DISK_SKUS[: 7 if kind == "disks" else 2])
    value.extend(_set_sku(name, location, zones) for name in ("Classic", "Aligned"))
    value.append(_host_sku(location, zones))
    return value


def _set_sku(name: str, location: str, zones: list[str]) -> dict[str, Any]:
    return {
        "resourceType": "availabilitySets",
        "name": name,
        "locations": [location],
        "locationInfo": [{"location": location, "zones": zones, "zoneDetails": []}],
        "capabilities": [{"name": "MaximumPlatformFaultDomainCount", "value": "3"}],
        "restrictions": [],
    }


def _host_sku(location: str, zones: list[str]) -> dict[str, Any]:
    """Dedicated hosts are listed by Azure everywhere; this lab has none and says so as Azure does."""
    why = {"reasonCode": "NotAvailableForSubscription"}
    restrictions = [{"type": "Location", "values": [location], "restrictionInfo": {"locations": [location]}, **why}]
    if zones:
        info = {"locations": [location], "zones": zones}
        restrictions.append({"type": "Zone", "values": [location], "restrictionInfo": info, **why})
    return {
        "resourceType": "hostGroups/hosts",
        "name": "DSv3-Type1",
        "tier": "Standard",
        "size": "Type1",
        "family": "DSv3",
        "locations": [location],
        "locationInfo": [{"location": location, "zones": zones, "zoneDetails": []}],
        "capabilities": [{"name": "Cores", "value": "64"}, {"name": "vCPUsPerCore", "value": "2"}],
        "restrictions": restrictions,
    }


_PLACE = "@@location@@"


@cache
def _unrestricted(zones: int) -> str:
    """The entries of a region without restrictions, as text with a mark for its name.

    All regions at once are 43 MB of JSON, which az asks for; made entry by entry that would take ten seconds.
    """
    names = [str(z + 1) for z in range(zones)]
    return json_bytes(_region_skus(_PLACE, ((s, names, []) for s in all_sizes().values())))[1:-1].decode()


def _family_word(quota: str) -> str:
    """standardDSv5Family → Standard DSv5 Family vCPUs."""
    core = re.sub("^standard", "", quota.replace(" ", ""), flags=re.IGNORECASE).removesuffix("Family")
    return f"Standard {core} Family vCPUs"


def offer_routes(lab: Lab) -> list[Route]:
    def skus(call: Call, params: dict[str, str]) -> Response:
        text = call.query.get("$filter", "")
        found = re.search(r"location\s+eq\s+'([^']*)'", text)
        wanted = [found.group(1)] if found else lab.regions.names()
        parts = []
        for name in wanted:
            known = lab.regions.get(name)
            if known is None:
                continue
            if lab.market.has_restrictions(known.name):
                parts.append(json_bytes(_region_skus(known.name, lab.market.sizes(known.name)))[1:-1])
            else:
                parts.append(_unrestricted(known.zones).replace(_PLACE, known.name).encode())
        body = b'{"value":[' + b",".join(parts) + b"]}"
        return Response(200, body, {"Content-Type": "application/json; charset=utf-8"})

    def region(params: dict[str, str], kind: str) -> str:
        location = lab.regions.normalise(params["location"])
        if location is None or location == "global":
            raise ArmError(
                400,
                "NoRegisteredProviderFound",
                f"No registered resource provider found for location '{params['location']}' and API version for type "
                f"'{kind}'. The supported locations are '{', '.join(lab.regions.names())}'.",
            )
        return location

    def usage(name: str, words: str, limit: int, current: int) -> dict[str, Any]:
        return {
            "limit": limit,
            "unit": "Count",
            "currentValue": current,
            "name": {"value": name, "localizedValue": words},
        }

    def usages(call: Call, params: dict[str, str]) -> Response:
        location = region(params, "locations/usages")
        used = lab.market.used(location, params["subscription"])
        value = [
            usage("availabilitySets", "Availability Sets", 2500, 0),
            usage(
                TOTAL_QUOTA,
                "Total Regional vCPUs",
                lab.market.quota(location, TOTAL_QUOTA),
                used.get(TOTAL_QUOTA, 0),
            ),
            usage("virtualMachines", "Virtual Machines", 25000, used.get("virtualMachines", 0)),
            usage("virtualMachineScaleSets", "Virtual Machine Scale Sets", 2500, 0),
            usage("dedicatedVCpus", "Dedicated vCPUs", 3000, 0),
            usage(
                SPOT_QUOTA,
                "Total Regional Spot vCPUs",
                lab.market.quota(location, SPOT_QUOTA),
                used.get(SPOT_QUOTA, 0),
            ),
        ]
        quotas = dict.fromkeys(f.quota for f in families())
        quotas.update(dict.fromkeys(s.family.quota for s in all_sizes().values()))
        value += [usage(q, _family_word(q), lab.market.quota(location, q), used.get(q, 0)) for q in quotas]
        disks: dict[str, int] = {}
        for disk in lab.store.of_type("Microsoft.Compute/disks", f"/subscriptions/{params['subscription']}"):
            sku = (disk.doc.get("sku") or {}).get("name", "")
            if disk.location == location:
                disks[sku] = disks.get(sku, 0) + 1
        value.append(usage("StandardDiskCount", "Standard HDD Managed Disks", 50000, disks.get("Standard_LRS", 0)))
        value.append(usage("PremiumDiskCount", "Premium SSD Managed Disks", 50000, disks.get("Premium_LRS", 0)))
        return Response(200, {"value": value})

    def network_usages(call: Call, params: dict[str, str]) -> Response:
        location = region(params, "locations/usages")
        scope = f"/subscriptions/{params['subscription']}"

        def count(name: str) -> int:
            return sum(r.location == location for r in lab.store.of_type(f"Microsoft.Network/{name}", scope))

        rows = (
            ("VirtualNetworks", "Virtual Networks", 1000, count("virtualNetworks")),
            ("NetworkInterfaces", "Network Interfaces", 65536, count("networkInterfaces")),
            ("NetworkSecurityGroups", "Network Security Groups", 5000, count("networkSecurityGroups")),
            ("PublicIPAddresses", "Public IP Addresses", 1000, count("publicIPAddresses")),
            ("LoadBalancers", "Load Balancers", 1000, count("loadBalancers")),
        )
        base = f"{scope}/providers/Microsoft.Network/locations/{location}/usages"
        return Response(200, {"value": [{**usage(n, w, limit, c), "id": f"{base}/{n}"} for n, w, limit, c in rows]})

    def vm_sizes(call: Call, params: dict[str, str]) -> Response:
        location = region(params, "locations/vmSizes")
        value = [
            {
                "name": s.name,
                "numberOfCores": s.vcpus,
                "osDiskSizeInMB": 1047552,
                "resourceDiskSizeInMB": s.temp_mb,
                "memoryInMB": int(s.memory_gb * 1024),
                "maxDataDiskCount": s.max_data_disks,
            }
            for s, _, restrictions in lab.market.sizes(location)
            if not restrictions
        ]
        return Response(200, {"value": value})

    base = "/subscriptions/{subscription}/providers"
    info = "GetSubscriptionInfo"
    return [
        Route(method="GET", path=f"{base}/Microsoft.Compute/skus", handle=skus),
        Route(method="GET", path=f"{base}/Microsoft.Compute/locations/{{location}}/usages", handle=usages, bucket=info),
        Route(
            method="GET", path=f"{base}/Microsoft.Compute/locations/{{location}}/vmSizes", handle=vm_sizes, bucket=info
        ),
        Route(method="GET", path=f"{base}/Microsoft.Network/locations/{{location}}/usages", handle=network_usages),
    ]
