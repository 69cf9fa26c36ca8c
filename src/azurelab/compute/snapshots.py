"""Microsoft.Compute/snapshots: full and incremental ones, immediate and without space of their own."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from azurelab.arm.errors import conflict
from azurelab.arm.store import clone
from azurelab.arm.types import DISKS, ResourceType
from azurelab.compute.access import begin_access, end_access, refuse_open
from azurelab.compute.disk_documents import READONLY, complete, restate, view
from azurelab.compute.disk_fields import SNAPSHOT_FIELDS
from azurelab.compute.disk_sources import origin_of
from azurelab.compute.disk_verbs import change, make, take_away
from azurelab.compute.services import DISK_TYPE, SNAPSHOT_TYPE, disks_of

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["LIMITS_SETTING", "SNAPSHOTS_TYPE"]

_OPTIONS = ("Copy", "Import", "CopyStart", "Empty", "FromImage", "Upload", "Restore")

LIMITS_SETTING = "snapshots.limits"
"""Whether the limits of incremental snapshots apply. Off unless asked for: rehearsals take many in a few seconds."""
_MOST_PER_WINDOW, _WINDOW_S, _MOST_PER_DISK = 7, 300.0, 500


def _prepare_put(ctx: Context) -> None:
    properties = ctx.resource.properties
    if not ctx.is_new:
        _prepare_update(ctx)
        return
    origin = origin_of(ctx, "snapshot")
    incremental = bool(properties.get("incremental"))
    source = origin.source
    complete(ctx, origin.size_bytes)
    properties["incremental"] = incremental
    hidden = ctx.resource.hidden
    hidden["taken_at"] = ctx.now()
    if source is not None and source.type == SNAPSHOT_TYPE and incremental and source.properties.get("incremental"):
        # A copy of an incremental snapshot shows the moment, and stays in the family, of its source.
        properties["incrementalSnapshotFamilyId"] = source.properties["incrementalSnapshotFamilyId"]
        hidden["taken_at"] = source.hidden.get("taken_at", 0.0)
    elif incremental:
        disk = source.properties["uniqueId"] if source is not None else properties["uniqueId"]
        properties["incrementalSnapshotFamilyId"] = str(uuid.uuid5(uuid.NAMESPACE_OID, str(disk)))
        if source is not None and source.type == DISK_TYPE:
            _check_limits(ctx, str(disk))
    if incremental:
        properties["completionPercent"] = 100.0
        sku = ctx.resource.doc["sku"]
        if str(sku["name"]).startswith("Premium"):  # incremental ones always lie on standard storage
            ctx.resource.doc["sku"] = {"name": "Standard_LRS", "tier": "Standard"}
    ctx.memo["source"] = origin.volume
    ctx.memo["size"] = origin.size_bytes


def _check_limits(ctx: Context, disk: str) -> None:
    if not ctx.store.setting(LIMITS_SETTING, False):
        return
    mine = [
        s
        for s in ctx.store.of_type(SNAPSHOT_TYPE)
        if s.properties.get("incremental") and s.properties["creationData"].get("sourceUniqueId") == disk
    ]
    recent = [s for s in mine if ctx.now() - float(s.hidden.get("taken_at", 0.0)) < _WINDOW_S]
    if len(recent) >= _MOST_PER_WINDOW or len(mine) >= _MOST_PER_DISK:
        raise conflict(
            "OperationNotAllowed",
            f"The disk has {len(mine)} incremental snapshots, {len(recent)} of them from the last 5 minutes; at most "
            f"{_MOST_PER_DISK} in all and {_MOST_PER_WINDOW} within 5 minutes are allowed.",
        )


def _run_put(ctx: Context) -> None:
    service, volume = disks_of(ctx.lab), str(ctx.resource.hidden["volume"])
    if service.store.find(volume) is not None:
        return
    source = ctx.memo.get("source")
    if source is None:
        service.ensure_empty(volume, int(ctx.memo["size"]))
        service.store.seal(volume)
    else:
        service.ensure_snapshot(source, volume)


def _prepare_update(ctx: Context) -> None:
    before = ctx.before
    assert before is not None
    doc, properties = ctx.resource.doc, ctx.resource.properties
    if bool(properties.get("incremental", before.properties["incremental"])) != before.properties["incremental"]:
        raise conflict("PropertyChangeNotAllowed", "Changing property 'snapshot.incremental' is not allowed.")
    kept = ("creationData", "incremental", "osType", "hyperVGeneration", "encryption", "networkAccessPolicy",
            "publicNetworkAccess", "diskSizeBytes")  # fmt: skip
    for word in kept:
        if word in before.properties and (word in ("creationData", "diskSizeBytes") or word not in properties):
            properties[word] = clone(before.properties[word])
    if "sku" not in doc:
        doc["sku"] = clone(before.doc["sku"])
    restate(doc, properties, snapshot=True)


def _refuse_delete(ctx: Context) -> None:
    refuse_open(ctx, str(ctx.resource.hidden["volume"]), ctx.id.name, "snapshot", "deleting")


SNAPSHOTS_TYPE = ResourceType(
    name=SNAPSHOT_TYPE,
    flavor=DISKS,
    put=make("HighCostSnapshotCreateHydrate", 0.7, _prepare_put, _run_put),
    patch=change(_prepare_update),
    delete=take_away(_refuse_delete),
    actions={
        "beginGetAccess": begin_access("HighCostSnapshotCreateHydrate", "snapshot"),
        "endGetAccess": end_access("HighCostSnapshotCreateHydrate"),
    },
    readonly=READONLY,
    fields=SNAPSHOT_FIELDS,
    view=view,
    read_bucket="LowCostGet",
    list_bucket="HighCostGet",
    delete_order=45,
)
