"""Capacity: asked of the world's market before a machine is given hardware, recorded while it has some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError
from azurelab.arm.store import Resource
from azurelab.compute.virtual_machines.rules import is_spot

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["allocate", "check_allocation", "release"]

_REFUSED_AT_ONCE = ("InvalidParameter", "SkuNotAvailable", "OperationNotAllowed", "QuotaExceeded",
                    "SpotPriceGreaterThanProvidedMaxPrice")  # fmt: skip
"""Refusals that answer the call itself. The others (AllocationFailed …) end the operation that it started."""


def _wish(vm: Resource) -> dict[str, Any]:
    price = (vm.properties.get("billingProfile") or {}).get("maxPrice")
    zones = vm.doc.get("zones") or []
    return {
        "location": vm.location,
        "size": str(vm.properties["hardwareProfile"]["vmSize"]),
        "priority": "Spot" if is_spot(vm) else "Regular",
        "zone": str(zones[0]) if zones else None,
        "max_price": None if price is None else float(price),
        "subscription": vm.id.split("/")[2],
        "already": vm.id,
    }


def check_allocation(ctx: Context, vm: Resource) -> None:
    """Before the call is accepted: what Azure can refuse at once."""
    try:
        ctx.lab.market.check(**_wish(vm))
    except ArmError as exc:
        if exc.code in _REFUSED_AT_ONCE:
            raise


def allocate(ctx: Context) -> None:
    """Hardware for the machine; the same wish again is fine. ArmError ends the operation."""
    with ctx.transaction():
        vm = ctx.resource
        wish = _wish(vm)
        had = vm.hidden.get("allocated")
        if had is not None and had["size"] == wish["size"]:
            return
        ctx.lab.market.check(**wish)
        with ctx.edit() as r:
            r.hidden["allocated"] = {"size": wish["size"], "priority": wish["priority"], "zone": wish["zone"]}


def release(ctx: Context) -> None:
    with ctx.edit() as r:
        r.hidden.pop("allocated", None)
