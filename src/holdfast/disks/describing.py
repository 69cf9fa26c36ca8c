"""`disk info`: what can be said of a disk without opening what it points to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.disks.errors import DiskNotFound
from holdfast.disks.intake.inspecting import inspect_file
from holdfast.disks.model.extents import total_bytes
from holdfast.disks.model.locator import Locator
from holdfast.disks.opening import format_of, open_reader
from holdfast.disks.system.files import in_use_reason, is_device, require_disk

__all__ = ["describe"]


def describe(disk: Locator) -> dict[str, Any]:
    """Format declared and found, sizes, data, and `refused`: why it would not be opened (empty if it would)."""
    facts: dict[str, Any] = {"name": disk.name}
    refused: list[str] = []
    if not disk.is_url:
        if not Path(disk.address).exists():
            raise DiskNotFound(kind="disk", name=disk.address)
        require_disk(disk.address, "disk")
        declared = format_of(disk) if disk.format or not is_device(disk.address) else "raw"
        found = inspect_file(disk.address)
        facts |= {"format": declared, "bytes_say": found.format, "variant": found.variant}
        if declared != "raw":
            wanted = "vhd" if declared == "vhd-fixed" else declared
            if wanted != found.format:
                refused.append(f"declared {declared}, but its bytes say {found.format}")
            refused += [f"{s.rule}: {s.problem}" for s in found.suspicions]
            if found.unchecked:
                facts["unchecked"] = found.unchecked
        facts["file_bytes"] = Path(disk.address).stat().st_size
        facts["allocated_bytes"] = Path(disk.address).stat().st_blocks * 512
        facts["in_use"] = in_use_reason(disk.address)
    facts["refused"] = refused
    if not refused:
        reader = open_reader(disk)
        try:
            facts["size_bytes"] = reader.size_bytes
            facts["data_bytes"] = total_bytes(reader.extents(0, reader.size_bytes))
        finally:
            reader.close()
    return facts
