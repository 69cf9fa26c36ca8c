"""What disks and snapshots have in common as documents: defaults, states, and the body of the 202."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from azurelab.arm.store import Resource, clone
from azurelab.compute.disk_sizes import size_gib, sku_tier, speeds
from azurelab.compute.services import disks_of

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["READONLY", "accepted", "complete", "restate", "state_of", "view"]

READONLY = (
    "managedBy",
    "managedByExtended",
    "properties.uniqueId",
    "properties.timeCreated",
    "properties.diskSizeBytes",
    "properties.diskState",
    "properties.provisioningState",
    "properties.incrementalSnapshotFamilyId",
    "properties.completionPercent",
)


def complete(ctx: Context, size_bytes: int) -> None:
    """Fill in what Azure does for a new disk or snapshot."""
    doc, properties = ctx.resource.doc, ctx.resource.properties
    unique_id = str(uuid.uuid4())
    properties["uniqueId"] = unique_id
    properties["timeCreated"] = ctx.timestamp()
    properties["diskSizeBytes"] = size_bytes
    ctx.resource.hidden["volume"] = unique_id
    restate(doc, properties, snapshot=ctx.type.name.endswith("snapshots"))


def restate(doc: dict[str, Any], properties: dict[str, Any], *, snapshot: bool) -> None:
    """Bring what follows from size and SKU up to date, after creation, PUT and PATCH."""
    properties["diskSizeGB"] = size_gib(properties["diskSizeBytes"])
    sku = doc.get("sku")
    name = str(sku.get("name", "Standard_LRS")) if isinstance(sku, dict) else "Standard_LRS"
    doc["sku"] = {**(sku if isinstance(sku, dict) else {}), "name": name, "tier": sku_tier(name)}
    properties.setdefault("encryption", {"type": "EncryptionAtRestWithPlatformKey"})
    if isinstance(properties["encryption"], dict):
        properties["encryption"].setdefault("type", "EncryptionAtRestWithPlatformKey")
    properties.setdefault("networkAccessPolicy", "AllowAll")
    properties.setdefault("publicNetworkAccess", "Enabled")
    if snapshot:
        properties.setdefault("incremental", False)
        return
    provisioned = name.startswith(("UltraSSD", "PremiumV2"))
    for word, value in speeds(name, properties["diskSizeGB"]).items():
        if provisioned:  # these are bought by the number: what the client asked for stays
            properties.setdefault(word, value)
        else:
            properties[word] = value
    if provisioned:
        for word, value in (("readOnly", False), ("diskIOPSReadOnly", 100), ("diskMBpsReadOnly", 13), ("maxShares", 1)):
            properties.setdefault(word, value)
        properties["creationData"].setdefault("logicalSectorSize", 4096)
    if not name.startswith("Premium_"):
        properties.pop("tier", None)


def accepted(ctx: Context) -> dict[str, Any]:
    """The 202's body: what was asked, `provisioningState: Updating, isArmResource: true`, and no id (recorded)."""
    asked = clone(ctx.body) if isinstance(ctx.body, dict) else {}
    found = ctx.found
    body: dict[str, Any] = {"name": ctx.id.name}
    properties = asked.pop("properties", None) or {}
    if found is not None:
        body["location"] = found.location
        for word in ("tags", "sku", "zones", "extendedLocation"):
            if word in found.doc:
                body[word] = clone(found.doc[word])
        asked_creation = properties.get("creationData") or {}
        properties["creationData"] = {**asked_creation, **clone(found.properties["creationData"])}
        properties.setdefault("publicNetworkAccess", found.properties.get("publicNetworkAccess", "Enabled"))
        for word in ("osType", "hyperVGeneration"):
            if word in found.properties:
                properties[word] = found.properties[word]
        _add_inner_words(ctx, found, body, properties)
    body["properties"] = {**properties, "provisioningState": "Updating", "isArmResource": True}
    return body


def _add_inner_words(ctx: Context, found: Resource, body: dict[str, Any], properties: dict[str, Any]) -> None:
    """Words of Azure's own placement and billing that its 202 lets slip (recorded); they mean nothing here."""
    for word in ("tier", "readOnly", "diskIOPSReadOnly", "diskMBpsReadOnly"):
        if word in found.properties:
            properties.setdefault(word, found.properties[word])
    if found.properties.get("incremental"):
        properties.setdefault("diskSizeBytes", found.properties["diskSizeBytes"])
    properties["faultDomain"] = 0
    if ctx.before is None:
        return
    if found.doc.get("zones"):
        body["physicalZone"] = f"{found.location}-AZ0{found.doc['zones'][0]}"
    if ctx.method == "PATCH":
        properties.setdefault("diskSizeGB", found.properties.get("diskSizeGB"))
        properties["colocationConstraints"] = {}


def state_of(ctx: Context, resource: Resource) -> str:
    """`diskState`, from what is true now: upload, SAS, the VM that holds the disk and its power."""
    grant = disks_of(ctx.lab).grants.active(str(resource.hidden.get("volume", "")))
    upload = resource.hidden.get("upload")
    if upload in ("ready", "active"):
        return "ActiveUpload" if grant is not None else "ReadyToUpload"
    holder = resource.doc.get("managedBy")
    if holder:
        machine = ctx.store.get(holder)
        off = machine is not None and machine.hidden.get("power") == "deallocated"
        if grant is not None:
            return "ActiveSAS"
        return "Reserved" if off else "Attached"
    return "ActiveSAS" if grant is not None else "Unattached"


def view(ctx: Context, resource: Resource) -> dict[str, Any]:
    return {**resource.doc, "properties": {**resource.properties, "diskState": state_of(ctx, resource)}}
