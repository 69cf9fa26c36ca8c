"""Availability sets and proximity placement groups: kept as data; they place nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import conflict
from azurelab.arm.fields import fields_of
from azurelab.arm.store import Resource
from azurelab.arm.types import COMPUTE, ResourceType, Verb
from azurelab.compute.services import VM_TYPE
from azurelab.compute.virtual_machines.commands import size_entry

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["AVAILABILITY_SETS_TYPE", "PROXIMITY_GROUPS_TYPE"]

_SET = "Microsoft.Compute/availabilitySets"
_PROXIMITY = "Microsoft.Compute/proximityPlacementGroups"
_SET_FIELDS = fields_of(
    """
properties object
properties.platformFaultDomainCount int
properties.platformUpdateDomainCount int
properties.proximityPlacementGroup.id text
sku.name text
tags object
"""
)
_PROXIMITY_FIELDS = fields_of(
    """
properties object
properties.proximityPlacementGroupType enum Standard|Ultra
tags object
"""
)


def _members(ctx: Context, group: Resource, word: str) -> list[Resource]:
    found = []
    for vm in ctx.store.of_type(VM_TYPE):
        if str((vm.properties.get(word) or {}).get("id", "")).lower() == group.key:
            found.append(vm)
    return found


def _prepare_set(ctx: Context) -> None:
    properties = ctx.resource.properties
    properties.setdefault("platformUpdateDomainCount", 5)
    properties.setdefault("platformFaultDomainCount", 3)
    properties.pop("virtualMachines", None)
    if "sku" not in ctx.resource.doc:
        before = ctx.before.doc.get("sku") if ctx.before is not None else None
        ctx.resource.doc["sku"] = before or {"name": "Classic"}


def _view_set(ctx: Context, resource: Resource) -> dict[str, Any]:
    members = [{"id": vm.id} for vm in _members(ctx, resource, "availabilitySet")]
    return {**resource.doc, "properties": {**resource.properties, "virtualMachines": members}}


def _refuse_used(word: str) -> Any:
    def refuse(ctx: Context) -> None:
        members = _members(ctx, ctx.resource, word)
        if members:
            raise conflict(
                "OperationNotAllowed",
                f"'{ctx.id.name}' cannot be deleted: it holds virtual machine '{members[0].id}'.",
            )

    return refuse


def _sizes(ctx: Context) -> Any:
    return {"value": [size_entry(size) for size, _, _ in ctx.lab.market.sizes(ctx.resource.location)]}


AVAILABILITY_SETS_TYPE = ResourceType(
    name=_SET,
    flavor=COMPUTE,
    stateful=False,
    put=Verb(new=200, existing=200, bucket="PutVM", prepare=_prepare_set),
    patch=Verb(existing=200, bucket="PutVM", prepare=_prepare_set),
    delete=Verb(existing=200, bucket="DeleteVM", prepare=_refuse_used("availabilitySet"), empty=True),
    actions={"vmSizes": Verb(method="GET", answer=_sizes, bucket="LowCostGet")},
    fields=_SET_FIELDS,
    view=_view_set,
    read_bucket="LowCostGet",
    list_bucket="LowCostGet",
    delete_order=60,
)


_ALIGNED = {
    "code": "ColocationStatus/Aligned",
    "level": "Info",
    "displayStatus": "Aligned",
    "message": "All resources in the proximity placement group are aligned.",
}


def _prepare_proximity(ctx: Context) -> None:
    ctx.resource.properties.setdefault("proximityPlacementGroupType", "Standard")
    for word in ("virtualMachines", "availabilitySets", "virtualMachineScaleSets"):
        ctx.resource.properties.pop(word, None)


def _view_proximity(ctx: Context, resource: Resource) -> dict[str, Any]:
    properties = {**resource.properties}
    machines: list[dict[str, Any]] = [{"id": vm.id} for vm in _members(ctx, resource, "proximityPlacementGroup")]
    sets: list[dict[str, Any]] = [
        {"id": s.id}
        for s in ctx.store.of_type(_SET)
        if str((s.properties.get("proximityPlacementGroup") or {}).get("id", "")).lower() == resource.key
    ]
    if str(ctx.query.get("includecolocationstatus", "")).lower() == "true":
        properties["colocationStatus"] = _ALIGNED
        machines, sets = ([{**m, "colocationStatus": _ALIGNED} for m in found] for found in (machines, sets))
    properties |= {"virtualMachines": machines, "availabilitySets": sets, "virtualMachineScaleSets": []}
    return {**resource.doc, "properties": properties}


PROXIMITY_GROUPS_TYPE = ResourceType(
    name=_PROXIMITY,
    flavor=COMPUTE,
    stateful=False,
    put=Verb(new=201, existing=200, bucket="PutDeletePPG", prepare=_prepare_proximity),
    patch=Verb(existing=200, bucket="PutDeletePPG", prepare=_prepare_proximity),
    delete=Verb(existing=200, bucket="PutDeletePPG", prepare=_refuse_used("proximityPlacementGroup"), empty=True),
    fields=_PROXIMITY_FIELDS,
    view=_view_proximity,
    read_bucket="HighCostGet",
    list_bucket="HighCostGet",
    delete_order=61,
)
