"""Copying one window: read, digest and write what may be overwritten already. `scanning.py` only looks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from holdfast.disks.budget import Budget
from holdfast.disks.model.chunks import ENTRIES_PER_PAGE, ENTRY_BYTES, PAGE_BYTES, ZERO, Geometry
from holdfast.disks.model.extents import Extent, Kind, clipped
from holdfast.disks.planning import WindowWork
from holdfast.disks.readers.protocol import Reader
from holdfast.disks.scanning import pieces, scan_piece, tag_piece
from holdfast.disks.system.buffers import Buffer
from holdfast.disks.system.linux import is_zero
from holdfast.disks.writers.protocol import Writer

if TYPE_CHECKING:
    from holdfast.disks.digests.hints import Hints

__all__ = ["CopiedWindow", "WindowCopier"]

_BLOCK = 4096


class CopiedWindow(NamedTuple):
    """A window that the target now holds, not yet durably. `page`: its entries. `landed`: what was written."""

    page: bytes
    read_bytes: int
    written_bytes: int
    zeroed_bytes: int
    landed: list[Extent]


class WindowCopier:
    """Copies one window after another, from any thread. All that may change in them is marked unknown already.

    `clean`: the target is new and reads zeros, so that zeros need no writing. `listed`: digests are wanted; without
    them a `ZeroRun` has cleared what lies between data extents.
    """

    def __init__(
        self, reader: Reader, writer: Writer, geometry: Geometry, budget: Budget, *, clean: bool, listed: bool
    ) -> None:
        self._reader, self._writer, self._geometry, self._budget = reader, writer, geometry, budget
        self._clean, self._listed = clean, listed
        self._trims = clean and writer.traits.granularity <= _BLOCK

    def copy(self, work: WindowWork, old: bytes, buffer: Buffer, hints: Hints | None = None) -> CopiedWindow:
        """`old`: the window's page of entries, which chunks that are not looked at keep."""
        geometry, base = self._geometry, work.window * ENTRIES_PER_PAGE
        page, tags = bytearray(old), bytearray(PAGE_BYTES)
        for position in work.only or ():
            page[position * ENTRY_BYTES : (position + 1) * ENTRY_BYTES] = ZERO
        read = written = zeroed = 0
        landed: list[Extent] = []
        for at, stop in pieces(work.data, buffer.size):
            self._reader.read_into(at, buffer.view[: stop - at])
            read += stop - at
            entries = scan_piece(buffer, at, stop, geometry, digest=self._listed)
            position = at // geometry.chunk_bytes - base
            slots = slice(position * ENTRY_BYTES, (position + len(entries)) * ENTRY_BYTES)
            page[slots] = b"".join(entries)
            if hints is not None:
                tags[slots] = b"".join(tag_piece(buffer, at, stop, geometry, hints))
            for run_start, run_end in _runs(entries, at, stop, geometry.chunk_bytes):
                if self._trims:
                    run_start, run_end = _trimmed(buffer, at, run_start, run_end)
                self._budget.spend(run_end - run_start)
                self._writer.write(run_start, buffer.view[run_start - at : run_end - at])
                written += run_end - run_start
                landed.append(Extent(run_start, run_end))
        if hints is not None:
            hints.put(work.window, tags, page)
        for zero in () if self._clean else self._zeroed(work, page):
            self._writer.write_zeros(zero.start, zero.size_bytes)
            zeroed += zero.size_bytes
            landed.append(zero)
        return CopiedWindow(bytes(page), read, written, zeroed, landed)

    def _zeroed(self, work: WindowWork, page: bytearray) -> list[Extent]:
        """Chunks of the window that read zeros now and must be cleared: all that were looked at."""
        result: list[Extent] = []
        first = work.window * ENTRIES_PER_PAGE
        last = min(ENTRIES_PER_PAGE, self._geometry.chunks - first)
        positions = range(last) if work.only is None else sorted(work.only)
        covered = [Extent(e.start, e.end) for e in work.data]
        for position in positions:
            if page[position * ENTRY_BYTES : (position + 1) * ENTRY_BYTES] != ZERO:
                continue
            start, end = self._geometry.chunk(first + position)
            if work.only is None and not self._listed and not clipped(covered, start, end):
                continue  # between data extents
            if result and result[-1].end == start:
                result[-1] = Extent(result[-1].start, end, Kind.ZERO)
            else:
                result.append(Extent(start, end, Kind.ZERO))
        return result


def _trimmed(buffer: Buffer, base: int, start: int, end: int) -> tuple[int, int]:
    """A run without the zero blocks of 4 KiB at its ends, so that a sparse target stays as sparse as its source."""
    while end - start > _BLOCK and is_zero(buffer.address + start - base, _BLOCK):
        start += _BLOCK
    while end - start > _BLOCK:
        last = (end - 1) // _BLOCK * _BLOCK
        if last <= start or not is_zero(buffer.address + last - base, end - last):
            break
        end = last
    return start, end


def _runs(entries: list[bytes], start: int, end: int, chunk_bytes: int) -> Iterator[tuple[int, int]]:
    """Byte runs of neighbouring chunks that are not zero."""
    begin = -1
    for number, entry in enumerate(entries):
        if entry is ZERO:
            if begin >= 0:
                yield begin, start + number * chunk_bytes
                begin = -1
        elif begin < 0:
            begin = start + number * chunk_bytes
    if begin >= 0:
        yield begin, end
