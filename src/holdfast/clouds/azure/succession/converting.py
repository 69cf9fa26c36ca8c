"""Disks that are blobs become managed disks: what is known of them before, and the facts of the machine after.

Azure converts a deallocated machine as a whole, names the new disks itself, and takes nothing back: the blobs stay
where they are (https://learn.microsoft.com/azure/virtual-machines/linux/convert-unmanaged-to-managed-disks).
"""

from __future__ import annotations

from dataclasses import replace

from holdfast.clouds.azure.succession.disks import DISK_VERSION, DISKS
from holdfast.clouds.azure.succession.names import in_group, resource_group_of
from holdfast.clouds.documents import Document
from holdfast.clouds.protocols import AttachedDisk, Facts

__all__ = ["blobs_by_lun", "blobs_of", "converted", "expected_after_conversion", "expected_names"]


def blobs_of(facts: Facts) -> tuple[AttachedDisk, ...]:
    """The machine's disks that are blobs in a storage account."""
    return tuple(disk for disk in facts.disks if disk.document is None)


def blobs_by_lun(machine: Document) -> dict[int | None, bool]:
    """Every disk that a machine's document names, by lun (None = the OS disk): whether it is a blob."""
    storage = machine.get("properties.storageProfile", {})
    disks = {None: storage.get("osDisk") or {}, **{disk["lun"]: disk for disk in storage.get("dataDisks") or ()}}
    return {lun: bool((disk.get("vhd") or {}).get("uri")) for lun, disk in disks.items()}


def expected_after_conversion(facts: Facts) -> Facts:
    """The facts with a managed disk in the place of each blob, as far as it can be known: Azure chooses the names."""
    disks = tuple(disk if disk.document is not None else replace(disk, document=_expected(facts, disk))
                  for disk in facts.disks)  # fmt: skip
    return replace(facts, disks=disks)


def expected_names(facts: Facts) -> dict[int | None, str]:
    """By lun: what a plan calls the converted disks. What is named after them keeps these names."""
    return {disk.lun: _name(facts, disk.lun) for disk in facts.disks}


def converted(before: Facts, now: Facts) -> Facts:
    """The machine as it was described, with the disks that it has now: our marks and its present power are not its own.

    `before`: as planned, with blobs. `now`: read after the conversion.
    """
    storage = now.machine.get("properties.storageProfile")
    return replace(before, machine=before.machine.with_value("properties.storageProfile", storage), disks=now.disks)


def _expected(facts: Facts, disk: AttachedDisk) -> Document:
    machine = facts.machine
    system = machine.get("properties.storageProfile.osDisk.osType", "Linux")
    return Document(
        ref=in_group(machine.ref, resource_group_of(machine.ref), DISKS, _name(facts, disk.lun)),
        type=DISKS,
        api_version=DISK_VERSION,
        body={
            "location": machine.body["location"],
            "sku": {"name": "Standard_LRS"},
            "properties": {"osType": system} if disk.lun is None else {},
        },
    )


def _name(facts: Facts, lun: int | None) -> str:
    return f"{facts.machine.name}_{'OsDisk_1' if lun is None else f'lun_{lun}'}"
