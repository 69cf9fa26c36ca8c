"""Making work durable in the right order, in one thread, while others read on.

Two ways. *Direct*: the target is new, or all changed chunks were marked before the run; scanners write at once, and
here target and list are synced every 64 MiB. *Held*: changed chunks become known only by reading; they are held in
memory, marked unknown in groups, then written, flushed and recorded. (A third, for local files, has processes instead
of threads and holds nothing: `helped.py`.)
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, NamedTuple

from holdfast.core.units import MIB
from holdfast.disks.budget import Budget
from holdfast.disks.digests.book import Book
from holdfast.disks.model.extents import Extent, Kind
from holdfast.disks.model.report import Meter
from holdfast.disks.scanning import Scan
from holdfast.disks.system.waiting import wait_for
from holdfast.disks.writers.protocol import Writer

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["BATCH_BYTES", "HELD_GROUP_BYTES", "IDLE_WINDOWS", "DirectCommitter", "HeldCommitter", "Written"]

# A batch: halved, twice the syncs; doubled, twice as much is read again after a kill.
BATCH_BYTES = 64 * MIB
HELD_GROUP_BYTES = 32 * MIB  # of changed data; together with as much that is being collected it fits the memory budget
_IDLE_S = 0.5
IDLE_WINDOWS = 1024  # unchanged windows are journaled at least this often (16 GiB read)


class Written(NamedTuple):
    """A window that a scanner wrote: its new page, and what landed, for those who listen."""

    window: int
    page: bytes
    written_bytes: int
    landed: list[Extent]


class _Committer:
    """A thread that takes items until told to end. Its error is raised to whoever puts or ends."""

    def __init__(self, name: str) -> None:
        self._queue: queue.Queue[Scan | Written | None] = queue.Queue(maxsize=256)
        self._error: BaseException | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._run_to_its_end, name=name, daemon=True).start()

    @property
    def failed(self) -> bool:
        return self._error is not None

    def put(self, item: Scan | Written) -> None:
        """Hand an item over; waits while the committer is far behind."""
        while True:
            if self._error is not None:
                raise self._error
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def end(self) -> None:
        """Commit what is left and return when it is durable. Raises what went wrong."""
        try:
            while not self._ended.is_set():
                try:
                    self._queue.put(None, timeout=0.1)
                except queue.Full:
                    continue
                break
        finally:
            wait_for(self._ended)
        if self._error is not None:
            raise self._error

    def _run_to_its_end(self) -> None:
        try:
            self._run()
        finally:
            self._ended.set()

    def _run(self) -> None:
        try:
            while True:
                try:
                    item = self._queue.get(timeout=_IDLE_S)
                except queue.Empty:
                    self._commit()  # scanners may be waiting for memory that only a commit gives back
                    continue
                if item is None:
                    break
                self._take(item)
            self._commit()
        except BaseException as exc:  # noqa: BLE001 - carried to the thread that waits, which raises it
            self._error = exc
            self._drain()

    def _drain(self) -> None:
        """Forget what is queued."""

    def _take(self, item: Scan | Written) -> None:
        raise NotImplementedError

    def _commit(self) -> None:
        raise NotImplementedError


class DirectCommitter(_Committer):
    """Syncs target, then list, for windows that are written already."""

    def __init__(self, writer: Writer, book: Book | None, meter: Meter) -> None:
        self._writer, self._book, self._meter = writer, book, meter
        self._pages: dict[int, bytes] = {}
        self._landed: list[Extent] = []
        self._bytes = 0
        super().__init__("disk-commit")

    def _take(self, item: Scan | Written) -> None:
        assert isinstance(item, Written)
        self._pages[item.window] = item.page
        self._landed += item.landed
        self._bytes += item.written_bytes
        if self._bytes >= BATCH_BYTES or len(self._pages) >= 4 * IDLE_WINDOWS:
            self._commit()

    def _commit(self) -> None:
        if self._book is not None and self._pages:
            if self._bytes or self._landed:
                self._writer.flush()
            self._book.record(self._pages)
        for extent in self._landed:
            self._meter.landed(extent)
        self._pages, self._landed, self._bytes = {}, [], 0


class _Group:
    def __init__(self) -> None:
        self.scans: list[Scan] = []
        self.unchanged: list[int] = []
        self.held_bytes = 0


class HeldCommitter(_Committer):
    """Marks, writes, flushes and records groups of changed chunks."""

    def __init__(self, writer: Writer, book: Book, meter: Meter, budget: Budget) -> None:
        self._writer, self._book, self._meter, self._budget = writer, book, meter, budget
        self._group = _Group()
        lanes = writer.traits.lanes if writer.traits.remote else 1
        self._pool: ThreadPoolExecutor | None = None
        if lanes > 1:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(lanes, "disk-write")
        super().__init__("disk-commit")

    def _take(self, item: Scan | Written) -> None:
        assert isinstance(item, Scan)
        group = self._group
        if not item.positions:
            group.unchanged.append(item.window)
        else:
            group.scans.append(item)
            group.held_bytes += item.held_bytes
        if (
            group.held_bytes >= HELD_GROUP_BYTES
            or len(group.unchanged) >= IDLE_WINDOWS
            or len(group.scans) >= IDLE_WINDOWS
        ):
            self._commit()

    def _commit(self) -> None:
        group, self._group = self._group, _Group()
        if not group.scans and not group.unchanged:
            return
        try:
            if group.scans:
                self._book.mark({scan.window: scan.positions for scan in group.scans})
                self._write(group.scans)
                self._writer.flush()
            self._book.record({scan.window: scan.page for scan in group.scans}, group.unchanged)
        finally:
            self._budget.let(group.held_bytes)
        for scan in group.scans:
            for offset, data in scan.data:
                self._meter.landed(Extent(offset, offset + len(data)))
            for extent in scan.zero:
                self._meter.landed(Extent(extent.start, extent.end, Kind.ZERO))

    def _write(self, scans: list[Scan]) -> None:
        jobs = [job for scan in scans for job in scan.data]
        if self._pool is None:
            for offset, data in jobs:
                self._write_one(offset, data)
        else:
            for done in [self._pool.submit(self._write_one, offset, data) for offset, data in jobs]:
                done.result()
        for scan in scans:
            for extent in scan.zero:
                self._writer.write_zeros(extent.start, extent.size_bytes)
            start, end = self._book.geometry.window(scan.window)
            self._writer.done_with(start, end)
        self._meter.add(
            written=sum(len(data) for _, data in jobs),
            zeroed=sum(e.size_bytes for scan in scans for e in scan.zero),
        )

    def _write_one(self, offset: int, data: bytes) -> None:
        self._budget.spend(len(data))
        self._writer.write(offset, memoryview(data))

    def _drain(self) -> None:
        self._budget.let(self._group.held_bytes)
        self._group = _Group()
        while True:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return
            if isinstance(item, Scan):
                self._budget.let(item.held_bytes)

    def end(self) -> None:
        try:
            super().end()
        finally:
            if self._pool is not None:
                self._pool.shutdown()
