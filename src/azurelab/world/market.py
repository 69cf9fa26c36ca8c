"""What the lab's regions have to sell: sizes, zones, capacity, quota, prices. Scripted by the world, refused as Azure.

Compute asks `check` before it allocates a machine and keeps what it allocated in the VM's
`hidden["allocated"] = {"size", "priority", "zone"}` (removed on deallocation); usage is counted from that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from azurelab.arm.errors import ArmError, conflict
from azurelab.arm.store import Resource, Store
from azurelab.world.regions import Regions
from azurelab.world.sizes import Size, all_sizes, find_size

__all__ = ["QUOTA_DEFAULTS", "Market"]

VM_TYPE = "Microsoft.Compute/virtualMachines"
SPOT_QUOTA = "lowPriorityCores"
TOTAL_QUOTA = "cores"
QUOTA_DEFAULTS = {TOTAL_QUOTA: 10_000, SPOT_QUOTA: 10_000, "family": 5_000}
"""vCPUs per region. Generous: 200 machines of the default sizes fit; a test that wants a quota sets one."""

# D2s_v5 relative to eastus (retail prices of June 2026)
_FACTORS = {
    "eastus": 1.0, "eastus2": 1.0, "westus2": 1.0, "westus3": 1.0, "northcentralus": 1.0, "swedencentral": 1.062,
    "northeurope": 1.115, "canadacentral": 1.115, "canadaeast": 1.115, "spaincentral": 1.115, "centralus": 1.125,
    "koreasouth": 1.146, "uksouth": 1.156, "francecentral": 1.167, "italynorth": 1.167, "westus": 1.167,
    "israelcentral": 1.167, "germanywestcentral": 1.198, "westeurope": 1.198, "polandcentral": 1.198,
    "southcentralus": 1.198, "westcentralus": 1.198, "ukwest": 1.208, "koreacentral": 1.229, "uaenorth": 1.229,
    "qatarcentral": 1.229, "australiaeast": 1.25, "southeastasia": 1.25, "japaneast": 1.292, "japanwest": 1.292,
    "norwayeast": 1.323, "switzerlandnorth": 1.323, "southafricanorth": 1.323, "eastasia": 1.375, "southindia": 1.406,
    "francesouth": 1.521, "germanynorth": 1.562, "brazilsouth": 1.594, "uaecentral": 1.594, "norwaywest": 1.708,
    "switzerlandwest": 1.708, "southafricawest": 1.719, "centralindia": 1.052, "mexicocentral": 1.104,
}  # fmt: skip
WINDOWS_PER_VCPU = 0.046


class Market:
    def __init__(self, store: Store, regions: Regions) -> None:
        self._store = store
        self._regions = regions

    # -- sizes --------------------------------------------------------------------------------------------------

    def size(self, name: str) -> Size | None:
        return find_size(name)

    def sizes(self, location: str) -> Iterator[tuple[Size, list[str], list[dict[str, Any]]]]:
        """(size, zones, restrictions as Resource SKUs shows them) of a region."""
        region = self._regions.get(location)
        zones = [str(z + 1) for z in range(region.zones)] if region is not None else []
        for size in all_sizes().values():
            yield size, zones, self._restrictions(location, size, zones)

    def restrict(self, location: str, size: str, zones: list[str] | None = None, reason: str = "") -> None:
        """Take a size (or some zones of it) out of sale for this subscription: NotAvailableForSubscription."""
        reason = reason or "NotAvailableForSubscription"
        self._store.set_setting(f"restriction:{location}:{size.lower()}", {"zones": zones, "reason": reason})

    def unrestrict(self, location: str, size: str) -> None:
        self._store.set_setting(f"restriction:{location}:{size.lower()}", None)

    def has_restrictions(self, location: str) -> bool:
        return any(v for v in self._store.settings(f"restriction:{location}:").values())

    def _restrictions(self, location: str, size: Size, zones: list[str]) -> list[dict[str, Any]]:
        found = self._store.setting(f"restriction:{location}:{size.name.lower()}")
        if not found:
            return []
        if found["zones"]:
            info = {"locations": [location], "zones": found["zones"]}
            return [{"type": "Zone", "values": [location], "restrictionInfo": info, "reasonCode": found["reason"]}]
        info = {"locations": [location]}
        made = [{"type": "Location", "values": [location], "restrictionInfo": info, "reasonCode": found["reason"]}]
        if zones:
            info = {"locations": [location], "zones": zones}
            made.append({"type": "Zone", "values": [location], "restrictionInfo": info, "reasonCode": found["reason"]})
        return made

    # -- capacity -----------------------------------------------------------------------------------------------

    def set_capacity(
        self, *, location: str = "*", size: str = "*", zone: str = "*", priority: str = "*", left: int | None
    ) -> None:
        """How many more machines can be had there (0 = none, None = as many as wished). `*` means any."""
        name = f"capacity:{location.lower()}:{size.lower()}:{zone}:{priority.lower()}"
        self._store.set_setting(name, left)

    def check(
        self,
        *,
        location: str,
        size: str,
        priority: str,
        zone: str | None,
        max_price: float | None = None,
        subscription: str = "",
        already: str = "",
    ) -> None:
        """May a machine be allocated now? ArmError as Azure words it. `already`: id of the machine that asks.

        Order as in Azure: the size is sold here, the price is right, quota, capacity.
        """
        spot = priority.lower() in ("spot", "low", "spotplus")
        found = find_size(size)
        if found is None:
            raise ArmError(
                400,
                "InvalidParameter",
                f"The value {size} provided for the VM size is not valid. The valid sizes in the current region are: "
                f"{','.join(s.name for s in all_sizes().values())}. Find out more on the valid VM sizes in each region "
                f"at https://aka.ms/azure-regions.",
                target="vmSize",
            )
        self._check_offer(location, found, zone, spot)
        if spot and max_price is not None and max_price >= 0 and self.price(location, found, spot=True) > max_price:
            raise ArmError(
                409,
                "SpotPriceGreaterThanProvidedMaxPrice",
                f"Unable to perform operation '{'create'} VM' since the provided max price '{max_price} USD' is lower "
                f"than the current spot price '{self.price(location, found, spot=True)} USD' for Azure Spot VM size "
                f"'{found.name}'. For more information, see https://aka.ms/spot-vm.",
            )
        self._check_quota(location, found, spot, subscription, already)
        self._check_capacity(location, found, zone, spot)

    def _check_offer(self, location: str, size: Size, zone: str | None, spot: bool) -> None:
        zones = [zone] if zone else []
        restrictions = self._restrictions(location, size, zones)
        hit = any(
            r["type"] == "Location" or (zone and zone in r["restrictionInfo"].get("zones", ())) for r in restrictions
        )
        if hit:
            raise _sku_not_available(location, size, zone)
        if spot and not size.spot:
            raise ArmError(
                400,
                "InvalidParameter",
                f"The VM size '{size.name}' is not supported for Azure Spot Virtual Machines.",
                target="vmSize",
            )

    def _check_capacity(self, location: str, size: Size, zone: str | None, spot: bool) -> None:
        priority = "spot" if spot else "regular"
        for name in self._capacity_names(location, size.name.lower(), zone or "", priority):
            left = self._store.setting(name)
            if left is None:
                continue
            if int(left) <= 0:
                if spot:
                    raise _sku_not_available(location, size, zone)
                if zone:
                    raise conflict(
                        "ZonalAllocationFailed",
                        "Allocation failed. We do not have sufficient capacity for the requested VM size in this zone. "
                        "Read more about improving likelihood of allocation success at "
                        "http://aka.ms/allocation-guidance",
                    )
                raise conflict(
                    "AllocationFailed",
                    "Allocation failed. We do not have sufficient capacity for the requested VM size in this region. "
                    "Read more about improving likelihood of allocation success at "
                    "http://aka.ms/allocation-guidance",
                )
        for name in self._capacity_names(location, size.name.lower(), zone or "", priority):
            left = self._store.setting(name)
            if left is not None:
                self._store.set_setting(name, int(left) - 1)

    def _capacity_names(self, location: str, size: str, zone: str, priority: str) -> list[str]:
        return [
            name
            for name in self._store.settings("capacity:")
            if all(
                have in ("*", want)
                for have, want in zip(name.split(":")[1:], (location.lower(), size, zone, priority), strict=True)
            )
        ]

    # -- quota --------------------------------------------------------------------------------------------------

    def set_quota(self, location: str, name: str, limit: int) -> None:
        """`name`: cores, lowPriorityCores, or a family (standardDSv5Family)."""
        self._store.set_setting(f"quota:{location.lower()}:{name.lower()}", limit)

    def quota(self, location: str, name: str) -> int:
        default = QUOTA_DEFAULTS.get(name, QUOTA_DEFAULTS["family"])
        found = self._store.setting(f"quota:{location.lower()}:{name.lower()}")
        return int(found) if found is not None else default

    def used(self, location: str, subscription: str, *, but: str = "") -> dict[str, int]:
        """vCPUs in use by quota name (`cores`, `lowPriorityCores`, families), and `virtualMachines` counted.

        A deallocated machine counts no vCPUs of the regular quota; a Spot one that is deallocated keeps its quota.
        """
        totals: dict[str, int] = {}
        for vm in self._store.of_type(VM_TYPE, f"/subscriptions/{subscription}" if subscription else ""):
            if vm.location != location or vm.key == but.lower():
                continue
            totals["virtualMachines"] = totals.get("virtualMachines", 0) + 1
            found, spot = _counted(vm)
            if found is None:
                continue
            names = (SPOT_QUOTA,) if spot else (TOTAL_QUOTA, found.family.quota)
            for name in names:
                totals[name] = totals.get(name, 0) + found.vcpus
        return totals

    def _check_quota(self, location: str, size: Size, spot: bool, subscription: str, already: str) -> None:
        used = self.used(location, subscription, but=already)
        names = (SPOT_QUOTA,) if spot else (size.family.quota, TOTAL_QUOTA)
        for name in names:
            limit, current = self.quota(location, name), used.get(name, 0)
            if current + size.vcpus > limit:
                shown = {
                    SPOT_QUOTA: "LowPriorityCores",
                    TOTAL_QUOTA: "Total Regional Cores",
                }.get(name, f"{name} Cores")
                raise conflict(
                    "OperationNotAllowed",
                    f"Operation could not be completed as it results in exceeding approved {shown} quota. Additional "
                    f"details - Deployment Model: Resource Manager, Location: {location}, Current Limit: {limit}, "
                    f"Current Usage: {current}, Additional Required: {size.vcpus}, (Minimum) New Limit Required: "
                    f"{current + size.vcpus}. Setup Alerts when Quota reaches threshold. Learn more at "
                    f"https://aka.ms/quotamonitoringalerting .",
                )

    # -- prices -------------------------------------------------------------------------------------------------

    def set_price(self, location: str, size: str, price: float, *, spot: bool = True) -> None:
        """USD per hour, Linux."""
        self._store.set_setting(f"price:{location.lower()}:{size.lower()}:{'spot' if spot else 'regular'}", price)

    def price(self, location: str, size: Size, *, spot: bool, windows: bool = False) -> float:
        """USD per hour. Spot without a script: 10 to 40 % of on-demand, fixed per size and region."""
        extra = WINDOWS_PER_VCPU * size.vcpus if windows else 0.0
        scripted = self._store.setting(f"price:{location.lower()}:{size.name.lower()}:{'spot' if spot else 'regular'}")
        if scripted is not None:
            return round(float(scripted) + extra, 6)
        regular = size.price * _FACTORS.get(location, 1.2) * _lean(location, size.family.quota)
        if not spot:
            return round(regular + extra, 6)
        share = 0.10 + 0.30 * _fraction(f"{location}/{size.name}")
        return round((regular + extra) * share, 6)


def _counted(vm: Resource) -> tuple[Size | None, bool]:
    """(size that counts, spot) of a machine; (None, _) when it uses no quota."""
    spot = str(vm.properties.get("priority", "Regular")).lower() in ("spot", "low")
    allocated = vm.hidden.get("allocated")
    if allocated is None:
        if not spot:
            return None, False
        return find_size(str((vm.properties.get("hardwareProfile") or {}).get("vmSize", ""))), True
    return find_size(allocated["size"]), spot


def _sku_not_available(location: str, size: Size, zone: str | None) -> ArmError:
    where = f"location '{location}'" + (f" zone '{zone}'" if zone else "")
    return conflict(
        "SkuNotAvailable",
        f"The requested VM size for resource 'Following SKUs have failed for Capacity Restrictions: {size.name}' is "
        f"currently not available in {where}. Please try another size or deploy to a different location or different "
        f"zone. See https://aka.ms/azureskunotavailable for details.",
    )


def _fraction(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


def _lean(location: str, family: str) -> float:
    """Regions differ by a few percent between families, too."""
    return 0.97 + 0.06 * _fraction(f"{location}:{family}") if location not in ("eastus", "eastus2", "westus2") else 1.0
