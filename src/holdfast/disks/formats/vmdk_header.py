"""VMDK as inspection reads it: only self-contained sparse extents are safe, never a descriptor that names files.

Every grain must lie in the file as far as the disk reaches into it. Of compressed grains only those near the file's
end are looked at: the marker before each says how long it is. Layout: Virtual Disk Format 5.0 (VMware).
"""

from __future__ import annotations

import re
import struct
import sys
from array import array

from holdfast.core.units import MIB
from holdfast.disks.formats.facts import ImageFacts, Source

__all__ = ["MAGIC", "inspect"]

MAGIC = b"KDMV"
_SECTOR = 512
_PER_TABLE = 512  # grains
_ZERO_GRAIN = 1  # an entry that names no sector
_COMPRESSED = 1 << 16  # of the flags
_MARKER = struct.Struct("<QI")  # first sector of the disk that the grain holds, bytes of compressed data behind this
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
        _Grains(source, capacity * _SECTOR, grain * _SECTOR, facts, packed=bool(flags & _COMPRESSED)).check(gd_at)
    if desc_at:
        if desc_size > 2048 or desc_at * 512 > source.size_bytes:
            facts.suspect("torn", "its descriptor lies outside the file")
            return facts
        text = source.at(desc_at * 512, desc_size * 512).split(b"\0", 1)[0].decode(errors="replace")
        _check_descriptor(text, facts)
    return facts


class _Grains:
    """The directory, the tables that it names, the grains that they name."""

    def __init__(self, source: Source, size_bytes: int, grain_bytes: int, facts: ImageFacts, *, packed: bool) -> None:
        self._source, self._size_bytes, self._grain_bytes = source, size_bytes, grain_bytes
        self._facts, self._packed = facts, packed
        self._packed_at: dict[int, int] = {}

    def check(self, directory_sector: int) -> None:
        """Stops at the first suspicion."""
        count = -(-self._size_bytes // (self._grain_bytes * _PER_TABLE))
        if count * 4 > 32 * MIB:
            self._facts.suspect("sizes", f"a grain directory of {count} tables")
            return
        directory = _words(self._source.at(directory_sector * _SECTOR, count * 4))
        if len(directory) < count:
            self._facts.suspect("torn", "its grain directory ends past the file")
            return
        seen: set[int] = set()
        for number, sector in enumerate(directory):
            if sector == 0:
                continue
            if sector in seen:
                self._facts.suspect("cycle", f"the grain table at sector {sector} is used twice")
                return
            seen.add(sector)
            table = _words(self._source.at(sector * _SECTOR, _PER_TABLE * 4))
            if len(table) < _PER_TABLE:
                self._facts.suspect("torn", f"a grain table at sector {sector} lies outside the file")
                return
            problem = self._problem_in(number, table)
            if problem is not None:
                self._facts.suspect("torn", problem)
                return

    def _problem_in(self, number: int, table: array[int]) -> str | None:
        limit = self._source.size_bytes
        if max(table) * _SECTOR + 2 * self._grain_bytes <= limit:
            return None  # none is near the end: the usual table
        for index, sector in enumerate(table):
            start = sector * _SECTOR
            if sector <= _ZERO_GRAIN or start + 2 * self._grain_bytes <= limit:
                continue
            guest = (number * _PER_TABLE + index) * self._grain_bytes
            if guest >= self._size_bytes:
                continue
            needed = min(self._grain_bytes, self._size_bytes - guest)
            if self._packed:
                needed = self._packed_bytes(start)
            if start + needed > limit:
                return f"the grain at sector {sector} ends past the file's end at {limit}"
        return None

    def _packed_bytes(self, start: int) -> int:
        """Of the grain's marker and data. Asked once of each sector near the end, however many entries name it."""
        found = self._packed_at.get(start)
        if found is None:
            marker = self._source.at(start, _MARKER.size).ljust(_MARKER.size, b"\0")
            found = self._packed_at[start] = _MARKER.size + int(_MARKER.unpack(marker)[1])
        return found


def _words(raw: bytes) -> array[int]:
    """Whole entries of a table."""
    table = array("I", raw[: len(raw) // 4 * 4])
    if sys.byteorder == "big":
        table.byteswap()
    return table


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
