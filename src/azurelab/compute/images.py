"""Microsoft.Compute/images: managed images, from a generalized machine or from disks and snapshots.

The bytes are frozen when the image is made, so an image outlives what it was made from.
"""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import bad_request, conflict, invalid_parameter
from azurelab.arm.store import Resource, clone
from azurelab.arm.types import COMPUTE, Lro, ResourceType, Verb
from azurelab.compute.disk_fields import IMAGE_FIELDS
from azurelab.compute.disk_sources import absolute_id
from azurelab.compute.services import DISK_TYPE, IMAGE_TYPE, SNAPSHOT_TYPE, VM_TYPE, disks_of
from azurelab.compute.virtual_machines.storage import held_disks

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["IMAGES_TYPE"]


def _prepare(ctx: Context) -> None:
    properties = ctx.resource.properties
    if not ctx.is_new:
        assert ctx.before is not None
        for word in ("sourceVirtualMachine", "storageProfile", "hyperVGeneration"):
            if word in ctx.before.properties:
                properties[word] = clone(ctx.before.properties[word])
        return
    volumes: dict[str, str] = {}
    sources: dict[str, str] = {}
    machine_id = (properties.get("sourceVirtualMachine") or {}).get("id")
    if machine_id:
        _from_machine(ctx, absolute_id(str(machine_id)), volumes, sources)
    else:
        _from_disks(ctx, volumes, sources)
    ctx.resource.hidden["volumes"] = volumes
    ctx.memo["sources"] = sources
    _finish_document(properties)


def _finish_document(properties: dict[str, Any]) -> None:
    profile = properties["storageProfile"]
    profile.setdefault("zoneResilient", False)
    profile.setdefault("dataDisks", [])
    properties.setdefault("hyperVGeneration", "V1")
    for entry in (profile["osDisk"], *profile["dataDisks"]):
        entry.setdefault("caching", "None")
        entry.setdefault("storageAccountType", "Standard_LRS")


def _from_machine(ctx: Context, machine_id: str, volumes: dict[str, str], sources: dict[str, str]) -> None:
    machine = ctx.get(machine_id)
    if machine.type != VM_TYPE:
        raise invalid_parameter("sourceVirtualMachine", f"'{machine_id}' is not a virtual machine.")
    if not machine.hidden.get("generalized"):
        raise conflict(
            "OperationNotAllowed",
            f"Image can only be created from a generalized VM: '{machine.name}' was not set to generalized.",
        )
    if machine.location != ctx.resource.location:
        raise bad_request("BadRequest", f"The VM '{machine.name}' is not in the region of the image.")
    machine_disk = machine.properties["storageProfile"]["osDisk"]
    profile: dict[str, Any] = {
        "osDisk": {
            "osType": machine_disk["osType"],
            "osState": "Generalized",
            "diskSizeGB": machine_disk.get("diskSizeGB"),
            "caching": machine_disk.get("caching", "ReadWrite"),
        },
        "dataDisks": [],
    }
    if "os_volume" in machine.hidden:
        volumes["os"], sources["os"] = str(uuid.uuid4()), str(machine.hidden["os_volume"])
        if machine_disk.get("vhd"):
            profile["osDisk"]["blobUri"] = machine_disk["vhd"].get("uri")
    for lun, disk_id in held_disks(machine):
        disk = ctx.get(disk_id)
        key = "os" if lun < 0 else str(lun)
        volumes[key], sources[key] = str(uuid.uuid4()), str(disk.hidden["volume"])
        about = {
            "managedDisk": {"id": disk.id},
            "diskSizeGB": disk.properties["diskSizeGB"],
            "storageAccountType": disk.doc["sku"]["name"],
        }
        if lun < 0:
            profile["osDisk"] |= about
            ctx.resource.properties.setdefault("hyperVGeneration", disk.properties.get("hyperVGeneration", "V1"))
        else:
            profile["dataDisks"].append({"lun": lun, **about})
    given = ctx.resource.properties.get("storageProfile") or {}
    ctx.resource.properties["storageProfile"] = {**profile, **{k: v for k, v in given.items() if k == "zoneResilient"}}
    ctx.resource.properties["sourceVirtualMachine"] = {"id": machine.id}


def _from_disks(ctx: Context, volumes: dict[str, str], sources: dict[str, str]) -> None:
    profile = ctx.resource.properties.get("storageProfile")
    os_disk = profile.get("osDisk") if isinstance(profile, dict) else None
    if not isinstance(profile, dict) or not isinstance(os_disk, dict):
        raise invalid_parameter(
            "storageProfile.osDisk", "Required parameter 'image.storageProfile.osDisk' is missing (null)."
        )
    for word in ("osType", "osState"):
        if not os_disk.get(word):
            raise invalid_parameter(f"osDisk.{word}", f"Required parameter 'osDisk.{word}' is missing (null).")
    _freeze_source(ctx, "os", os_disk, volumes, sources)
    for disk in profile.get("dataDisks") or ():
        _freeze_source(ctx, str(disk["lun"]), disk, volumes, sources)


def _freeze_source(
    ctx: Context, key: str, entry: dict[str, Any], volumes: dict[str, str], sources: dict[str, str]
) -> None:
    for word, type_name in (("snapshot", SNAPSHOT_TYPE), ("managedDisk", DISK_TYPE)):
        named = (entry.get(word) or {}).get("id")
        if not named:
            continue
        source: Resource = ctx.get(absolute_id(str(named)))
        if source.type != type_name:
            raise invalid_parameter(word, f"'{named}' is not of type {type_name}.")
        entry[word]["id"] = source.id
        entry.setdefault("diskSizeGB", source.properties["diskSizeGB"])
        volumes[key], sources[key] = str(uuid.uuid4()), str(source.hidden["volume"])
        return
    raise bad_request(
        "InvalidParameter",
        "An image needs a snapshot or a managed disk for each of its disks; blobs of storage accounts are not served.",
        "storageProfile",
    )


def _run(ctx: Context) -> None:
    service = disks_of(ctx.lab)
    for key, source in (ctx.memo.get("sources") or {}).items():
        service.ensure_snapshot(source, str(ctx.resource.hidden["volumes"][key]))


def _finish_delete(ctx: Context) -> None:
    found = ctx.found
    if found is not None:
        service, volumes = disks_of(ctx.lab), [str(v) for v in found.hidden["volumes"].values()]
        for volume in volumes:
            ctx.store.after_commit(partial(service.delete, volume))


IMAGES_TYPE = ResourceType(
    name=IMAGE_TYPE,
    flavor=COMPUTE,
    put=Verb(
        new=201, existing=200, lro=Lro.AAO, seconds=5.2, bucket="CreateImages", prepare=_prepare, run=_run, quick=True
    ),
    patch=Verb(existing=200, lro=Lro.AAO, seconds=5.1, bucket="CreateImages", prepare=_prepare, quick=True),
    delete=Verb(
        existing=202,
        lro=Lro.BOTH,
        seconds=5.1,
        bucket="DeleteImages",
        finish=_finish_delete,
        empty=True,
        quick=True,
    ),
    fields=IMAGE_FIELDS,
    read_bucket="GetImages",
    list_bucket="GetImages",
    delete_order=46,
)
