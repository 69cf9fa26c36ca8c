"""qcow2 as it is read: header, extensions, tables, with every pointer checked before it is followed.

Layout: docs/interop/qcow2.txt of QEMU.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import compress
from operator import or_

from holdfast.core.units import MIB
from holdfast.disks.formats.facts import ImageFacts, Source
from holdfast.disks.model.extents import Extent, Kind

__all__ = ["MAGIC", "Qcow2Header", "Qcow2Map", "allocated", "backing_of", "inspect", "parse"]

MAGIC = b"QFI\xfb"
_DIRTY, _CORRUPT, _DATA_FILE, _COMPRESSION, _EXTENDED_L2 = 1, 2, 4, 8, 16
_KNOWN_FEATURES = _DIRTY | _CORRUPT | _DATA_FILE | _COMPRESSION | _EXTENDED_L2
_EXT_END, _EXT_DATA_FILE, _EXT_BACKING_FORMAT = 0, 0x44415441, 0xE2792ACA
_OFFSET_MASK = 0x00FFFFFFFFFFFE00
_USED_ONCE, _COMPRESSED, _ZERO_BIT = 1 << 63, 1 << 62, 1
_MOST_L1_BYTES = 32 * MIB  # QEMU's own limit


@dataclass(frozen=True)
class Qcow2Header:
    version: int
    backing_offset: int
    backing_size: int
    cluster_bits: int
    size_bytes: int
    crypt_method: int
    l1_entries: int
    l1_offset: int
    refcount_offset: int
    refcount_clusters: int
    snapshots: int
    features: int
    refcount_order: int
    header_bytes: int

    @property
    def cluster_bytes(self) -> int:
        return 1 << self.cluster_bits


def parse(source: Source) -> Qcow2Header | None:
    """The header, or None if these are not the bytes of one."""
    raw = source.at(0, 112)
    if len(raw) < 72 or raw[:4] != MAGIC:
        return None
    version, backing, backing_size, bits, size, crypt, l1_size, l1, refcounts, refcount_clusters, snapshots = (
        struct.unpack(">IQIIQIIQQII", raw[4:64])
    )
    features, order, length = 0, 4, 72
    if version >= 3 and len(raw) >= 104:
        (features,) = struct.unpack(">Q", raw[72:80])
        order, length = struct.unpack(">II", raw[96:104])
    return Qcow2Header(
        version=version,
        backing_offset=backing,
        backing_size=backing_size,
        cluster_bits=bits,
        size_bytes=size,
        crypt_method=crypt,
        l1_entries=l1_size,
        l1_offset=l1,
        refcount_offset=refcounts,
        refcount_clusters=refcount_clusters,
        snapshots=snapshots,
        features=features,
        refcount_order=order,
        header_bytes=length,
    )


def inspect(source: Source) -> ImageFacts | None:
    """Everything that makes a qcow2 unsafe or unreadable. None if it is no qcow2."""
    header = parse(source)
    if header is None:
        return None
    facts = ImageFacts("qcow2", header.size_bytes, f"version {header.version}")
    if header.version not in (2, 3):
        facts.suspect("version", f"version {header.version} is not known")
        return facts
    if not 9 <= header.cluster_bits <= 21 or header.refcount_order > 6:
        facts.suspect(
            "sizes", f"clusters of 2^{header.cluster_bits} bytes, refcounts of 2^{header.refcount_order} bits"
        )
        return facts
    if header.backing_offset:
        name = source.at(header.backing_offset, min(header.backing_size, 200)).decode(errors="replace")
        facts.suspect("backing-file", f"it is backed by {name!r}")
    if header.crypt_method:
        facts.suspect("encryption", "it is encrypted")
    if header.features & _DATA_FILE:
        facts.suspect("data-file", "its data lie in another file")
    if header.features & _CORRUPT:
        facts.suspect("torn", "it is marked corrupt")
    if header.features & ~_KNOWN_FEATURES:
        facts.suspect("version", f"unknown features {header.features & ~_KNOWN_FEATURES:#x}")
    _check_extensions(source, header, facts)
    _check_tables(source, header, facts)
    return facts


def _check_extensions(source: Source, header: Qcow2Header, facts: ImageFacts) -> None:
    at, end = header.header_bytes, header.cluster_bytes
    if not 72 <= at <= end or at % 8:
        facts.suspect("torn", f"a header of {at} bytes")
        return
    for _ in range(64):
        raw = source.at(at, 8)
        if at + 8 > end or len(raw) < 8:
            return
        kind, size = struct.unpack(">II", raw)
        if kind == _EXT_END:
            return
        if kind == _EXT_DATA_FILE:
            facts.suspect(
                "data-file", f"it names the data file {source.at(at + 8, min(size, 200)).decode(errors='replace')!r}"
            )
        if size > end:
            facts.suspect("torn", "a header extension is longer than the header")
            return
        at += 8 + (size + 7) // 8 * 8
    facts.suspect("torn", "too many header extensions")


def backing_of(source: Source, header: Qcow2Header) -> tuple[str, str | None] | None:
    """The name of the backing file and its declared format, as the image writes them; None if it has none."""
    if not header.backing_offset:
        return None
    name = source.at(header.backing_offset, min(header.backing_size, 1023)).decode(errors="surrogateescape")
    at, end = header.header_bytes, header.cluster_bytes
    for _ in range(64):
        raw = source.at(at, 8)
        if at + 8 > end or len(raw) < 8:
            break
        kind, size = struct.unpack(">II", raw)
        if kind == _EXT_END:
            break
        if kind == _EXT_BACKING_FORMAT:
            return name, source.at(at + 8, min(size, 64)).decode(errors="replace")
        at += 8 + (size + 7) // 8 * 8
    return name, None


def allocated(source: Source, header: Qcow2Header) -> Iterator[Extent] | None:
    """Guest ranges that this file itself decides, data or zeros; all others show what lies below it.

    None where clusters are accounted for in parts (extended L2). May reach past the disk's end by part of a cluster.
    """
    if header.features & _EXTENDED_L2:
        return None
    return _allocated(Qcow2Map(source, header), header)


def _allocated(mapping: Qcow2Map, header: Qcow2Header) -> Iterator[Extent]:
    cluster, per_table = header.cluster_bytes, header.cluster_bytes // 8
    zero_bit = _ZERO_BIT if header.version >= 3 else 0
    held: Extent | None = None
    for number in range(header.l1_entries):
        table = mapping.table(number)
        for index, entry in zip(compress(range(len(table)), table), filter(None, table), strict=True):
            zero = not entry & _COMPRESSED and entry & zero_bit
            if not zero and not entry & (_COMPRESSED | _OFFSET_MASK):
                continue
            kind = Kind.ZERO if zero else Kind.DATA
            start = (number * per_table + index) * cluster
            if held is not None and held.end == start and held.kind is kind:
                held = Extent(held.start, start + cluster, kind)
                continue
            if held is not None:
                yield held
            held = Extent(start, start + cluster, kind)
    if held is not None:
        yield held


def _check_tables(source: Source, header: Qcow2Header, facts: ImageFacts) -> None:
    """L1 must cover the disk, lie in the file and name each L2 table once; all pointers must lie in the file."""
    cluster = header.cluster_bytes
    entry_bytes = 16 if header.features & _EXTENDED_L2 else 8
    per_l2 = cluster // entry_bytes * cluster
    needed = -(-header.size_bytes // per_l2)
    if header.l1_entries < needed:
        facts.suspect("torn", f"its first table has {header.l1_entries} entries where {needed} are needed")
        return
    if header.l1_entries * 8 > _MOST_L1_BYTES:
        facts.suspect("sizes", f"a first table of {header.l1_entries} entries")
        return
    for what, offset in (("first table", header.l1_offset), ("refcount table", header.refcount_offset)):
        if offset % cluster or not cluster <= offset < max(source.size_bytes, cluster + 1):
            facts.suspect("torn", f"its {what} lies at {offset}, outside the file or inside the header")
            return
    if header.refcount_clusters * cluster > _MOST_L1_BYTES * 4 or header.snapshots > 65536:
        facts.suspect("sizes", "absurd counts of refcount clusters or snapshots")
        return
    raw = source.at(header.l1_offset, header.l1_entries * 8)
    if len(raw) < header.l1_entries * 8:
        facts.suspect("torn", "its first table ends past the file")
        return
    seen: set[int] = set()
    for (entry,) in struct.iter_unpack(">Q", raw):
        offset = entry & _OFFSET_MASK
        if not offset:
            continue
        if offset % cluster or offset + cluster > _rounded(source.size_bytes, cluster):
            facts.suspect("torn", f"a table pointer {offset} leads out of the file")
            return
        if offset in seen or offset in (header.l1_offset, header.refcount_offset):
            facts.suspect("cycle", f"the table at {offset} is used twice")
            return
        seen.add(offset)


def _rounded(size: int, unit: int) -> int:
    return -(-size // unit) * unit


class Qcow2Map:
    """Guest ranges and where their bytes lie in the file, for a plain image that inspection accepted.

    Compressed clusters, extended L2 entries and backing files are not for us: `plain` is then False and the image is
    read through QEMU.
    """

    def __init__(self, source: Source, header: Qcow2Header) -> None:
        self._source, self._header = source, header
        self._cluster = header.cluster_bytes
        self._per_l2 = self._cluster // 8
        raw = source.at(header.l1_offset, header.l1_entries * 8)
        self._l1 = [entry & _OFFSET_MASK for (entry,) in struct.iter_unpack(">Q", raw)]

    def plain(self) -> bool:
        """Whether no cluster is compressed, and every data cluster lies in the file and is used once."""
        if self._header.features & (_EXTENDED_L2 | _DIRTY) or self._header.backing_offset or self._header.snapshots:
            return False
        limit = _rounded(self._source.size_bytes, self._cluster)
        used = 0
        for number in range(len(self._l1)):
            entries = list(filter(None, self.table(number)))
            if not entries:
                continue
            every = reduce(or_, entries)
            if every & ~(_OFFSET_MASK | _USED_ONCE | _ZERO_BIT):
                return False  # compressed, or marked in a way that we do not know
            if every & (self._cluster - 1):  # zero clusters among them: they may have no place
                entries = [entry for entry in entries if entry & _OFFSET_MASK]
                every = reduce(or_, entries, 0)
            used += len(entries)
            # The smallest lacks the top bit if any does: not marked as used once, so shared, which is QEMU's business.
            if entries and (
                every & _OFFSET_MASK & (self._cluster - 1)
                or not min(entries) & _USED_ONCE
                or (max(entries) & _OFFSET_MASK) + self._cluster > limit
            ):
                return False
        return used * self._cluster <= limit

    def table(self, number: int) -> array[int]:
        """A table of the second level; empty where there is none."""
        offset = self._l1[number] if number < len(self._l1) else 0
        table: array[int] = array("Q")
        if offset:
            table.frombytes(self._source.at(offset, self._cluster).ljust(self._cluster, b"\0"))
            table.byteswap()
        return table

    def runs(self, start: int, end: int) -> Iterator[tuple[Extent, int]]:
        """(guest extent, host offset) of data in [start, end), neighbours joined where they lie together."""
        cluster, per_table = self._cluster, self._per_l2 * self._cluster
        held: tuple[int, int, int] | None = None  # guest start, guest end, host start
        for number in range(start // per_table, -(-end // per_table)):
            table = self.table(number)
            if not table:
                continue
            base = number * per_table
            first = max(0, (start - base) // cluster)
            last = min(len(table), -(-(end - base) // cluster))
            part = table[first:last]
            for index, entry in zip(compress(range(first, last), part), filter(None, part), strict=True):
                host = entry & _OFFSET_MASK
                if not host or entry & _ZERO_BIT:
                    continue
                guest = base + index * cluster
                if held is not None and held[1] == guest and held[2] + held[1] - held[0] == host:
                    held = (held[0], guest + cluster, held[2])
                    continue
                if held is not None:
                    yield Extent(held[0], held[1]), held[2]
                held = (guest, guest + cluster, host)
        if held is not None:
            yield Extent(held[0], held[1]), held[2]
