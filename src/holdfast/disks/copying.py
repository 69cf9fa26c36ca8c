"""Copy: bring a target to the state of a source. The engine's one pipeline.

    extents → read → zero test and digest → compare → (mark unknown) → write → flush → record → settle

`copy_disk` chooses how changes are found, best first: the source's own list of changes, where its chain id fits the
digest list; else the digest list, by reading everything; else (no list) everything is copied. It resumes where the
journal says an earlier run of the same source stopped. After any failure the list still tells the truth: what it does
not know to be on the target it calls unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, cast

from holdfast.disks.budget import Budget
from holdfast.disks.committing import DirectCommitter, HeldCommitter, Written
from holdfast.disks.digests.book import Book
from holdfast.disks.errors import DiskUsage, SourceChanged, TargetTooSmall
from holdfast.disks.helped import HelpedRun, worth_helping
from holdfast.disks.model.chunks import ENTRIES_PER_PAGE, PAGE_BYTES, UNKNOWN, Geometry
from holdfast.disks.model.extents import Extent
from holdfast.disks.model.report import Meter, Report, Watcher
from holdfast.disks.parallel import in_threads
from holdfast.disks.planning import WindowWork, ZeroRun, tracked_work, window_work, zero_runs
from holdfast.disks.readers.protocol import ChangeList, Reader
from holdfast.disks.scanning import scan_window
from holdfast.disks.system.buffers import Buffer
from holdfast.disks.windows import WindowCopier
from holdfast.disks.writers.protocol import ForkingWriter, Writer

if TYPE_CHECKING:
    from holdfast.disks.digests.hints import Hints

__all__ = ["copy_disk", "request_bytes"]

_LOCAL_REQUEST = 1024 * 1024  # 64 KiB costs 20 %, 16 MiB costs 10 % (docs/benchmarks/disks.md)
_TAGGED_REQUEST = 4 * 1024 * 1024  # tags are short work (digests/hints.py): with 1 MiB threads meet too often, 20 %
_REMOTE_REQUEST = 4 * 1024 * 1024  # what a page blob takes in one write, and amortises a round trip
_SHORT_TAIL = 1024 * 1024
_WITHOUT_HINTS = "the list's hints cannot be kept, so that the next run may digest everything again: {problem}"


def request_bytes(*, remote: bool) -> int:
    return _REMOTE_REQUEST if remote else _LOCAL_REQUEST


def copy_disk(
    reader: Reader,
    writer: Writer,
    book: Book | None = None,
    *,
    changes: ChangeList | None = None,
    budget: Budget | None = None,
    check: Callable[[], None] = lambda: None,
    watcher: Watcher | None = None,
    on_extent: Callable[[Extent], None] | None = None,
    hint_first: bool = False,
) -> Report:
    """Make the target equal to the source. The caller finishes or abandons the writer, and settles the book after.

    `book`: the list that describes the target (or a new one). `changes`: what the source says has changed since the
    list's chain id. `check` is called between windows and may raise to stop; what was done stays recorded.
    `hint_first`: a first run makes hints for the list, too. A copy has better use for its processors; the first run
    that must read everything for changes makes them then.
    """
    if writer.size_bytes < reader.size_bytes:
        raise TargetTooSmall(name=writer.traits.name, actual_bytes=writer.size_bytes, needed_bytes=reader.size_bytes)
    if book is not None and book.geometry.chunk_bytes % writer.traits.cluster_bytes:
        problem = f"{writer.traits.name} takes chunks of a multiple of {writer.traits.cluster_bytes} bytes"
        raise DiskUsage(field="chunk_bytes", problem=problem)
    run = _Run(reader, writer, book, budget or Budget(), check, watcher, on_extent, hint_first)
    return run.go(changes)


class _Run:
    """One copy. Threads take windows from one plan; each reads, digests and (in direct mode) writes its own."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        book: Book | None,
        budget: Budget,
        check: Callable[[], None],
        watcher: Watcher | None,
        on_extent: Callable[[Extent], None] | None,
        hint_first: bool,
    ) -> None:
        self.reader, self.writer, self.book, self.budget, self.check = reader, writer, book, budget, check
        self.geometry = book.geometry if book is not None else Geometry(reader.size_bytes)
        self._watcher, self._on_extent = watcher, on_extent
        self._error: BaseException | None = None
        self._remote = reader.traits.remote or writer.traits.remote
        self._hints: Hints | None = None
        self._hint_first = hint_first

    # -- the story ---------------------------------------------------------------------------------------------------

    def go(self, changes: ChangeList | None) -> Report:
        book = self.book
        report = Report("", self.reader.size_bytes)
        if book is not None and book.resumed:
            report.resumed = True
        tracked = self._usable(changes, report)
        if book is None or book.virgin:
            report.why = "first sync: everything is copied"
            plan = self._first_plan()
            if self._hint_first:
                self._open_hints(report)
            self._start(report, self.reader.size_bytes)
            self._run_direct(plan)
        elif tracked is not None:
            report.why = f"the source's own list of changes ({tracked.kind})"
            works = list(tracked_work(tracked.extents, book.doubtful_windows(), self.geometry, self._may_skip(report)))
            planned = sum(e.size_bytes for work in works for e in work.data)
            self._start(report, planned)
            self._mark_all(works)
            if worth_helping(self.reader, self.writer, self.budget, planned):
                self._run_helped(iter(works), marked=True)
            else:
                self._run_direct(iter(works))
        else:
            report.why = "digests: everything is read and compared"
            data = self.reader.extents(0, self.reader.size_bytes)
            plan = window_work(data, self.geometry, book.windows_of_interest(), self._may_skip(report))
            self._open_hints(report)
            self._start(report, self.reader.size_bytes)
            if worth_helping(self.reader, self.writer, self.budget, self.reader.size_bytes):
                rest = self._run_helped(plan)
            else:
                rest = True
            if rest:
                self._run_held(plan)
        self._clear_tail(book is None or not book.complete)
        if book is not None:
            book.virgin = False  # the target holds something: a repair clears what must be zeros
        self._require_unchanged_source()
        if self._hints is not None and self._hints.problem is not None:
            report.notes.append(_WITHOUT_HINTS.format(problem=self._hints.problem))
        return report

    def _open_hints(self, report: Report) -> None:
        """For runs that read everything. A run that is told what changed has no use for them."""
        if self.book is None:
            return
        try:
            self._hints = self.book.hints()
        except OSError as exc:
            report.notes.append(_WITHOUT_HINTS.format(problem=exc))

    def _clear_tail(self, first: bool) -> None:
        """A target that is longer than its source (a VHD's whole MiB, a larger device) reads zeros at its end.

        A short tail, and what a source left there that was larger, is cleared in every run; a device's long tail only
        until there is a list.
        """
        start, end = self.reader.size_bytes, self.writer.size_bytes
        if self.writer.traits.reads_zero and (self.book is None or self.book.virgin):
            return
        if not first and self.book is not None and end - start > _SHORT_TAIL:
            end = min(end, max(self.book.digests.header.other_sizes, default=0))
        if start < end:
            self.writer.write_zeros(start, end - start)

    def _start(self, report: Report, planned: int) -> None:
        self.meter = Meter(report, planned, self._watcher, self._on_extent)

    def _usable(self, changes: ChangeList | None, report: Report) -> ChangeList | None:
        """The list of changes if it is about this very pair of states; else say so loudly and digest everything."""
        if changes is None or self.book is None or self.book.virgin:
            return None
        at = self.book.chain
        if changes.since == at:
            return changes
        report.notes.append(
            f"the source lists changes since {changes.since}, but the digest list "
            f"{'does not know its state' if at is None else f'is at {at}'}: "
            "the chain is broken, so everything is read and compared"
        )
        return None

    def _may_skip(self, report: Report) -> Callable[[int], bool]:
        book = self.book
        assert book is not None
        done, window_bytes = book.journal.done, self.geometry.window_bytes
        if not book.same_source:
            return lambda _window: False
        done_before = set(done)

        def skip(window: int) -> bool:
            if window in done_before and UNKNOWN not in book.page(window):
                report.skipped_bytes += window_bytes
                return True
            return False

        return skip

    def _require_unchanged_source(self) -> None:
        before = self.reader.traits.identity
        if before is not None and self.reader.identity_now() != before:
            raise SourceChanged(name=self.reader.traits.name)

    # -- plans -------------------------------------------------------------------------------------------------------

    def _first_plan(self) -> Iterator[WindowWork | ZeroRun]:
        size = self.reader.size_bytes
        if not self.writer.traits.reads_zero:
            yield from zero_runs(self.reader.extents(0, size), self.geometry)
        yield from window_work(self.reader.extents(0, size), self.geometry, (), lambda _window: False)

    def _mark_all(self, works: list[WindowWork]) -> None:
        """All that may change is known before anything is read: one mark for all, then scanners write at once."""
        assert self.book is not None
        everything = range(ENTRIES_PER_PAGE)
        if works:
            self.book.mark({work.window: everything if work.only is None else work.only for work in works})

    # -- threads -----------------------------------------------------------------------------------------------------

    def _lanes(self) -> int:
        many = self._remote or self.writer.traits.packs
        return max(1, self.reader.traits.lanes, self.writer.traits.lanes if many else 1)

    def _in_threads(
        self,
        plan: Iterator[WindowWork | ZeroRun],
        process: Callable[[WindowWork | ZeroRun, Buffer], None],
        request: int,
    ) -> None:
        self._error = in_threads(
            plan,
            lambda item, buffers: process(item, buffers[0]),
            lanes=self._lanes(),
            buffer_bytes=request,
            check=self.check,
        )

    def _run_direct(self, plan: Iterable[WindowWork | ZeroRun]) -> None:
        committer, copier = DirectCommitter(self.writer, self.book, self.meter), self._copier()

        def process(item: WindowWork | ZeroRun, buffer: Buffer) -> None:
            if isinstance(item, ZeroRun):
                self.writer.write_zeros(item.start, item.end - item.start)
                self.meter.add(zeroed=item.end - item.start)
            else:
                committer.put(self._copy_window(copier, item, buffer))

        self._in_threads(iter(plan), process, request_bytes(remote=self._remote))
        self._finish(committer)

    def _run_helped(self, plan: Iterator[WindowWork], *, marked: bool = False) -> bool:
        """True if helpers left the rest of the plan."""
        assert self.book is not None
        writer = cast("ForkingWriter", self.writer)  # its traits say so
        run = HelpedRun(self.reader, writer, self.book, self.meter, self.budget, self._hints, _TAGGED_REQUEST)
        run.go(plan, self.check, marked=marked)
        return run.too_much

    def _run_held(self, plan: Iterator[WindowWork]) -> None:
        assert self.book is not None
        book = self.book
        committer = HeldCommitter(self.writer, book, self.meter, self.budget)
        hints = self._hints

        def process(item: WindowWork | ZeroRun, buffer: Buffer) -> None:
            assert isinstance(item, WindowWork)
            old = book.page(item.window)
            scan = scan_window(self.reader, item, old, self.geometry, buffer, hints)
            start, end = self.geometry.window(item.window)
            self.reader.done_with(start, end)
            changed = scan.held_bytes + sum(e.size_bytes for e in scan.zero)
            self.meter.add(done=end - start, read=scan.read_bytes, changed=changed)
            self.budget.hold(scan.held_bytes, lambda: committer.failed)
            committer.put(scan)

        request = _TAGGED_REQUEST if hints is not None and not self._remote else request_bytes(remote=self._remote)
        self._in_threads(plan, process, request)
        self._finish(committer)

    def _finish(self, committer: DirectCommitter | HeldCommitter) -> None:
        """Record what was done even if a thread failed, so that the next run has less to do; then raise its error."""
        if self._error is None:
            committer.end()
            return
        try:
            committer.end()
        except BaseException as exc:
            if exc is not self._error:
                raise self._error from exc
        raise self._error

    # -- one window, written at once -----------------------------------------------------------------------------------

    def _copier(self) -> WindowCopier:
        book = self.book
        clean = self.writer.traits.reads_zero and (book is None or book.virgin)
        return WindowCopier(self.reader, self.writer, self.geometry, self.budget, clean=clean, listed=book is not None)

    def _copy_window(self, copier: WindowCopier, work: WindowWork, buffer: Buffer) -> Written:
        """Read, digest and write a window whose chunks may be overwritten already."""
        start, end = self.geometry.window(work.window)
        old = bytes(PAGE_BYTES) if work.only is None or self.book is None else self.book.page(work.window)
        copied = copier.copy(work, old, buffer, self._hints)
        self.reader.done_with(start, end)
        self.writer.done_with(start, end)
        self.meter.add(
            done=end - start if work.only is None else copied.read_bytes,
            read=copied.read_bytes,
            changed=copied.written_bytes + copied.zeroed_bytes,
            written=copied.written_bytes,
            zeroed=copied.zeroed_bytes,
        )
        landed = copied.landed if self._on_extent else copied.landed[:1]
        return Written(work.window, copied.page, copied.written_bytes, landed)
