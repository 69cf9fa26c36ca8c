"""convertToManagedDisks: unmanaged disks become managed ones. The machine is deallocated; the bytes stay."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import conflict
from azurelab.arm.store import clone
from azurelab.compute.disk_documents import restate
from azurelab.compute.disk_sizes import GIB
from azurelab.compute.services import DISK_TYPE
from azurelab.compute.virtual_machines.actions import long_action

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["ACTIONS"]


def _prepare(ctx: Context) -> None:
    if ctx.resource.hidden.get("power") != "deallocated":
        raise conflict(
            "OperationNotAllowed",
            f"VM '{ctx.id.name}' must be deallocated before its disks can be converted to managed disks.",
        )


def _finish(ctx: Context) -> None:
    """One transaction: disk resources take over the bytes that the machine owned."""
    vm = ctx.resource
    profile = clone(vm.properties["storageProfile"])
    os_disk = profile.get("osDisk") or {}
    if "os_volume" in vm.hidden and os_disk.get("vhd"):
        kind = {"osType": os_disk["osType"], "hyperVGeneration": vm.hidden.get("generation", "V1")}
        profile["osDisk"] = _managed(ctx, os_disk, str(vm.hidden["os_volume"]), "OsDisk_1", kind)
    volumes = dict(vm.hidden.get("data_volumes") or {})
    profile["dataDisks"] = [
        _managed(ctx, disk, str(volumes[str(disk["lun"])]), f"disk{disk['lun'] + 2}", {}) if disk.get("vhd") else disk
        for disk in profile.get("dataDisks") or ()
    ]
    with ctx.edit() as r:
        r.properties["storageProfile"] = profile
        r.hidden.pop("data_volumes", None)
        if not os_disk.get("diffDiskSettings"):
            r.hidden.pop("os_volume", None)


def _managed(ctx: Context, entry: dict[str, Any], volume: str, stem: str, kind: dict[str, str]) -> dict[str, Any]:
    """A disk resource for these bytes; what the machine's document says about it from now on."""
    vm = ctx.resource
    unique_id = str(uuid.UUID(volume))
    doc: dict[str, Any] = {
        "location": vm.location,
        "managedBy": vm.id,
        "sku": {"name": "Standard_LRS"},
        "properties": {
            **kind,
            "creationData": {"createOption": "Import", "sourceUri": entry["vhd"].get("uri", "")},
            "timeCreated": ctx.timestamp(),
            "provisioningState": "Succeeded",
            "diskSizeBytes": int(entry["diskSizeGB"]) * GIB,
            "uniqueId": unique_id,
        },
    }
    restate(doc, doc["properties"], snapshot=False)
    name = f"{vm.name}_{stem}_{unique_id.replace('-', '')}"
    disk = ctx.create(f"{ctx.id.scope}/providers/{DISK_TYPE}/{name}", DISK_TYPE, doc, volume=volume)
    ctx.log("attached", disk.id, to=vm.id, what="disk")
    return {
        **{k: v for k, v in entry.items() if k != "vhd"},
        "name": disk.name,
        "managedDisk": {"storageAccountType": "Standard_LRS", "id": disk.id},
        "deleteOption": "Detach",
    }


ACTIONS = {"convertToManagedDisks": long_action(30, prepare=_prepare, finish=_finish)}
