"""Whole jobs on locators: what the CLI and the mover run. Each is a short story; the work is in the rooms beside."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.disks.budget import Budget
from holdfast.disks.copying import copy_disk
from holdfast.disks.digests.binding import binding_of, same_binding
from holdfast.disks.digests.book import Book
from holdfast.disks.digests.listfile import DigestList
from holdfast.disks.digests.names import journal_path, require_own_files, unfinished_path
from holdfast.disks.errors import (
    DisksDiffer,
    DiskUsage,
    FormatMismatch,
    HostileImage,
    ListExists,
    ListMismatch,
    SameDisk,
    TargetHasContent,
)
from holdfast.disks.model.chain import chain_of
from holdfast.disks.model.chunks import CHUNK_BYTES, ENTRIES_PER_PAGE, Geometry
from holdfast.disks.model.extents import Extent, Kind
from holdfast.disks.model.locator import Locator
from holdfast.disks.model.report import Report, Watcher
from holdfast.disks.opening import Access, format_of, open_reader, open_writer, require_writable
from holdfast.disks.planning import by_window
from holdfast.disks.readers.protocol import ChangeList, Reader
from holdfast.disks.system.files import is_device, same_file
from holdfast.disks.system.holes import holds_data
from holdfast.disks.verifying import compare_disks, verify_disk, verify_sample
from holdfast.disks.writers.nowhere import NowhereWriter
from holdfast.disks.writers.protocol import Writer

if TYPE_CHECKING:
    from holdfast.disks.http.client import Renew

_MOST_ZEROED_KEPT = 4096  # extents, of which a sample verifies some

__all__ = ["CopyJob", "Difference", "diff", "digest", "run_copy", "verify"]


class CopyJob(NamedTuple):
    """One copy. `digests`: write a list of the target's state here. `base`: the list of the state that the target
    holds; it is brought up to date. At most one of them. `verify`: none, sample or full; None: sample for remote
    targets that keep a list, none for others. `chain`: the name of the source's state for the next run.
    `trust_backing`: a qcow2 source is the user's own, and its backing files may be read."""

    source: Locator
    target: Locator
    digests: str | None = None
    base: str | None = None
    overwrite: bool = False
    verify: str | None = None
    changes: ChangeList | None = None
    chain: str | None = None
    source_unchanged: bool = False
    trust_backing: bool = False
    keep_cache: bool = False
    chunk_bytes: int = CHUNK_BYTES
    budget: Budget | None = None
    seed: int | None = None
    renew_source: Renew | None = None
    renew_target: Renew | None = None


def run_copy(
    job: CopyJob,
    *,
    check: Callable[[], None] = lambda: None,
    watcher: Watcher | None = None,
    on_extent: Callable[[Extent], None] | None = None,
) -> Report:
    """Copy, verify, publish. Raises a HoldfastError; the same job run again resumes."""
    if job.digests is not None and job.base is not None:
        raise DiskUsage(field="base", problem="give --digests for a first copy or --base for the next, not both")
    if job.verify not in (None, "none") and job.digests is None and job.base is None:
        raise DiskUsage(field="verify", problem="verifying needs a digest list; add --digests LIST")
    job = job._replace(target=require_writable(job.source, job.target, format_of(job.target)))
    job = _with_own_list(job)
    access = Access(job.keep_cache, job.source_unchanged, job.trust_backing)
    reader = open_reader(job.source, access, job.renew_source)
    try:
        notes: list[str] = []
        if job.trust_backing:
            job, notes = _with_layers(reader, job)
        report = _copy_from(reader, job, check, watcher, on_extent)
        report.notes[:0] = notes
        return report
    finally:
        reader.close()


def _with_own_list(job: CopyJob) -> CopyJob:
    """The job with its list's path as it is without links."""
    target = [] if job.target.is_url else [job.target.address, unfinished_path(job.target.address)]
    disks = [*target, *([] if job.source.is_url else [job.source.address])]
    if job.base is not None:
        return job._replace(base=require_own_files(job.base, disks, "base"))
    if job.digests is not None:
        return job._replace(digests=require_own_files(job.digests, disks, "digests"))
    return job


def _with_layers(reader: Reader, job: CopyJob) -> tuple[CopyJob, list[str]]:
    """The job with what the source's top layer has changed, and what is to be said about its layers."""
    from holdfast.disks.layers import LayeredReader, layer_changes

    if not isinstance(reader, LayeredReader):
        raise DiskUsage(field="trust-backing", problem="only a qcow2 file has backing files")
    for layer in reader.layers:
        if not job.target.is_url and same_file(layer.path, job.target.address):
            raise SameDisk(name=job.target.name)
    notes = [f"read through its backing file {layer.path} ({layer.format})" for layer in reader.layers[1:]]
    if job.base is None or job.changes is not None:
        return job, notes
    changes, reason = layer_changes(reader)
    if changes is None:
        notes.append(f"{reason}: everything is read and compared")
    return job._replace(changes=changes), notes


def _copy_from(
    reader: Reader,
    job: CopyJob,
    check: Callable[[], None],
    watcher: Watcher | None,
    on_extent: Callable[[Extent], None] | None,
) -> Report:
    book, writer = _open_both(reader, job)
    zeroed: list[Extent] = []

    def landed(extent: Extent) -> None:
        if extent.kind is Kind.ZERO and len(zeroed) < _MOST_ZEROED_KEPT:
            zeroed.append(extent)
        if on_extent is not None:
            on_extent(extent)

    try:
        report = copy_disk(
            reader,
            writer,
            book,
            changes=job.changes,
            budget=job.budget,
            check=check,
            watcher=watcher,
            on_extent=landed if on_extent is not None or book is not None else None,
        )
        if format_of(job.target) in ("vhd", "vhd-fixed", "vhdx"):
            from holdfast.disks.formats.vhd import growth_note

            report.notes += growth_note(reader.size_bytes)
        writer.flush()
        if book is not None:
            _verify_and_repair(reader, writer, book, job, report, zeroed, check)
    except BaseException:
        writer.abandon()
        if book is not None:
            book.abandon()
        raise
    try:
        writer.finish()
    except BaseException:
        if book is not None:
            book.abandon()
        raise
    if book is not None:
        report.root = book.settle(_next_chain(reader, job))
    return report


def _open_both(reader: Reader, job: CopyJob) -> tuple[Book | None, Writer]:
    """List and target. An unfinished image that a kill left unreadable is thrown away, and its list with it."""
    book = _open_book(reader, job)
    try:
        return book, _bound(job, book, _open_target(reader, job, book))
    except (FormatMismatch, HostileImage):
        if book is None or book.virgin or job.digests is None:
            _give_up(book)
            raise
        book.discard()
        Path(unfinished_path(job.target.address)).unlink(missing_ok=True)
        book = _open_book(reader, job)
        return book, _bound(job, book, _open_target(reader, job, book))
    except BaseException:
        _give_up(book)
        raise


def _bound(job: CopyJob, book: Book | None, writer: Writer) -> Writer:
    """The writer, when the book knows what is written to and no older list speaks of it."""
    try:
        if book is not None:
            book.forget_older()
            target = _binding(job)
            if target is not None:
                book.journal.bind(target)
    except BaseException:
        writer.abandon()
        raise
    return writer


def _give_up(book: Book | None) -> None:
    """A list that was begun for a target that we may not write must not look like our own unfinished work later."""
    if book is not None and book.virgin:
        book.discard()
    elif book is not None:
        book.abandon()


def _open_target(reader: Reader, job: CopyJob, book: Book | None) -> Writer:
    return open_writer(
        job.target,
        reader.size_bytes,
        virgin=book is None or book.virgin,
        in_place=job.base is not None,
        overwrite=job.overwrite,
        renew=job.renew_target,
    )


def _next_chain(reader: Reader, job: CopyJob) -> str | None:
    """The name of the state that the target now holds: told by the caller, by the list of changes, by the source."""
    if job.chain is not None:
        return job.chain
    if job.changes is not None:
        return job.changes.now
    if reader.traits.chain is None and reader.traits.identity is not None:
        return chain_of([(format_of(job.source), reader.traits.identity)])
    return reader.traits.chain


def _open_book(reader: Reader, job: CopyJob) -> Book | None:
    """The list for this run, after everything that may be refused has been."""
    source = reader.traits.identity
    if job.base is not None:
        known = DigestList.open(job.base)
        known.close()
        chunk_bytes = known.geometry.chunk_bytes
        _require_fitting_target(job, known)
        return Book.continue_from(job.base, Geometry(reader.size_bytes, chunk_bytes), source, _binding(job))
    if job.digests is None:
        return None
    unfinished = Path(unfinished_path(job.digests)).exists() and Path(journal_path(job.digests)).exists()
    if Path(job.digests).exists() and not job.overwrite:
        raise ListExists(name=job.digests)
    if not unfinished and not job.overwrite and not job.target.is_url and holds_data(job.target.address):
        raise TargetHasContent(name=job.target.name)
    geometry = _geometry(reader.size_bytes, job.chunk_bytes)
    book = Book.begin(job.digests, geometry, source)
    if book.virgin or _describes_target(job, book):
        return book
    book.discard()
    if not job.overwrite and holds_data(job.target.address):
        raise TargetHasContent(name=job.target.name)
    return Book.begin(job.digests, geometry, source)


def _describes_target(job: CopyJob, book: Book) -> bool:
    """Whether what an unfinished first copy wrote to is this target, and is still there."""
    before, now = book.journal.target, _binding(job)
    return before is not None and now is not None and same_binding(before, now)


def _binding(job: CopyJob) -> dict[str, Any] | None:
    """What the target is known by; that of a first copy has its unfinished name until it is complete."""
    kind, path = format_of(job.target), job.target.address
    unfinished = None
    if job.digests is not None and not job.target.is_url and not is_device(path):
        unfinished = binding_of(job.target, kind, unfinished_path(path))
    return unfinished or binding_of(job.target, kind)


def _geometry(size_bytes: int, chunk_bytes: int) -> Geometry:
    """Raises DiskUsage for chunks that no list can have."""
    try:
        return Geometry(size_bytes, chunk_bytes)
    except ValueError as exc:
        raise DiskUsage(field="chunk_bytes", problem=f"chunks have 4 KiB to 1 MiB, a power of two: {exc}") from exc


def _require_fitting_target(job: CopyJob, known: DigestList) -> None:
    """A list and a raw file that differ in size do not belong together. Raises ListMismatch."""
    path = Path(job.target.address)
    if job.target.is_url or format_of(job.target) != "raw" or not path.is_file():
        return
    if path.stat().st_size not in (known.header.size_bytes, *known.header.other_sizes):
        raise ListMismatch(
            name=known.path,
            problem=f"it describes {known.header.size_bytes} bytes and the target has {path.stat().st_size}",
        )


# -- verify ---------------------------------------------------------------------------------------------------------


def _verify_and_repair(
    reader: Reader,
    writer: Writer,
    book: Book,
    job: CopyJob,
    report: Report,
    zeroed: list[Extent],
    check: Callable[[], None],
) -> None:
    """Read back what the job asks for; what differs is marked unknown, copied again and read again, once."""
    mode = job.verify or ("sample" if writer.traits.remote else "none")
    if mode == "none":
        return
    back = writer.read_back()
    try:
        bad, read = _read_back(back, book, mode, job, zeroed, check)
        report.verified, report.verified_bytes = mode, read
        if bad:
            report.notes.append(f"{len(bad)} extents differed when read back and were copied again")
            _repair(reader, writer, book, bad, job)
            bad, read = _read_back(back, book, mode, job, zeroed, check)
            report.verified_bytes += read
        if bad:
            book.mark(_positions(book.geometry, bad))
            raise DisksDiffer(name=job.target.name, count=len(bad), first=str(bad[0]), extents=_listed(bad))
    finally:
        back.close()


def _read_back(
    back: Reader, book: Book, mode: str, job: CopyJob, zeroed: list[Extent], check: Callable[[], None]
) -> tuple[list[Extent], int]:
    if mode == "full":
        return verify_disk(back, book.digests, book.page, check=check)
    seed = job.seed if job.seed is not None else int.from_bytes(os.urandom(4), "big")
    chunk = book.geometry.chunk_bytes
    chunks = (n for e in zeroed for n in range(e.start // chunk, -(-e.end // chunk)))
    return verify_sample(back, book.digests, book.page, seed=seed, zeroed=chunks, check=check)


def _repair(reader: Reader, writer: Writer, book: Book, bad: list[Extent], job: CopyJob) -> None:
    """Mark and copy exactly the extents that differ."""
    chain = book.chain or "repair"
    kept, book.chain = book.chain, chain
    try:
        for window, _ in by_window(bad, book.geometry):
            book.journal.done.discard(window)
        copy_disk(reader, writer, book, changes=ChangeList(chain, chain, bad, "repair"), budget=job.budget)
        writer.flush()
    finally:
        book.chain = kept


def _positions(geometry: Geometry, bad: list[Extent]) -> dict[int, list[int]]:
    result = {}
    for window, extents in by_window(bad, geometry):
        first = window * ENTRIES_PER_PAGE
        result[window] = [
            n - first
            for e in extents
            for n in range(e.start // geometry.chunk_bytes, -(-e.end // geometry.chunk_bytes))
        ]
    return result


def _listed(extents: list[Extent]) -> list[dict[str, int]]:
    """At most a thousand, for records and answers."""
    return [{"start": e.start, "end": e.end} for e in extents[:1000]]


# -- diff, verify, digest --------------------------------------------------------------------------------------------


class Difference(NamedTuple):
    """Where two disks, or a disk and its list, differ; `read_bytes` says how much was looked at."""

    extents: list[Extent]
    read_bytes: int
    root: str | None = None

    @property
    def equal(self) -> bool:
        return not self.extents


def verify(
    target: Locator,
    digests: str,
    *,
    mode: str = "full",
    seed: int = 0,
    mark: bool = False,
    watcher: Watcher | None = None,
) -> Difference:
    """Read a disk and compare it with its list. With `mark` differing chunks become unknown in the list, so that the
    next `copy --base` repairs them. Raises ListMismatch where a run on the list is unfinished."""
    if mark:
        digests = require_own_files(digests, [] if target.is_url else [target.address], "digests")
    with_list = DigestList.open(digests)
    reader = open_reader(target)
    try:
        if not with_list.header.settled:
            raise ListMismatch(name=digests, problem="a copy with it is unfinished; run that again first")
        if mode == "full":
            bad, read = verify_disk(reader, with_list, watcher=watcher)
        else:
            bad, read = verify_sample(reader, with_list, seed=seed)
        if bad and mark:
            book = Book.continue_from(digests, with_list.geometry, None)
            book.mark(_positions(with_list.geometry, bad))
            book.abandon()
        return Difference(bad, read, with_list.header.root)
    finally:
        reader.close()
        with_list.close()


def diff(one: Locator, other: Locator, *, watcher: Watcher | None = None) -> Difference:
    """Compare two disks byte by byte; a longer tail counts as different only where it is not zero."""
    left = open_reader(one)
    try:
        right = open_reader(other)
        try:
            return Difference(*compare_disks(left, right, watcher=watcher))
        finally:
            right.close()
    finally:
        left.close()


def digest(
    source: Locator,
    digests: str | None,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    chain: str | None = None,
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> Report:
    """Make the digest list of a disk; without a path only its root is told."""
    import tempfile

    if digests is not None:
        digests = require_own_files(digests, [] if source.is_url else [source.address], "digests")
    with tempfile.TemporaryDirectory(prefix="holdfast-digest-") as folder:
        path = digests or str(Path(folder) / "list")
        if digests is not None and Path(digests).exists() and not overwrite:
            raise ListExists(name=digests)
        reader = open_reader(source)
        try:
            book = Book.begin(path, _geometry(reader.size_bytes, chunk_bytes), reader.traits.identity, anew=True)
            try:
                report = copy_disk(
                    reader, NowhereWriter(reader.size_bytes), book, watcher=watcher, hint_first=digests is not None
                )
            except BaseException:
                book.discard()  # a copy would take what was read here for written
                raise
            report.why, report.written_bytes = "digest", 0
            report.root = book.settle(chain)
            return report
        finally:
            reader.close()
