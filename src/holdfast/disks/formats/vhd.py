"""VHD: the footer that we write, and what inspection reads.

A fixed VHD is the raw disk followed by one 512-byte footer. Azure takes only those, with a virtual size of whole MiB.
Layout: Virtual Hard Disk Image Format Specification (Microsoft, 2006).
"""

from __future__ import annotations

import struct
import uuid

from holdfast.core.units import MIB
from holdfast.disks.formats.facts import ImageFacts, Source

__all__ = ["FOOTER_BYTES", "fixed_footer", "growth_note", "inspect", "rounded_size"]

FOOTER_BYTES = 512
_COOKIE, _DYNAMIC_COOKIE = b"conectix", b"cxsparse"
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_EPOCH_2000 = 946684800


def rounded_size(size_bytes: int) -> int:
    """The virtual size that Azure wants for a disk: the next whole MiB."""
    return max(1, -(-size_bytes // MIB)) * MIB


def growth_note(size_bytes: int) -> list[str]:
    """What to say of a disk that is made a VHD; nothing of one that has whole MiB."""
    grown = rounded_size(size_bytes)
    return [f"the disk grows from {size_bytes} to {grown} bytes: a VHD has whole MiB"] if grown != size_bytes else []


# The largest geometry says "use the size field": readers that would else round the disk down to cylinders do not.
_CYLINDERS, _HEADS, _SECTORS = 65535, 16, 255


def fixed_footer(size_bytes: int, *, disk_id: uuid.UUID | None = None, created_s: int = _EPOCH_2000) -> bytes:
    """The footer of a fixed VHD. `size_bytes` must be whole sectors; raises ValueError."""
    if size_bytes % 512 or size_bytes <= 0:
        raise ValueError(f"a VHD of {size_bytes} bytes is not whole sectors")
    body = struct.pack(
        ">8sIIQI4sI4sQQHBBI",
        _COOKIE,
        2,  # features: the reserved bit that is always set
        0x00010000,
        0xFFFFFFFFFFFFFFFF,  # no dynamic header
        max(0, created_s - _EPOCH_2000),
        b"hfst",
        0x00010000,
        b"Wi2k",
        size_bytes,
        size_bytes,
        _CYLINDERS,
        _HEADS,
        _SECTORS,
        _FIXED,
    )
    identity = (disk_id or uuid.uuid4()).bytes
    rest = identity + b"\0" * 428
    checksum = ~sum(body + rest) & 0xFFFFFFFF
    return body + struct.pack(">I", checksum) + rest


def _checksum_is_right(raw: bytes, at: int) -> bool:
    told = int.from_bytes(raw[at : at + 4], "big")
    return told == ~(sum(raw) - sum(raw[at : at + 4])) & 0xFFFFFFFF


def inspect(source: Source) -> ImageFacts | None:
    """None if there is no VHD cookie at the end or the start."""
    footer = source.at(max(0, source.size_bytes - FOOTER_BYTES), FOOTER_BYTES)
    head = source.at(0, FOOTER_BYTES)
    if footer[:8] != _COOKIE and head[:8] != _COOKIE:
        return None
    facts = ImageFacts("vhd")
    if footer[:8] != _COOKIE:
        facts.suspect("torn", "its footer is missing")
        footer = head
    facts.size_bytes, kind = int.from_bytes(footer[48:56], "big"), int.from_bytes(footer[60:64], "big")
    facts.variant = {_FIXED: "fixed", _DYNAMIC: "dynamic", _DIFFERENCING: "differencing"}.get(kind, str(kind))
    if not _checksum_is_right(footer, 64):
        facts.suspect("torn", "the checksum of its footer is wrong")
    if kind == _DIFFERENCING:
        facts.suspect("backing-file", "it is a difference to a parent disk")
    elif kind == _FIXED:
        if facts.size_bytes + FOOTER_BYTES != source.size_bytes:
            facts.suspect("sizes", f"it says {facts.size_bytes} bytes and holds {source.size_bytes - FOOTER_BYTES}")
    elif kind == _DYNAMIC:
        _inspect_dynamic(source, footer, facts)
    else:
        facts.suspect("version", f"disk type {kind} is not known")
    return facts


def _inspect_dynamic(source: Source, footer: bytes, facts: ImageFacts) -> None:
    raw = source.at(int.from_bytes(footer[16:24], "big"), 1024)
    if len(raw) < 1024 or raw[:8] != _DYNAMIC_COOKIE or not _checksum_is_right(raw, 36):
        facts.suspect("torn", "its dynamic header is missing or its checksum wrong")
        return
    table, _version, entries, block = struct.unpack(">QIII", raw[16:36])
    if any(raw[40:56]) or any(raw[64:576]) or any(raw[576:768]):
        facts.suspect("backing-file", "it names a parent disk")
    if block < 512 or block & (block - 1) or block > 256 * MIB:
        facts.suspect("sizes", f"blocks of {block} bytes")
        return
    if entries * block < facts.size_bytes or entries > (facts.size_bytes // block + 2) * 2 + 4096:
        facts.suspect("sizes", f"{entries} blocks of {block} bytes for a disk of {facts.size_bytes}")
        return
    bat = source.at(table, entries * 4)
    if len(bat) < entries * 4:
        facts.suspect("torn", "its block table ends past the file")
        return
    _check_blocks(bat, block, source.size_bytes - FOOTER_BYTES, facts)


def _check_blocks(bat: bytes, block: int, data_end: int, facts: ImageFacts) -> None:
    """Each block in a place of its own, in the file as far as the disk reaches into it. A bitmap of sectors, itself
    of whole sectors, lies before it."""
    bitmap = -(-block // 512 // 8 // 512) * 512
    seen = set()
    for number, (sector,) in enumerate(struct.iter_unpack(">I", bat)):
        if sector == 0xFFFFFFFF:
            continue
        if sector in seen:
            facts.suspect("cycle", f"two blocks lie at sector {sector}")
            return
        seen.add(sector)
        needed = max(0, min(block, facts.size_bytes - number * block))
        if needed and sector * 512 + bitmap + needed > data_end:
            facts.suspect("torn", f"the block at sector {sector} lies past the end of the data at {data_end}")
            return
