"""A run that reads everything for changes, shared with helpers: look → mark → copy → record.

A helper looks at a window and says which of its chunks have changed. When enough have been found they are marked
unknown, and the same helper copies them: reads them once more, most likely from the page cache, digests and writes
them. No changed bytes wait anywhere, and none travel between processes. Marks and records are made by one process, the
one that keeps the book, in the book's order (`digests/book.py`).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.disks.budget import Budget
from holdfast.disks.committing import BATCH_BYTES, HELD_GROUP_BYTES, IDLE_WINDOWS
from holdfast.disks.digests.book import Book
from holdfast.disks.helpers import Helpers, Message, can_fork
from holdfast.disks.model.chunks import ENTRIES_PER_PAGE, PAGE_BYTES, UNKNOWN
from holdfast.disks.model.extents import Extent, Kind, merged
from holdfast.disks.model.report import Meter
from holdfast.disks.planning import WindowWork
from holdfast.disks.readers.protocol import Reader
from holdfast.disks.scanning import scan_window
from holdfast.disks.system.buffers import Buffer
from holdfast.disks.windows import WindowCopier
from holdfast.disks.writers.protocol import ForkingWriter, Writer

if TYPE_CHECKING:
    from holdfast.disks.digests.hints import Hints

__all__ = ["HelpedRun", "worth_helping"]

_WORTH_BYTES = 64 * 1024 * 1024  # below, forking costs what helping saves
_MOST_HELPERS = 8
_FOUND_WINDOWS = 16  # what was looked at of them stays in the page cache until they are copied: 256 MiB
# Where more than this share of what was looked at has changed, reading it twice costs more than helpers spare.
_MOST_CHANGED, _JUDGED_BYTES = 0.4, 256 * 1024 * 1024
_LOOK, _COPY = 0, 1
_NOBODY = -1  # found by no helper
_ALL_UNKNOWN = UNKNOWN * ENTRIES_PER_PAGE


def worth_helping(reader: Reader, writer: Writer, budget: Budget, planned_bytes: int) -> bool:
    """Whether helpers can do the run and there is enough to do."""
    return (
        reader.traits.forks
        and writer.traits.forks
        and budget.rate_bytes_s is None  # kept by those who share one budget
        and planned_bytes >= _WORTH_BYTES
        and can_fork()
    )


class HelpedRun:
    """One run. A job, of either kind, is (kind, window, what to read, positions of what may change, page of entries).

    An answer to a look is (positions of what has changed, where of that data lie, bytes read, why hints are no longer
    kept); to a copy: (page of entries, bytes read, written, zeroed, what landed).
    """

    def __init__(
        self,
        reader: Reader,
        writer: ForkingWriter,
        book: Book,
        meter: Meter,
        budget: Budget,
        hints: Hints | None,
        request_bytes: int,
    ) -> None:
        self._reader, self._writer, self._book, self._meter, self._hints = reader, writer, book, meter, hints
        self._geometry = book.geometry
        self._copier = WindowCopier(reader, writer, book.geometry, budget, clean=False, listed=True)
        self._request_bytes = request_bytes
        self._buffer: Buffer | None = None
        self._marked = False
        self._looked_bytes = self._changed_bytes = 0
        self._copies: dict[int, deque[Message]] = {}  # by helper, to the one whose reads the page cache remembers
        self._found: list[tuple[int, Message]] = []  # changed, not yet marked: helper and job
        self._found_bytes = 0
        self._unchanged: list[int] = []  # not yet recorded, as all below
        self._pages: dict[int, bytes] = {}  # copied
        self._landed: list[Extent] = []
        self._written_bytes = 0

    # -- the story, in the process that keeps the book ----------------------------------------------------------------

    def go(self, plan: Iterator[WindowWork], check: Callable[[], None], *, marked: bool = False) -> None:
        """Bring the plan's windows up to date. `marked`: what may have changed in them is known and marked already.

        Stops in the middle of the plan where it is `too_much`. What was done is recorded in any case, so that the next
        run has less to do.
        """
        self._marked = marked
        with Helpers(min(_MOST_HELPERS, len(os.sched_getaffinity(0))), self._do, self._reader.close) as helpers:
            jobs = map(self._copy_job if marked else self._look_job, plan)
            try:
                while self._advance(helpers, jobs):
                    check()
            except BaseException:
                with suppress(Exception):  # what came first is raised
                    self._record()
                raise
            self._record()

    @property
    def too_much(self) -> bool:
        """So much has changed that the rest of the plan is left to others."""
        return self._looked_bytes > _JUDGED_BYTES and self._changed_bytes > self._looked_bytes * _MOST_CHANGED

    def _advance(self, helpers: Helpers, jobs: Iterator[Message]) -> bool:
        """Give jobs and take answers. False when all is copied."""
        for helper in [helper for helper in self._copies if helper not in helpers]:  # gone: what it found is left to us
            for job in self._copies.pop(helper):
                self._take(helper, job, None)
        more = self._feed(helpers, jobs)
        for helper, job, answer in helpers.wait():
            self._take(helper, job, answer)
        if more or helpers.busy:
            return True
        self._mark()
        return any(self._copies.values())

    def _feed(self, helpers: Helpers, jobs: Iterator[Message]) -> bool:
        """Give those who are free something to do. False when the plan is at its end."""
        more = True
        for helper in helpers.free():
            job = self._next(helper, jobs)
            if job is not None:
                helpers.give(helper, job)
            else:
                more = False
        if not helpers:
            job = self._next(_NOBODY, jobs)
            more = job is not None
            if job is not None:
                self._take(_NOBODY, job, None)
        return more

    def _next(self, helper: int, jobs: Iterator[Message]) -> Message | None:
        """A copy of what this helper has found, before the next of the plan."""
        while True:
            if waiting := self._copies.get(helper):
                return waiting.popleft()
            if self.too_much:
                return None
            job = next(jobs, None)
            if job is None or job[0] == _LOOK or self._marked:
                return job
            start, end = self._geometry.window(job[1])  # nothing is known of it, so there is nothing to look for
            self._meter.add(done=end - start)
            self._find(helper, job)

    def _take(self, helper: int, job: Message, answer: Message | None) -> None:
        if answer is None:
            answer = self._do(job)
        elif job[0] == _COPY:
            self._writer.wrote_elsewhere(answer[2])
        if job[0] == _LOOK:
            self._looked(helper, job, answer)
        else:
            self._copied(job, answer)

    def _looked(self, helper: int, job: Message, answer: Message) -> None:
        _, window, _, _, old = job
        positions, data, read_bytes, problem = answer
        start, end = self._geometry.window(window)
        self._meter.add(done=end - start, read=read_bytes)
        self._looked_bytes += read_bytes
        self._changed_bytes += len(positions) * self._geometry.chunk_bytes
        if problem is not None and self._hints is not None:
            self._hints.problem = problem
        if positions:
            self._find(helper, (_COPY, window, data, positions, old))
            return
        self._unchanged.append(window)
        if len(self._unchanged) >= IDLE_WINDOWS:
            self._record()

    def _find(self, helper: int, job: Message) -> None:
        """A copy that must wait for its marks."""
        self._found.append((helper, job))
        self._found_bytes += len(job[3]) * self._geometry.chunk_bytes
        if self._found_bytes >= HELD_GROUP_BYTES or len(self._found) >= _FOUND_WINDOWS:
            self._mark()

    def _mark(self) -> None:
        """What was found may be overwritten from here on."""
        found, self._found, self._found_bytes = self._found, [], 0
        if found:
            self._book.mark({window: positions for _, (_, window, _, positions, _) in found})
        for helper, job in found:
            self._copies.setdefault(helper, deque()).append(job)

    def _copied(self, job: Message, answer: Message) -> None:
        window = job[1]
        page, read_bytes, written, zeroed, landed = answer
        self._pages[window] = page
        self._landed += [Extent(start, end, Kind(kind)) for start, end, kind in landed]
        self._written_bytes += written
        done = read_bytes if self._marked else 0  # else it was done when it had been looked at
        self._meter.add(done=done, read=read_bytes, changed=written + zeroed, written=written, zeroed=zeroed)
        self._writer.done_with(*self._geometry.window(window))
        if self._written_bytes >= BATCH_BYTES or len(self._pages) >= IDLE_WINDOWS:
            self._record()

    def _record(self) -> None:
        pages, self._pages, self._written_bytes = self._pages, {}, 0
        unchanged, self._unchanged = self._unchanged, []
        landed, self._landed = self._landed, []
        if pages:
            self._writer.flush()
        self._book.record(pages, unchanged)
        for extent in landed:
            self._meter.landed(extent)

    # -- jobs, in any process -----------------------------------------------------------------------------------------

    def _look_job(self, work: WindowWork) -> Message:
        page = self._book.page(work.window)
        if page == _ALL_UNKNOWN:
            return self._copy_job(work)
        return _LOOK, work.window, [(e.start, e.end) for e in work.data], None, page

    def _copy_job(self, work: WindowWork) -> Message:
        first = work.window * ENTRIES_PER_PAGE
        positions = range(min(ENTRIES_PER_PAGE, self._geometry.chunks - first)) if work.only is None else work.only
        old = bytes(PAGE_BYTES) if work.only is None else self._book.page(work.window)
        return _COPY, work.window, [(e.start, e.end) for e in work.data], list(positions), old

    def _do(self, job: Message) -> Message:
        kind, window, extents, positions, old = job
        buffer = self._buffer = self._buffer or Buffer(self._request_bytes)
        data = [Extent(start, end) for start, end in extents]
        if kind == _LOOK:
            return self._look(WindowWork(window, data), old, buffer)
        copied = self._copier.copy(WindowWork(window, data, frozenset(positions)), old, buffer)
        self._reader.done_with(*self._geometry.window(window))
        landed = [(e.start, e.end, e.kind.value) for e in copied.landed]
        return copied.page, copied.read_bytes, copied.written_bytes, copied.zeroed_bytes, landed

    def _look(self, work: WindowWork, old: bytes, buffer: Buffer) -> Message:
        scan = scan_window(self._reader, work, old, self._geometry, buffer, self._hints, hold=False)
        if not scan.positions:
            self._reader.done_with(*self._geometry.window(work.window))
        first = work.window * ENTRIES_PER_PAGE
        data = merged(Extent(*self._geometry.chunk(first + position)) for position in scan.data_positions)
        problem = self._hints.problem if self._hints is not None else None
        return scan.positions, [(e.start, e.end) for e in data], scan.read_bytes, problem
