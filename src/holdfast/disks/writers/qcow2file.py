"""A new qcow2 file, written by us: clusters in the order in which they come, tables at every flush.

After each flush the file is a valid image of what was written so far, so that a run that is cut short can be gone on
with through QEMU. Compressed images go the same way: `write` compresses in the caller's thread, and the packed bytes
are appended under a lock.
"""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Callable

from holdfast.disks.errors import DiskUsage
from holdfast.disks.formats import qcow2_layout as layout
from holdfast.disks.formats.qcow2_layout import CLUSTER_BYTES, ENTRIES_PER_L2
from holdfast.disks.readers.protocol import Reader
from holdfast.disks.readers.qcow2file import open_plain_qcow2
from holdfast.disks.system import linux
from holdfast.disks.system.behind import WriteBehind
from holdfast.disks.system.claims import claim_anew
from holdfast.disks.system.naming import give_name
from holdfast.disks.system.writing import write_failure, write_fully
from holdfast.disks.writers.protocol import TargetTraits

__all__ = ["Compressor", "Qcow2FileWriter"]

Compressor = Callable[[memoryview], bytes]
_EXTEND = 64 * 1024 * 1024
_ONCE = array("H", [1])


class Qcow2FileWriter:
    """A plain cluster that is written again keeps its place.

    Memory: tables that are not flushed yet, and two bytes for 64 KiB of file.
    """

    def __init__(
        self,
        path: str,
        size_bytes: int,
        *,
        final: str | None = None,
        overwrite: bool = True,
        compressor: Compressor | None = None,
        zstd: bool = False,
    ) -> None:
        self.path, self._final, self._overwrite, self._compress, self._zstd = path, final, overwrite, compressor, zstd
        self.size_bytes = size_bytes
        self.traits = TargetTraits(
            name=final or path,
            reads_zero=True,
            granularity=CLUSTER_BYTES,
            cluster_bytes=CLUSTER_BYTES,
            lanes=4,
            packs=compressor is not None,
        )
        self._fd = claim_anew(path)
        self._lock = threading.Lock()
        self._l1 = array("Q", [0]) * layout.l1_entries(size_bytes)
        self._l1_offset = CLUSTER_BYTES
        self._end = CLUSTER_BYTES * (1 + layout.l1_clusters(size_bytes))  # bytes handed out so far
        self._gap = self._gap_end = 0  # free bytes of a cluster before the end, for compressed data
        self._refcounts = array("H", [1]) * (self._end // CLUSTER_BYTES)
        self._blocks: list[int] = []  # host offsets of refcount blocks
        self._dirty_blocks: set[int] = set(range(len(self._refcounts) // layout.refcounts_per_block + 1))
        self._table_offset = 0
        self._table_clusters = 0
        self._l2: dict[int, array[int]] = {}
        self._dirty_l2: set[int] = set()
        self._let_go_to = 0
        self._behind = WriteBehind(self._fd)

    # -- data --------------------------------------------------------------------------------------------------------

    def write(self, offset: int, data: memoryview) -> None:
        if self._compress is not None:
            for at in range(0, len(data), CLUSTER_BYTES):
                self._write_compressed(offset + at, data[at : at + CLUSTER_BYTES])
            return
        first, clusters = offset // CLUSTER_BYTES, -(-len(data) // CLUSTER_BYTES)
        with self._lock:
            host = self._place(first, clusters)
        if host is None:
            self._rewrite(offset, data)
        else:
            write_fully(self._fd, self.path, host, data)

    def _place(self, first: int, clusters: int) -> int | None:
        """Give neighbouring clusters neighbouring places; None if any of them has one, or they are of two tables."""
        number, index = divmod(first, ENTRIES_PER_L2)
        if index + clusters > ENTRIES_PER_L2:
            return None
        table = self._l2.get(number) or self._load_l2(number)
        if any(table[index : index + clusters]):
            return None
        host = self._take_clusters(clusters)
        begin = layout.data_entry(host)
        table[index : index + clusters] = array("Q", range(begin, begin + clusters * CLUSTER_BYTES, CLUSTER_BYTES))
        self._dirty_l2.add(number)
        return host

    def _entry(self, cluster: int) -> int:
        number = cluster // ENTRIES_PER_L2
        table = self._l2.get(number)
        if table is None:
            if not self._l1[number]:
                return 0
            table = self._load_l2(number)
        return table[cluster % ENTRIES_PER_L2]

    def _rewrite(self, offset: int, data: memoryview) -> None:
        """Cluster by cluster: those that have their place are written there, the others get one."""
        for at in range(0, len(data), CLUSTER_BYTES):
            cluster, part = (offset + at) // CLUSTER_BYTES, data[at : at + CLUSTER_BYTES]
            with self._lock:
                entry = self._entry(cluster)
                host = self._place(cluster, 1) if not entry else entry & ~(1 << 63)
            assert host is not None
            write_fully(self._fd, self.path, host, part)

    def _write_compressed(self, offset: int, data: memoryview) -> None:
        assert self._compress is not None
        whole = data if len(data) == CLUSTER_BYTES else memoryview(bytes(data).ljust(CLUSTER_BYTES, b"\0"))
        packed = self._compress(whole)
        if len(packed) >= CLUSTER_BYTES:
            with self._lock:
                host = self._take_clusters(1)
                self._enter(offset // CLUSTER_BYTES, layout.data_entry(host))
            write_fully(self._fd, self.path, host, whole)
            return
        with self._lock:
            host = self._take_bytes(len(packed))
            self._enter(offset // CLUSTER_BYTES, layout.compressed_entry(host, len(packed)))
        write_fully(self._fd, self.path, host, memoryview(packed))

    def write_zeros(self, offset: int, size_bytes: int) -> None:
        """A new image reads zeros; clusters that were written in this run lose their entry (and leak until checked)."""
        with self._lock:
            for cluster in range(offset // CLUSTER_BYTES, -(-(offset + size_bytes) // CLUSTER_BYTES)):
                number = cluster // ENTRIES_PER_L2
                if self._l1[number]:
                    self._enter(cluster, 0)

    def _take_clusters(self, count: int) -> int:
        host = -(-self._end // CLUSTER_BYTES) * CLUSTER_BYTES
        if host - self._end > self._gap_end - self._gap:
            self._gap, self._gap_end = self._end, host
        self._end = host + count * CLUSTER_BYTES
        self._count(host, self._end)
        return host

    def _take_bytes(self, count: int) -> int:
        """At the end, or in what a whole cluster left free before it: one behind the other, both kinds take turns."""
        if self._end % CLUSTER_BYTES == 0 and count <= self._gap_end - self._gap:
            host = self._gap
            self._gap += count
        else:
            host = self._end
            self._end += count
        self._count(host, host + count)
        return host

    def _count(self, start: int, end: int) -> None:
        """One reference more to each host cluster that [start, end) touches."""
        first, last = start // CLUSTER_BYTES, -(-end // CLUSTER_BYTES)
        known = len(self._refcounts)
        if last > known:
            self._refcounts.extend(_ONCE * (last - known))  # all new but, perhaps, the first, which is shared
            self._dirty_blocks.update(
                range(known // layout.refcounts_per_block, -(-last // layout.refcounts_per_block))
            )
        for cluster in range(first, min(last, known)):
            self._refcounts[cluster] += 1
            self._dirty_blocks.add(cluster // layout.refcounts_per_block)

    def _enter(self, cluster: int, entry: int) -> None:
        number = cluster // ENTRIES_PER_L2
        table = self._l2.get(number)
        if table is None:
            table = self._load_l2(number)
        table[cluster % ENTRIES_PER_L2] = entry
        self._dirty_l2.add(number)

    def _load_l2(self, number: int) -> array[int]:
        if self._l1[number]:
            table: array[int] = array("Q")
            table.frombytes(os.pread(self._fd, CLUSTER_BYTES, self._l1[number] & ~(1 << 63)))
            table.byteswap()
        else:
            table = array("Q", [0]) * ENTRIES_PER_L2
            self._l1[number] = layout.data_entry(self._take_clusters(1))
        self._l2[number] = table
        return table

    # -- tables ------------------------------------------------------------------------------------------------------

    def done_with(self, start: int, end: int) -> None:
        """Nothing to do for guest ranges: host offsets are let go as the file grows."""
        with self._lock:
            start, end = self._let_go_to, self._end - _EXTEND  # what is nearer to the end may not be written yet
            if end - start < _EXTEND:
                return
            self._let_go_to = end
        self._behind.wrote(start, end - start)
        self._behind.done(start, end)

    def flush(self) -> None:
        """Data durable first, then refcounts, then the tables that point to them, then the header.

        Others write on while the data go to the device; the tables may then name clusters that are not written yet,
        which nobody has been promised.
        """
        try:
            os.fdatasync(self._fd)
            with self._lock:
                self._write_refcounts()
                size = -(-self._end // CLUSTER_BYTES) * CLUSTER_BYTES  # no table names what the file does not have
                if os.fstat(self._fd).st_size < size:
                    os.ftruncate(self._fd, size)
                os.fdatasync(self._fd)
                for number in self._dirty_l2:
                    self._put(self._l1[number] & ~(1 << 63), layout.swapped(self._l2[number]))
                self._dirty_l2.clear()
                if len(self._l2) > 8:
                    self._l2.clear()  # flushed tables can be read again
                self._put(self._l1_offset, layout.swapped(self._l1))
                os.fdatasync(self._fd)
                self._put(
                    0,
                    layout.header(
                        self.size_bytes,
                        l1_offset=self._l1_offset,
                        refcount_offset=self._table_offset,
                        refcount_clusters=self._table_clusters,
                        zstd=self._zstd,
                    ),
                )
                os.fdatasync(self._fd)
        except OSError as exc:
            raise write_failure(self.path, 0, self.size_bytes, exc) from exc

    def _write_refcounts(self) -> None:
        """Blocks and table refer to themselves too: give out their clusters first, until nothing is missing."""
        per_block = layout.refcounts_per_block
        while True:
            needed = -(-len(self._refcounts) // per_block)
            table_clusters = -(-(needed + 1) * 8 // CLUSTER_BYTES)
            if len(self._blocks) < needed:
                self._blocks.append(self._take_clusters(1))
            elif self._table_clusters < table_clusters:
                for n in range(self._table_clusters):  # a longer table goes elsewhere
                    self._refcounts[self._table_offset // CLUSTER_BYTES + n] = 0
                self._table_offset = self._take_clusters(table_clusters)
                self._table_clusters = table_clusters
            else:
                break
        for number in sorted(self._dirty_blocks):
            block = self._refcounts[number * per_block : (number + 1) * per_block]
            block.extend(array("H", [0]) * (per_block - len(block)))
            self._put(self._blocks[number], layout.swapped(block))
        self._dirty_blocks.clear()
        table = array("Q", self._blocks)
        table.extend(array("Q", [0]) * (self._table_clusters * CLUSTER_BYTES // 8 - len(table)))
        self._put(self._table_offset, layout.swapped(table))

    def _put(self, offset: int, data: bytes) -> None:
        write_fully(self._fd, self.path, offset, memoryview(data))

    def read_back(self) -> Reader:
        """By host offsets, which only a plain image allows; compressed ones are verified when they are complete."""
        self.flush()
        linux.let_go(self._fd, 0, self._end)  # the device answers, not the cache
        reader = open_plain_qcow2(self.path, locked=False)
        if reader is None:
            raise DiskUsage(field="verify", problem="a compressed image is verified with disk diff when it is complete")
        return reader

    def finish(self) -> None:
        synced = False
        try:
            self.flush()
            synced = True
            if self._final is not None:
                give_name(self.path, self._final, overwrite=self._overwrite)  # while nobody else can claim it
        finally:
            self._close(synced=synced)

    def abandon(self) -> None:
        self._close(synced=False)

    def _close(self, *, synced: bool) -> None:
        self._behind.close(synced=synced)
        os.close(self._fd)
