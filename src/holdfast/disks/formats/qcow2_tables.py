"""The second-level tables of a qcow2, walked: what the guest can see lies in the file, each cluster in a place of its
own.

What a file that is too short means. QEMU writes each data cluster to its end. Two exceptions: where it preallocated
before version 4, the file may end with the disk, inside the last cluster; and with subclusters, behind the last one in
use. So of a data cluster there must be what the guest sees of it and, with subclusters, what is in use. A compressed
cluster names whole sectors, and not everybody pads the last sector of the file; where sectors are missing, the cluster
is unpacked to see whether it is there all the same.

Not told: a cut that takes nothing but such padding, which loses nothing; a file of the right length with zeros
in place of data (a hole made by a broken copy); compressed data that share their place with others, as they may; and,
where a file has more than 64 Mi clusters, two uses of one cluster.

A table is taken as one integer of 64 bits (128 with subclusters) for each entry, so that its thousands of entries are
looked at in a few steps: 1 TiB in clusters of 64 KiB takes 0.3 s where they lie in order, 2 to 4 s where they are
strewn over the file.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from collections import deque
from itertools import repeat

from holdfast.core.units import MIB
from holdfast.disks.formats.facts import ImageFacts, Source
from holdfast.disks.formats.qcow2_header import (
    COMPRESSED,
    EXTENDED_L2,
    OFFSET_MASK,
    USED_ONCE,
    ZERO_BIT,
    Qcow2Header,
)

__all__ = ["HostClusters", "check_data"]

_MOST_CLUSTERS = 64 * MIB  # a byte is kept for each
_MOST_UNPACKED = 64  # compressed clusters that touch the last sector of a file: those of 512 bytes pack to 10
_SECTOR = 512
_WORD = (1 << 64) - 1
_PART_BITS = (1 << 32) - 1  # of a subcluster bitmap: the lower half says what is there, the upper what reads zeros
_PARTS = 32


class HostClusters:
    """Which clusters of the file are in use. Where it would take more than 64 MiB of memory, nothing is kept."""

    def __init__(self, file_bytes: int, cluster_bits: int) -> None:
        self._bits = cluster_bits
        count = (file_bytes + (1 << cluster_bits) - 1) >> cluster_bits
        self._used = bytearray(count) if count <= _MOST_CLUSTERS else None
        self._claimed = 0

    def claim(self, numbers: list[int]) -> None:
        """Clusters that begin inside the file, by number."""
        if self._used is not None:
            deque(map(self._used.__setitem__, numbers, repeat(1)), maxlen=0)
            self._claimed += len(numbers)

    def claim_run(self, offset: int, size_bytes: int) -> None:
        """The clusters of a range that lies in the file and begins with one."""
        if self._used is not None:
            first, count = offset >> self._bits, (size_bytes + (1 << self._bits) - 1) >> self._bits
            self._used[first : first + count] = b"\1" * count
            self._claimed += count

    def used_twice(self) -> int | None:
        """How many claims met a cluster that was claimed before; None if nothing was kept."""
        if self._used is None:
            return None
        return self._claimed - int.from_bytes(self._used, "little").bit_count()


def check_data(source: Source, header: Qcow2Header, tables: list[int], used: HostClusters, facts: ImageFacts) -> bool:
    """Whether the data of the disk lie in the file; they are then claimed. `tables`: by offset, 0 for none.

    Tables past the disk's end hold the state of machines, which is not the disk's.
    """
    walk = _Walk(source, header, used)
    nothing = bytes(header.cluster_bytes)
    for number, offset in enumerate(tables[: header.l1_entries_needed]):
        if not offset:
            continue
        raw = source.at(offset, header.cluster_bytes)
        if raw == nothing:
            continue
        problem = walk.look(number, raw)
        if problem is not None:
            facts.suspect("torn", problem)
            return False
    return True


class _Walk:
    """One table after the other. A problem is returned as a sentence."""

    def __init__(self, source: Source, header: Qcow2Header, used: HostClusters) -> None:
        self._source, self._header, self._used = source, header, used
        self._parted = bool(header.features & EXTENDED_L2)
        self._cluster, self._bits = header.cluster_bytes, header.cluster_bits
        self._entries = self._cluster // header.l2_entry_bytes
        one = b"\0" * 7 + b"\1" + bytes(header.l2_entry_bytes - 8)
        self._ones = int.from_bytes(one * self._entries, "big")  # 1 in each entry
        steps = b"".join((n * self._cluster).to_bytes(8, "big") for n in range(self._entries))
        self._steps = int.from_bytes(steps, "big")  # 0, 1, 2 … clusters
        self._offset_bits = 62 - (self._bits - 8)  # of a compressed entry; the sectors follow
        self._unpacked = 0

    def look(self, number: int, raw: bytes) -> str | None:
        table = int.from_bytes(raw, "big")
        if self._is_one_run(table, raw):
            return None
        every = self._or_of_all(table)
        if every & COMPRESSED:
            packed = table & self._where(table, COMPRESSED)
            problem = self._check_packed(packed)
            if problem is not None:
                return problem
            table ^= packed
            every = self._or_of_all(table)
        if every & OFFSET_MASK & (self._cluster - 1):
            return "a data cluster does not begin where clusters do"
        if self._parted:
            problem = self._check_parts(table)
        elif every & ZERO_BIT:
            if self._header.version < 3:
                return "it marks clusters as zeros, which its version cannot"
            table ^= table & self._where(table, ZERO_BIT)  # wherever they lie, they read zeros
            problem = None
        else:
            problem = None
        return problem or self._check_plain(number, table)

    def _is_one_run(self, table: int, raw: bytes) -> bool:
        """Whether all entries are plain data, one cluster behind the other, in the file: the usual table."""
        first, last = int.from_bytes(raw[:8], "big"), int.from_bytes(raw[-8:], "big")
        size = self._entries * self._cluster
        start = first & OFFSET_MASK
        if self._parted or first + size - self._cluster != last or first & ~(OFFSET_MASK | USED_ONCE):
            return False
        if not start or start % self._cluster or start + size > self._source.size_bytes:
            return False
        if table != first * self._ones + self._steps:
            return False
        self._used.claim_run(start, size)
        return True

    def _or_of_all(self, table: int) -> int:
        """The bits that any entry has."""
        width = self._cluster * 8
        while width > self._header.l2_entry_bytes * 8:
            width //= 2
            table |= table >> width
        return table >> (64 if self._parted else 0) & _WORD

    def _where(self, table: int, flag: int) -> int:
        """All bits of those entries that have the flag."""
        return (table >> flag.bit_length() - 1 & self._ones) * _WORD

    def _words(self, table: int) -> array[int]:
        """The words of a table, last first, or first first on a machine that counts from the big end."""
        return array("Q", table.to_bytes(self._cluster, sys.byteorder))

    def _check_plain(self, number: int, table: int) -> str | None:
        clusters = (table & self._ones * (OFFSET_MASK & -self._cluster)) >> self._bits
        found = list(filter(None, self._words(clusters)))
        if not found:
            return None
        if (max(found) + 1) << self._bits > self._source.size_bytes:
            told = self._inside(number, table)
            if isinstance(told, str):
                return told
            found = told
        self._used.claim(found)
        return None

    def _inside(self, number: int, table: int) -> list[int] | str:
        """The clusters that begin inside the file, if all that the guest sees is there: entry by entry, for one table
        or two of a disk."""
        words = array("Q", table.to_bytes(self._cluster, "big"))
        if sys.byteorder == "little":
            words.byteswap()
        step = 2 if self._parted else 1
        limit, found = self._source.size_bytes, []
        for index in range(self._entries):
            start = words[index * step] & OFFSET_MASK
            if not start:
                continue
            guest = (number * self._entries + index) * self._cluster
            seen = max(0, min(self._cluster, self._header.size_bytes - guest))
            if self._parted:
                there = (words[index * step + 1] & _PART_BITS).bit_length()
                seen = min(seen, there * self._cluster // _PARTS)
            if seen and start + seen > limit:
                return f"the disk's bytes at {guest} would lie at {start}, past the file's end at {limit}"
            if start < limit:
                found.append(start >> self._bits)
        return found

    def _check_parts(self, table: int) -> str | None:
        """No subcluster is there and zero at once, and none is there where its cluster has no place."""
        words = self._words(table)
        places, bitmaps = (words[1::2], words[::2]) if sys.byteorder == "little" else (words[::2], words[1::2])
        kinds = set(bitmaps)
        if any(kind >> 32 & kind & _PART_BITS for kind in kinds):
            return "a part of a cluster is said to be data and zeros"
        if not all(places) and any(
            bitmap & _PART_BITS for place, bitmap in zip(places, bitmaps, strict=True) if not place & OFFSET_MASK
        ):
            return "a part of a cluster is said to be data and has no place"
        return None

    def _check_packed(self, table: int) -> str | None:
        """Compressed clusters hold at most twice their size: only those near the file's end are looked at singly."""
        mask = (1 << self._offset_bits) - 1
        limit = self._source.size_bytes
        if max(self._words(table & self._ones * mask)) + 2 * self._cluster <= limit:
            return None
        for entry in self._words(table):
            if not entry & COMPRESSED:  # none, or a bitmap of parts, which is empty here
                continue
            start, sectors = entry & mask, (entry & COMPRESSED - 1) >> self._offset_bits
            end = start // _SECTOR * _SECTOR + (sectors + 1) * _SECTOR
            if end > limit and not self._unpacks(start, end):
                return f"compressed data at {start} end past the file's end at {limit}"
        return None

    def _unpacks(self, start: int, end: int) -> bool:
        self._unpacked += 1
        if self._unpacked > _MOST_UNPACKED:
            return False
        return _gives(self._source.at(start, end - start), self._cluster, zstd=self._header.zstd)


def _gives(packed: bytes, size: int, *, zstd: bool) -> bool:
    """Whether so many bytes come out; no more are unpacked."""
    if not zstd:
        try:
            return len(zlib.decompressobj(-15).decompress(packed, size)) == size
        except zlib.error:
            return False
    import zstandard

    try:
        unpacker = zstandard.ZstdDecompressor(max_window_size=8 * MIB)
        return len(unpacker.stream_reader(packed).read(size)) == size
    except zstandard.ZstdError:
        return False
