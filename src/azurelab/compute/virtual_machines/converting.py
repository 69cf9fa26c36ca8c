"""convertToManagedDisks: an unmanaged OS disk becomes a managed one. The machine is deallocated; its bytes stay."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import conflict
from azurelab.arm.store import clone
from azurelab.arm.types import Lro, Verb
from azurelab.compute.disk_documents import restate
from azurelab.compute.disk_sizes import GIB
from azurelab.compute.services import DISK_TYPE

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
    """One transaction: the disk resource takes over the bytes that the machine owned."""
    vm = ctx.resource
    os_disk = vm.properties["storageProfile"].get("osDisk") or {}
    if "os_volume" not in vm.hidden or not os_disk.get("vhd"):
        return
    volume = str(vm.hidden["os_volume"])
    unique_id = str(uuid.UUID(volume))
    name = f"{vm.name}_OsDisk_1_{unique_id.replace('-', '')}"
    doc: dict[str, Any] = {
        "location": vm.location,
        "managedBy": vm.id,
        "sku": {"name": "Standard_LRS"},
        "properties": {
            "osType": os_disk["osType"],
            "hyperVGeneration": vm.hidden.get("generation", "V1"),
            "creationData": {"createOption": "Import", "sourceUri": os_disk["vhd"].get("uri", "")},
            "timeCreated": ctx.timestamp(),
            "provisioningState": "Succeeded",
            "diskSizeBytes": int(os_disk["diskSizeGB"]) * GIB,
            "uniqueId": unique_id,
        },
    }
    restate(doc, doc["properties"], snapshot=False)
    disk = ctx.create(f"{ctx.id.scope}/providers/{DISK_TYPE}/{name}", DISK_TYPE, doc, volume=volume)
    with ctx.edit() as r:
        del r.hidden["os_volume"]
        entry = {k: clone(v) for k, v in os_disk.items() if k != "vhd"}
        r.properties["storageProfile"]["osDisk"] = {
            **entry,
            "name": disk.name,
            "managedDisk": {"storageAccountType": "Standard_LRS", "id": disk.id},
            "deleteOption": "Detach",
        }
    ctx.log("attached", disk.id, to=vm.id, what="disk")


ACTIONS = {
    "convertToManagedDisks": Verb(
        existing=202, lro=Lro.BOTH, seconds=30, bucket="UpdateVM", prepare=_prepare, finish=_finish, empty=True
    ),
}
