"""Microsoft.Compute/disks: managed disks.

Kept as data and without effect: encryption sets, bursting, tiers and provisioned speeds, disk access resources, zones
beyond their attach rule, shared disks (maxShares is stored; a second attach is refused).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from azurelab.arm.errors import bad_request, conflict
from azurelab.arm.store import clone
from azurelab.arm.types import DISKS, ResourceType
from azurelab.compute.access import begin_access, end_access, refuse_open
from azurelab.compute.disk_documents import READONLY, complete, restate, state_of, view
from azurelab.compute.disk_fields import DISK_FIELDS
from azurelab.compute.disk_sizes import GIB, LARGEST_GIB, size_gib
from azurelab.compute.disk_sources import origin_of
from azurelab.compute.disk_verbs import change, make, take_away
from azurelab.compute.services import DISK_TYPE, disks_of

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["DISKS_TYPE", "refuse_attached"]

_OPTIONS = ("Empty", "FromImage", "Copy", "Import", "Upload", "Restore", "Attach", "CopyStart", "ImportSecure",
            "UploadPreparedSecure", "CopyFromSanSnapshot")  # fmt: skip


def _prepare_put(ctx: Context) -> None:
    if ctx.is_new:
        origin = origin_of(ctx, "disk")
        if str(ctx.resource.properties["creationData"]["createOption"]).lower() == "upload":
            ctx.resource.hidden["upload"] = "ready"
        complete(ctx, origin.size_bytes)
        ctx.memo.update(size=origin.size_bytes, source=origin.volume, image=origin.image)
        return
    assert ctx.before is not None
    _keep_creation(ctx)
    _prepare_update(ctx)


def _keep_creation(ctx: Context) -> None:
    """How a disk was made never changes; a PUT may leave the details out."""
    assert ctx.before is not None
    asked, stored = ctx.resource.properties["creationData"], ctx.before.properties["creationData"]
    named = asked.get("sourceResourceId")
    if str(asked.get("createOption", "")).lower() != str(stored["createOption"]).lower() or (
        named is not None and str(named).lower() != str(stored.get("sourceResourceId", named)).lower()
    ):
        raise conflict("PropertyChangeNotAllowed", "Changing property 'disk.creationData' is not allowed.")
    ctx.resource.properties["creationData"] = clone(stored)


def _prepare_update(ctx: Context) -> None:
    before = ctx.before
    assert before is not None
    doc, properties = ctx.resource.doc, ctx.resource.properties
    if "zones" in doc and doc["zones"] != before.doc.get("zones"):
        raise conflict("PropertyChangeNotAllowed", "Changing property 'zones' is not allowed.")
    if "zones" in before.doc:
        doc["zones"] = clone(before.doc["zones"])
    if "sku" not in doc:
        doc["sku"] = clone(before.doc["sku"])
    for word in ("osType", "hyperVGeneration", "encryption", "networkAccessPolicy", "publicNetworkAccess"):
        if word in before.properties:
            properties.setdefault(word, clone(before.properties[word]))
    if doc["sku"].get("name") != before.doc["sku"]["name"] and state_of(ctx, before) == "Attached":
        raise conflict(
            "OperationNotAllowed",
            f"Cannot change the account type of disk {ctx.id.name} while it is attached to running VM "
            f"'{before.doc['managedBy']}'.",
        )
    had_bytes = int(before.properties["diskSizeBytes"])
    gib = properties.get("diskSizeGB")
    wanted = had_bytes if gib is None or int(gib) == size_gib(had_bytes) else int(gib) * GIB
    if wanted < had_bytes:
        raise bad_request(
            "BadRequest",
            f"A disk cannot be resized to less than it has: disk {ctx.id.name} has {size_gib(had_bytes)} GB, "
            f"asked were {gib} GB.",
        )
    if wanted > LARGEST_GIB * GIB:
        raise bad_request("BadRequest", f"Disk {ctx.id.name} cannot have {gib} GB.")
    if wanted != had_bytes:
        refuse_open(ctx, str(before.hidden["volume"]), ctx.id.name, "disk", "resizing")
        if before.hidden.get("upload") in ("ready", "active"):
            raise conflict("OperationNotAllowed", f"Disk {ctx.id.name} cannot be resized before its upload has ended.")
    properties["diskSizeBytes"] = wanted
    restate(doc, properties, snapshot=False)
    ctx.memo["size"] = wanted


def _run_put(ctx: Context) -> None:
    service, volume = disks_of(ctx.lab), str(ctx.resource.hidden["volume"])
    size_bytes = int(ctx.memo["size"])
    if service.store.find(volume) is not None:
        service.ensure_size(volume, size_bytes)
        return
    source, image = ctx.memo.get("source"), ctx.memo.get("image")
    if source is None and image is not None and service.store.find(image) is not None:
        source = image
    if source is None:
        service.ensure_empty(volume, size_bytes)
    else:
        service.ensure_clone(source, volume, size_bytes)


def refuse_attached(ctx: Context) -> None:
    found = ctx.resource
    if found.doc.get("managedBy"):
        raise conflict("OperationNotAllowed", f"Disk {ctx.id.name} is attached to VM {found.doc['managedBy']}.")
    refuse_open(ctx, str(found.hidden["volume"]), ctx.id.name, "disk", "attaching or deleting")


DISKS_TYPE = ResourceType(
    name=DISK_TYPE,
    flavor=DISKS,
    put=make("CreateUpdateDisks", 0.2, _prepare_put, _run_put),
    patch=change(_prepare_update, _run_put),
    delete=take_away(refuse_attached),
    actions={
        "beginGetAccess": begin_access("HighCostDiskHydrate", "disk"),
        "endGetAccess": end_access("HighCostDiskHydrate"),
    },
    readonly=READONLY,
    fields=DISK_FIELDS,
    view=view,
    refs=lambda r: [r.doc["managedBy"]] if r.doc.get("managedBy") else [],
    read_bucket="LowCostGet",
    list_bucket="HighCostGet",
    delete_order=40,
)
