"""qcow2 as it is read: its header, the layer below it, and where its clusters lie. `qcow2_inspection` has checked it.

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

from holdfast.disks.formats.facts import Source
from holdfast.disks.model.extents import Extent, Kind

__all__ = [
    "COMPRESSED",
    "COMPRESSION",
    "CORRUPT",
    "DATA_FILE",
    "DIRTY",
    "EXTENDED_L2",
    "EXT_DATA_FILE",
    "EXT_END",
    "MAGIC",
    "OFFSET_MASK",
    "USED_ONCE",
    "ZERO_BIT",
    "Qcow2Header",
    "Qcow2Map",
    "allocated",
    "backing_of",
    "parse",
]

MAGIC = b"QFI\xfb"
DIRTY, CORRUPT, DATA_FILE, COMPRESSION, EXTENDED_L2 = 1, 2, 4, 8, 16
EXT_END, EXT_DATA_FILE, EXT_BACKING_FORMAT = 0, 0x44415441, 0xE2792ACA
OFFSET_MASK = 0x00FFFFFFFFFFFE00
USED_ONCE, COMPRESSED, ZERO_BIT = 1 << 63, 1 << 62, 1


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
    zstd: bool = False  # how clusters are compressed, where they are

    @property
    def cluster_bytes(self) -> int:
        return 1 << self.cluster_bits

    @property
    def l2_entry_bytes(self) -> int:
        return 16 if self.features & EXTENDED_L2 else 8

    @property
    def l1_entries_needed(self) -> int:
        """Entries of the first table that it takes to cover the disk."""
        return -(-self.size_bytes // (self.cluster_bytes // self.l2_entry_bytes * self.cluster_bytes))


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
        zstd=bool(features & COMPRESSION) and raw[104:105] == b"\1",
    )


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
        if kind == EXT_END:
            break
        if kind == EXT_BACKING_FORMAT:
            return name, source.at(at + 8, min(size, 64)).decode(errors="replace")
        at += 8 + (size + 7) // 8 * 8
    return name, None


def allocated(source: Source, header: Qcow2Header) -> Iterator[Extent] | None:
    """Guest ranges that this file itself decides, data or zeros; all others show what lies below it.

    None where clusters are accounted for in parts (extended L2). May reach past the disk's end by part of a cluster.
    """
    if header.features & EXTENDED_L2:
        return None
    return _allocated(Qcow2Map(source, header), header)


def _allocated(mapping: Qcow2Map, header: Qcow2Header) -> Iterator[Extent]:
    cluster, per_table = header.cluster_bytes, header.cluster_bytes // 8
    zero_bit = ZERO_BIT if header.version >= 3 else 0
    held: Extent | None = None
    for number in range(header.l1_entries):
        table = mapping.table(number)
        for index, entry in zip(compress(range(len(table)), table), filter(None, table), strict=True):
            zero = not entry & COMPRESSED and entry & zero_bit
            if not zero and not entry & (COMPRESSED | OFFSET_MASK):
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
        self._l1 = [entry & OFFSET_MASK for (entry,) in struct.iter_unpack(">Q", raw)]

    def plain(self) -> bool:
        """Whether no cluster is compressed, and every data cluster lies in the file and is used once.

        Whole clusters: an image whose last one ends past the file, which inspection allows where no byte of the disk
        is missing, is not plain.
        """
        if self._header.features & (EXTENDED_L2 | DIRTY) or self._header.backing_offset or self._header.snapshots:
            return False
        limit = self._source.size_bytes
        used = 0
        for number in range(len(self._l1)):
            entries = list(filter(None, self.table(number)))
            if not entries:
                continue
            every = reduce(or_, entries)
            if every & ~(OFFSET_MASK | USED_ONCE | ZERO_BIT):
                return False  # compressed, or marked in a way that we do not know
            if every & (self._cluster - 1):  # zero clusters among them: they may have no place
                entries = [entry for entry in entries if entry & OFFSET_MASK]
                every = reduce(or_, entries, 0)
            used += len(entries)
            # The smallest lacks the top bit if any does: not marked as used once, so shared, which is QEMU's business.
            if entries and (
                every & OFFSET_MASK & (self._cluster - 1)
                or not min(entries) & USED_ONCE
                or (max(entries) & OFFSET_MASK) + self._cluster > limit
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
                host = entry & OFFSET_MASK
                if not host or entry & ZERO_BIT:
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
