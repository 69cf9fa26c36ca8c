"""VHDX as inspection reads it: region table, metadata and block table, far enough to find a parent, the size, a
pending log, and blocks that the file has lost.

Layout: [MS-VHDX].
"""

from __future__ import annotations

import struct
import sys
import uuid
from array import array

from holdfast.core.units import KIB, MIB
from holdfast.disks.formats.facts import ImageFacts, Source

__all__ = ["UNCLOSED", "inspect"]

UNCLOSED = "unclosed"  # to be mended by opening it for writing, which only its owner may do

_METADATA_REGION = uuid.UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E").bytes_le
_BAT_REGION = uuid.UUID("2DC27766-F623-4200-9D64-115E9BFD4A08").bytes_le
_FILE_PARAMETERS = uuid.UUID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B").bytes_le
_DISK_SIZE = uuid.UUID("2FA54224-CD1B-4876-B211-5DBED83BF4B8").bytes_le
_PARENT_LOCATOR = uuid.UUID("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C").bytes_le
_SECTOR_SIZE = uuid.UUID("8141BF1D-A96F-4709-BA47-F233A8FAAB5F").bytes_le
_HAS_PARENT = 2
_PRESENT = (6, 7)  # states of a block that has its place: wholly, partially
_STATE_BITS, _PLACE_BITS = 7, ~(MIB - 1)  # of an entry of the block table


def inspect(source: Source) -> ImageFacts | None:
    if source.at(0, 8) != b"vhdxfile":
        return None
    facts = ImageFacts("vhdx")
    _check_log(source, facts)
    regions = _regions(source)
    if _METADATA_REGION not in regions or _BAT_REGION not in regions:
        facts.suspect("torn", "its region table lacks the metadata or the block table")
        return facts
    for offset, size in regions.values():
        if offset < MIB or offset + size > source.size_bytes + MIB:
            facts.suspect("torn", f"a region at {offset} lies outside the file")
            return facts
    block, sector = _inspect_metadata(source, regions[_METADATA_REGION][0], facts)
    if not facts.suspicions:
        _check_blocks(source, regions[_BAT_REGION], (block, sector), facts)
    return facts


def _regions(source: Source) -> dict[bytes, tuple[int, int]]:
    for at in (192 * KIB, 256 * KIB):
        raw = source.at(at, 64 * KIB)
        if raw[:4] != b"regi":
            continue
        (count,) = struct.unpack("<I", raw[8:12])
        found = {}
        for n in range(min(count, 2047)):
            entry = raw[16 + n * 32 : 48 + n * 32]
            if len(entry) == 32:
                offset, size = struct.unpack("<QI", entry[16:28])
                found[entry[:16]] = (offset, size)
        return found
    return {}


def _check_log(source: Source, facts: ImageFacts) -> None:
    """A log that is not empty must be replayed by writing, which a reader must not do."""
    heads = [source.at(at, 80) for at in (64 * KIB, 128 * KIB)]
    valid = [h for h in heads if h[:4] == b"head"]
    if not valid:
        facts.suspect("torn", "it has no header")
        return
    newest = max(valid, key=lambda h: struct.unpack("<Q", h[8:16]))
    if any(newest[48:64]):
        facts.suspect(UNCLOSED, "it was not closed: its log waits to be replayed")


def _inspect_metadata(source: Source, at: int, facts: ImageFacts) -> tuple[int, int]:
    """Bytes of a block and of a logical sector; 0 where it does not say."""
    block = sector = 0
    raw = source.at(at, 64 * KIB)
    if raw[:8] != b"metadata":
        facts.suspect("torn", "its metadata table is missing")
        return block, sector
    (count,) = struct.unpack("<H", raw[10:12])
    for n in range(min(count, 2047)):
        entry = raw[32 + n * 32 : 64 + n * 32]
        if len(entry) < 32:
            break
        offset, size = struct.unpack("<II", entry[16:24])
        if entry[:16] == _PARENT_LOCATOR:
            facts.suspect("backing-file", "it names a parent disk")
        elif entry[:16] == _FILE_PARAMETERS and size >= 8:
            block, flags = struct.unpack("<II", source.at(at + offset, 8))
            if flags & _HAS_PARENT:
                facts.suspect("backing-file", "it is a difference to a parent disk")
            if not MIB <= block <= 256 * MIB or block & (block - 1):
                facts.suspect("sizes", f"blocks of {block} bytes")
        elif entry[:16] == _DISK_SIZE and size >= 8:
            (facts.size_bytes,) = struct.unpack("<Q", source.at(at + offset, 8))
        elif entry[:16] == _SECTOR_SIZE and size >= 4:
            (sector,) = struct.unpack("<I", source.at(at + offset, 4))
    if not facts.size_bytes:
        facts.suspect("torn", "it does not say its size")
    return block, sector


def _check_blocks(source: Source, region: tuple[int, int], sizes: tuple[int, int], facts: ImageFacts) -> None:
    """What the disk holds of each block must lie in the file. Every so many entries one of a bitmap stands between."""
    block, sector = sizes
    if not block or sector not in (512, 4096):
        facts.suspect("sizes", f"blocks of {block} bytes, sectors of {sector}")
        return
    blocks = -(-facts.size_bytes // block)
    per_bitmap = (1 << 23) * sector // block
    entries = blocks + (blocks - 1) // per_bitmap
    table = array("Q", source.at(region[0], min(entries * 8, region[1] // 8 * 8)))
    if sys.byteorder == "big":
        table.byteswap()
    if len(table) < entries:
        facts.suspect("torn", "its block table is too short for the disk")
        return
    del table[per_bitmap :: per_bitmap + 1]
    for number, entry in enumerate(table):
        if entry & _STATE_BITS not in _PRESENT:
            continue
        place, needed = entry & _PLACE_BITS, min(block, facts.size_bytes - number * block)
        if place + needed > source.size_bytes:
            facts.suspect("torn", f"the block at {place} ends past the file's end at {source.size_bytes}")
            return
