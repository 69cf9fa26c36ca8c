"""How effects reach the objects behind the documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from azurelab.disks.service import DiskService

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["DISK_TYPE", "GHOST_SETTING", "IMAGE_TYPE", "SNAPSHOT_TYPE", "VM_TYPE", "disks_of"]

DISK_TYPE = "Microsoft.Compute/disks"
SNAPSHOT_TYPE = "Microsoft.Compute/snapshots"
IMAGE_TYPE = "Microsoft.Compute/images"
VM_TYPE = "Microsoft.Compute/virtualMachines"
GHOST_SETTING = "eviction.deleted:"
"""+ key of a machine that an eviction deleted; until a machine of that name is made again."""


def disks_of(lab: Lab) -> DiskService:
    return cast(DiskService, lab.services["disks"])
