"""VDI as inspection reads it. Layout: VirtualBox's VDICore.h, as block/vdi.c of QEMU tells it."""

from __future__ import annotations

import struct

from holdfast.core.units import MIB
from holdfast.disks.formats.facts import ImageFacts, Source

__all__ = ["inspect"]

_SIGNATURE = 0xBEDA107F
_DYNAMIC, _STATIC = 1, 2
_UNALLOCATED = 0xFFFFFFFE  # and above


def inspect(source: Source) -> ImageFacts | None:
    raw = source.at(0, 512)
    if len(raw) < 512 or struct.unpack("<I", raw[64:68])[0] != _SIGNATURE:
        return None
    (kind,) = struct.unpack("<I", raw[76:80])
    blocks_at, data_at = struct.unpack("<II", raw[340:348])
    size, block, _extra, blocks, _allocated = struct.unpack("<QIIII", raw[368:392])
    facts = ImageFacts("vdi", size, {_DYNAMIC: "dynamic", _STATIC: "static"}.get(kind, str(kind)))
    if kind not in (_DYNAMIC, _STATIC):
        facts.suspect("backing-file", f"image type {kind} depends on another")
    if any(raw[424:456]):  # link and parent
        facts.suspect("backing-file", "it names a parent disk")
    if block != MIB or blocks * block < size or blocks > size // MIB + 2:
        facts.suspect("sizes", f"{blocks} blocks of {block} bytes for a disk of {size}")
        return facts
    table = source.at(blocks_at, blocks * 4)
    if len(table) < blocks * 4:
        facts.suspect("torn", "its block table ends past the file")
        return facts
    _check_blocks(table, (size, block, data_at), source.size_bytes, facts)
    return facts


def _check_blocks(table: bytes, layout: tuple[int, int, int], file_bytes: int, facts: ImageFacts) -> None:
    """Each block in a place of its own, and in the file as far as the disk reaches into it."""
    size, block, data_at = layout
    seen = set()
    for number, (entry,) in enumerate(struct.iter_unpack("<I", table)):
        if entry >= _UNALLOCATED:
            continue
        if entry in seen:
            facts.suspect("cycle", f"block {entry} is used twice")
            return
        seen.add(entry)
        needed = max(0, min(block, size - number * block))
        if needed and data_at + entry * block + needed > file_bytes:
            facts.suspect("torn", f"block {entry} lies past the file's end at {file_bytes}")
            return
