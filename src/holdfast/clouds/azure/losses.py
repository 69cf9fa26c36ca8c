"""What a GET cannot give back: the parts of a machine that are lost when its object is made again from its document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from holdfast.clouds.azure.views import Vm
from holdfast.clouds.documents import Document

__all__ = ["Loss", "LossKind", "lost"]


class LossKind(StrEnum):
    UNREADABLE = "unreadable"  # Azure never shows it, so nobody can write it again
    REPLACED = "replaced"  # Azure gives a new one
    NOT_ACCEPTED = "not accepted"  # readable, but refused for a machine made from existing disks


@dataclass(frozen=True)
class Loss:
    """code: stable. about: path in the document. text: for people."""

    code: str
    kind: LossKind
    about: str
    text: str


def lost(document: Document) -> tuple[Loss, ...]:
    """What is not as before when this resource is made again. Empty for types that a GET describes in full."""
    kind = document.type.lower()
    if kind == "microsoft.compute/virtualmachines":
        return tuple(_of_machine(document))
    if kind == "microsoft.compute/virtualmachines/extensions":
        return tuple(_of_extension(document))
    return ()


def _of_machine(machine: Document) -> Iterator[Loss]:
    yield Loss("VM_ID", LossKind.REPLACED, "properties.vmId", "The machine gets a new vmId.")
    if machine.get("properties.timeCreated"):
        yield Loss("TIME_CREATED", LossKind.REPLACED, "properties.timeCreated", "Its time of creation is the new one.")
    if machine.get("properties.osProfile") is not None:
        yield Loss(
            "OS_PROFILE",
            LossKind.NOT_ACCEPTED,
            "properties.osProfile",
            "Azure takes no osProfile with an existing OS disk. Users, keys and host name live on in the disk; the "
            "machine's document no longer shows them, and its password and custom data were never readable.",
        )
    if machine.get("properties.storageProfile.imageReference") is not None:
        yield Loss(
            "IMAGE_REFERENCE",
            LossKind.NOT_ACCEPTED,
            "properties.storageProfile.imageReference",
            "Azure takes no imageReference with an existing OS disk: the document no longer says which image it was.",
        )
    if any(disk.get("createOption", "Attach") != "Attach" for disk in (Vm.os_disk(machine), *Vm.data_disks(machine))):
        yield Loss(
            "CREATE_OPTION",
            LossKind.NOT_ACCEPTED,
            "properties.storageProfile",
            "The createOption of its disks becomes Attach: they exist, so they are not made from an image or empty.",
        )
    if Vm.system_identity(machine) is not None:
        yield Loss(
            "SYSTEM_IDENTITY",
            LossKind.REPLACED,
            "identity.principalId",
            "The system-assigned identity gets a new principal id; role assignments of the old one do not apply to it.",
        )


def _of_extension(extension: Document) -> Iterator[Loss]:
    if extension.get("properties.protectedSettingsFromKeyVault") is None:
        yield Loss(
            "PROTECTED_SETTINGS",
            LossKind.UNREADABLE,
            "properties.protectedSettings",
            f"Protected settings of extension {extension.name.rsplit('/', 1)[-1]}, if it has any, cannot be read back.",
        )
