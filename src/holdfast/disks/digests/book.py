"""The book of a run: the digest list and its journal, used in the one order that is crash-safe.

    mark (entries unknown, durable) → overwrite → flush the target → record (digests, durable) → done (journal)

A first sync needs no marks: in a list of generation 0 every window that is not journaled as done is unknown. Its list
lies at `LIST.unfinished` and gets its name when it is complete.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.disks.digests.binding import same_binding
from holdfast.disks.digests.journal import Journal
from holdfast.disks.digests.listfile import DigestList, held
from holdfast.disks.digests.names import journal_path, resized_path, unfinished_path
from holdfast.disks.errors import DiskNotFound, ListDamaged, ListMismatch
from holdfast.disks.model.chunks import ENTRIES_PER_PAGE, ENTRY_BYTES, PAGE_BYTES, UNKNOWN, Geometry
from holdfast.disks.system.files import publish, sync_folder
from holdfast.disks.system.writing import write_failure

if TYPE_CHECKING:
    from holdfast.disks.digests.hints import Hints

__all__ = ["Book", "resized"]

_ALL_ZERO = bytes(PAGE_BYTES)


class Book:
    """Opened for one run by `begin` (first sync) or `continue_from` (a list that has a state)."""

    def __init__(
        self,
        path: str,
        digests: DigestList,
        source: dict[str, Any] | None,
        *,
        virgin: bool = False,
        named: bool = True,
        older: int | None = None,
        target: dict[str, Any] | None = None,
    ) -> None:
        self.path, self.digests = path, digests
        self.virgin = virgin  # nothing is known and nothing was written: the target is as it was created
        self._named = named  # else it gets its name when it is settled
        self._older = older  # the list that has this name until then, held
        self.geometry = digests.geometry
        header = digests.header
        self.chain = header.chain
        self._first = header.generation == 0
        self.journal = Journal(journal_path(path), self.geometry.windows, header.list_id, header.generation)
        self.resumed = self.journal.found
        try:
            self._require_target(target)
            self.same_source = self.journal.start(source)
        except BaseException:
            self.journal.close()
            raise
        self._hints: Hints | None = None

    @classmethod
    def begin(cls, path: str, geometry: Geometry, source: dict[str, Any] | None, *, anew: bool = False) -> Book:
        """A new list, or the unfinished one that an earlier run of the same command left; not that one if `anew`.

        An older list at `path` is there until this one is settled, or the caller lets it go (`forget_older`); meanwhile
        no other run can use it.
        """
        older = held(path) if Path(path).exists() else None
        try:
            digests = None if anew else cls._unfinished(path, geometry)
            if digests is not None:
                return cls._of(path, digests, source, named=False, older=older)
            digests = DigestList.create(unfinished_path(path), geometry)
            Path(journal_path(path)).unlink(missing_ok=True)
            return cls._of(path, digests, source, virgin=True, named=False, older=older)
        except BaseException:
            if older is not None:
                os.close(older)
            raise

    @staticmethod
    def _unfinished(path: str, geometry: Geometry) -> DigestList | None:
        """None if there is nothing to resume from: a list that never was complete vouches for nothing."""
        try:
            digests = DigestList.open(unfinished_path(path), writable=True)
        except (DiskNotFound, ListDamaged):
            return None
        if digests.geometry == geometry:
            return digests
        digests.close()
        return None

    @classmethod
    def continue_from(
        cls, path: str, geometry: Geometry, source: dict[str, Any] | None, target: dict[str, Any] | None = None
    ) -> Book:
        """A list that describes a target; grown or shrunk to the source's size first if they differ.

        `target`: the file or device that will be written to (`binding_of`). Raises ListMismatch if it is not the one of
        a run that did not end.
        """
        digests = DigestList.open(path, writable=True)
        if digests.geometry != geometry:
            digests = resized(path, digests, geometry)
        return cls._of(path, digests, source, target=target)

    @classmethod
    def _of(cls, path: str, digests: DigestList, source: dict[str, Any] | None, **more: Any) -> Book:
        """The list is closed, and free for others, if its journal cannot be begun."""
        try:
            return cls(path, digests, source, **more)
        except BaseException:
            digests.close()
            raise

    def _require_target(self, target: dict[str, Any] | None) -> None:
        """What a run has recorded before it was stopped is true of the target that it wrote to. Raises ListMismatch."""
        before = self.journal.target
        if target is None or before is None or not self.journal.touched.count or same_binding(before, target):
            return
        problem = (
            f"a run with it, into {before['name']}, did not end: run that again first; or make the list anew with "
            f"holdfast disk digest {target['name']} {self.path} --overwrite"
        )
        raise ListMismatch(name=self.path, problem=problem)

    @property
    def complete(self) -> bool:
        """Every window has been brought to some one state of a source at least once."""
        return not self._first

    def hints(self) -> Hints:
        """The list's hints, for runs that read everything; opened when first asked for. Raises OSError."""
        if self._hints is None:
            from holdfast.disks.digests.hints import Hints, hints_path  # its cipher is imported only where it is used

            hints = Hints(hints_path(self.path), self.geometry.chunk_bytes)
            try:
                hints.require_room(self.geometry.windows)
            except BaseException:
                hints.close()
                raise
            self._hints = hints
        return self._hints

    def page(self, window: int) -> bytes:
        """What the target is known to hold. Unknown where a run was cut short and nobody vouches for the page."""
        page = self.digests.page(window)
        if self._first:
            return page if window in self.journal.written else self.digests.unknown_page(window)
        if window in self.journal.touched or self.digests.page_is_sound(window, page):
            return page
        return self.digests.unknown_page(window)

    def windows_of_interest(self) -> Iterator[tuple[int, int]]:
        """Runs of windows whose page may hold anything but zeros; the rest need no look where the source is zero."""
        if self._first:
            yield 0, self.geometry.windows
        else:
            yield from self.digests.windows_with_entries()

    def doubtful_windows(self) -> list[int]:
        """Windows that a list of changes need not name and that must be read all the same. Empty for a settled list.

        Those with unknown entries; and those that a run which did not end brought to the state of a source that is not
        this one: the list's chain is still at the state before, and so is what changes are counted from.
        """
        if self._first:
            return [w for w in range(self.geometry.windows) if w not in self.journal.written]
        doubtful = set(self.journal.stale)
        for first, last in self.windows_of_interest():
            doubtful.update(w for w in range(first, last) if UNKNOWN in self.page(w))
        return sorted(doubtful)

    def mark(self, chunks: Mapping[int, Iterable[int]]) -> None:
        """Durably mark chunks (window → positions in it) unknown. Only after this may they be overwritten."""
        self.digests.open_run()
        before = self.digests.written_bytes
        for window, positions in chunks.items():
            page = bytearray(self.page(window))
            last = self.geometry.chunks - window * ENTRIES_PER_PAGE
            for position in positions:
                if position >= last:
                    continue  # past the disk's end
                page[position * ENTRY_BYTES : (position + 1) * ENTRY_BYTES] = UNKNOWN
            if not self._first or window in self.journal.written:
                self.digests.put(window, bytes(page))
        if self.digests.written_bytes > before:
            self.digests.sync()
        self.journal.touch(chunks)  # it vouches for pages as they are now, so not before

    def forget_older(self) -> None:
        """Durably remove the list that has this one's name: what it describes is about to be overwritten."""
        if self._older is not None:
            try:
                Path(self.path).unlink(missing_ok=True)
                sync_folder(self.path)
            except OSError as exc:
                raise write_failure(self.path, 0, 0, exc) from exc

    def record(self, pages: Mapping[int, bytes], unchanged: Iterable[int] = ()) -> None:
        """Durably record what the target durably holds, and note the windows as done."""
        for window, page in pages.items():
            if page != _ALL_ZERO or self.digests.page(window) != _ALL_ZERO:
                self.digests.put(window, page)
        if pages:
            self.digests.sync()
        listed = list(unchanged)
        if pages:
            self.journal.finish(pages)
        if listed:
            self.journal.skip(listed)

    def settle(self, chain: str | None) -> str:
        """All windows are right: publish the next generation and forget the journal. Returns the root (hex).

        Raises ListMismatch where the run left something unknown.
        """
        try:
            unknown = [window for window in self.journal.touched if UNKNOWN in self.digests.page(window)]
            if unknown:
                problem = f"the run left {len(unknown)} windows of it unknown; run the same command again"
                raise ListMismatch(name=self.path, problem=problem)
            root = self.digests.settle(self.journal.touched, chain)
            if not self._named:
                publish(unfinished_path(self.path), self.path)
            self.journal.remove()  # while the list is locked: another run's would go
            return root
        finally:
            self._close_files()

    def discard(self) -> None:
        """Forget a list that was never complete."""
        self.journal.remove()
        Path(unfinished_path(self.path)).unlink(missing_ok=True)
        self._close_files()

    def abandon(self) -> None:
        """Close; a later run goes on from here. An untouched settled list stays settled and keeps no journal."""
        if self.digests.header.settled and not self.journal.touched.count and not self.journal.done.count:
            self.journal.remove()
        self._close_files()

    def _close_files(self) -> None:
        self.digests.close()
        self.journal.close()
        if self._older is not None:
            os.close(self._older)
        if self._hints is not None:
            self._hints.close()


def resized(path: str, old: DigestList, geometry: Geometry) -> DigestList:
    """The list for a disk that grew or shrank: entries kept, the tail chunk and all that is new unknown, published in
    place of the old.

    The chunk size is the old list's; a list can only change its disk's size. What was beyond the old end nobody has
    looked at: the target may be a larger device, or still have the size that the disk had before.
    """
    new_path = resized_path(path)
    try:
        new = DigestList.create(new_path, geometry)
        try:
            grown = range(old.geometry.chunks // ENTRIES_PER_PAGE, geometry.windows)
            kept = (range(first, min(last, geometry.windows)) for first, last in old.windows_with_entries())
            touched = sorted(set(chain.from_iterable(kept)).union(grown))
            for window in touched:
                new.put(window, _resized_page(old, geometry, window))
            new.sync()
            new.settle(touched, old.header.chain)
            sizes = (old.header.size_bytes, *old.header.other_sizes)
            new.open_run(sizes)  # it is true of the old target only when that has its new size too
            publish(new_path, path)
            new.path = path
        except BaseException:
            new.close()
            raise
    finally:
        old.close()
    return new


def _resized_page(old: DigestList, geometry: Geometry, window: int) -> bytes:
    base = window * ENTRIES_PER_PAGE
    before, after = (max(0, min(ENTRIES_PER_PAGE, side.chunks - base)) for side in (old.geometry, geometry))
    known = old.checked_page(window)[: min(before, after) * ENTRY_BYTES] if before else b""
    page = bytearray((known + UNKNOWN * (after - before)).ljust(PAGE_BYTES, b"\0"))
    for tail in (old.geometry.size_bytes // old.geometry.chunk_bytes, geometry.size_bytes // geometry.chunk_bytes):
        if base <= tail < base + after:
            page[(tail - base) * ENTRY_BYTES : (tail - base + 1) * ENTRY_BYTES] = UNKNOWN
    return bytes(page)
