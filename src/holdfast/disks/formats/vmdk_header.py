"""VMDK as inspection reads it: only self-contained sparse extents are safe, never a descriptor that names files.

Layout: Virtual Disk Format 5.0 (VMware).
"""

from __future__ import annotations

import re
import struct

from holdfast.core.units import MIB
from holdfast.disks.formats.facts import ImageFacts, Source

__all__ = ["MAGIC", "inspect"]

MAGIC = b"KDMV"
_SAFE_TYPES = ("monolithicSparse", "streamOptimized")
_SETTING = re.compile(r"^\s*([A-Za-z.]+)\s*=\s*\"?([^\"\r\n]*)\"?", re.MULTILINE)
_EXTENT = re.compile(r"^\s*(RW|RDONLY|NOACCESS)\s+(\d+)\s+(\w+)", re.MULTILINE)


def inspect(source: Source) -> ImageFacts | None:
    head = source.at(0, 512)
    if head[:4] == b"COWD":
        facts = ImageFacts("vmdk", variant="cowd")
        facts.suspect("vmdk-descriptor", "the old COWD kind is not read")
        return facts
    if head.lstrip().lower().startswith(b"# disk descriptorfile"):
        facts = ImageFacts("vmdk", variant="descriptor")
        facts.suspect("vmdk-descriptor", "it is a text that names other files")
        return facts
    if head[:4] != MAGIC:
        return None
    version, flags, capacity, grain, desc_at, desc_size, per_table, _rgd, gd_at, overhead = struct.unpack(
        "<IIQQQQIQQQ", head[4:72]
    )
    facts = ImageFacts("vmdk", capacity * 512, f"version {version}")
    if not capacity:
        facts.suspect("vmdk-descriptor", "a capacity of zero makes readers follow its descriptor to other files")
        return facts
    if version not in (1, 2, 3):
        facts.suspect("version", f"version {version} is not known")
    if not 8 <= grain <= 2048 or grain & (grain - 1) or per_table != 512:
        facts.suspect("sizes", f"grains of {grain} sectors, {per_table} to a table")
        return facts
    if overhead * 512 > source.size_bytes + MIB:
        facts.suspect("torn", "its tables end past the file")
    at_end = gd_at == 0xFFFFFFFFFFFFFFFF
    if at_end:
        footer = source.at(max(0, source.size_bytes - 1024), 512)
        if footer[:4] != MAGIC:
            facts.suspect("torn", "its footer is missing")
            return facts
        if struct.unpack("<Q", footer[12:20])[0] != capacity:
            facts.suspect("sizes", "header and footer differ about its size")
        (gd_at,) = struct.unpack("<Q", footer[56:64])
    if gd_at * 512 >= source.size_bytes:
        facts.suspect("torn", "its grain directory lies outside the file")
    elif capacity:
        _check_directory(source, gd_at * 512, capacity, grain * 512, facts)
    if desc_at:
        if desc_size > 2048 or desc_at * 512 > source.size_bytes:
            facts.suspect("torn", "its descriptor lies outside the file")
            return facts
        text = source.at(desc_at * 512, desc_size * 512).split(b"\0", 1)[0].decode(errors="replace")
        _check_descriptor(text, facts)
    _ = flags
    return facts


def _check_directory(source: Source, at: int, capacity: int, grain_bytes: int, facts: ImageFacts) -> None:
    tables = -(-capacity * 512 // (grain_bytes * 512))
    if tables * 4 > 32 * MIB:
        facts.suspect("sizes", f"a grain directory of {tables} tables")
        return
    raw = source.at(at, tables * 4)
    if len(raw) < tables * 4:
        facts.suspect("torn", "its grain directory ends past the file")
        return
    seen = set()
    for (sector,) in struct.iter_unpack("<I", raw):
        if sector == 0:
            continue
        if sector * 512 >= source.size_bytes or sector in seen:
            facts.suspect("cycle", f"a grain table at sector {sector} lies outside the file or is used twice")
            return
        seen.add(sector)


def _check_descriptor(text: str, facts: ImageFacts) -> None:
    settings = {key.lower(): value for key, value in _SETTING.findall(text)}
    kind = settings.get("createtype")
    facts.variant = kind or facts.variant
    if kind not in _SAFE_TYPES:
        facts.suspect("vmdk-descriptor", f"createType {kind!r} is not one of {', '.join(_SAFE_TYPES)}")
    if settings.get("parentcid", "ffffffff").lower() != "ffffffff" or "parentfilenamehint" in settings:
        facts.suspect("backing-file", "it names a parent disk")
    extents = _EXTENT.findall(text)
    if len(extents) != 1 or extents[0][2] != "SPARSE":
        listed = ", ".join(kind for _, _, kind in extents) or "none"
        facts.suspect("vmdk-descriptor", f"its extents are {listed}; one SPARSE extent is expected")
    if settings.get("encoding", "").lower() in ("encrypted",) or "encryption.keysafe" in settings:
        facts.suspect("encryption", "it is encrypted")
