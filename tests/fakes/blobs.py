"""Machines whose disks are blobs in a storage account, as they were before 2017: to blobs, and to managed disks."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

__all__ = ["as_blobs", "as_disks"]


def as_blobs(machine: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Change a machine's body; (id of the disk that it had, URL of the blob that it has) of each."""
    for disk in _disks(machine):
        ref = disk.pop("managedDisk")["id"]
        uri = f"https://store.blob.core.windows.net/vhds/{ref.rsplit('/', 1)[-1]}.vhd"
        disk["vhd"] = {"uri": uri}
        disk.pop("deleteOption", None)
        yield ref, uri


def as_disks(machine: dict[str, Any], folder: str) -> Iterator[tuple[str, str, bool]]:
    """Change a machine's body; (id of the new disk below `folder`, URL of its blob, whether it is the OS disk)."""
    for number, disk in enumerate(_disks(machine)):
        if not disk.get("vhd"):
            continue
        uri = disk.pop("vhd")["uri"]
        name = f"{machine['name']}_{uuid.uuid4().hex}"
        disk.update(name=name, managedDisk={"id": folder + name}, deleteOption="Delete")
        yield folder + name, uri, number == 0


def _disks(machine: dict[str, Any]) -> list[dict[str, Any]]:
    storage = machine["properties"]["storageProfile"]
    return [storage["osDisk"], *storage["dataDisks"]]
