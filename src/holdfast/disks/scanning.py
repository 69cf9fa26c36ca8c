"""Reading one window: zero test, digest, compare. The inner loop of everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from holdfast.disks.model.chunks import ENTRIES_PER_PAGE, ENTRY_BYTES, PAGE_BYTES, UNKNOWN, ZERO, Geometry, digest_of
from holdfast.disks.model.extents import Extent
from holdfast.disks.planning import WindowWork
from holdfast.disks.readers.protocol import Reader
from holdfast.disks.system.buffers import Buffer
from holdfast.disks.system.linux import is_zero

if TYPE_CHECKING:
    from holdfast.disks.digests.hints import Hints

__all__ = ["Scan", "pieces", "scan_piece", "scan_window", "tag_piece"]


class Scan:
    """What a window holds and how it differs from what the target is known to hold.

    `data`: runs of changed chunks that are not zero, as (offset, bytes), none longer than a read. `zero`: changed
    chunks that are zero, merged. `positions`: of all changed chunks in the window's page.
    """

    __slots__ = ("data", "page", "positions", "read_bytes", "window", "zero")

    def __init__(self, window: int) -> None:
        self.window = window
        self.page = b""
        self.positions: list[int] = []
        self.data: list[tuple[int, bytes]] = []
        self.zero: list[Extent] = []
        self.read_bytes = 0

    @property
    def held_bytes(self) -> int:
        return sum(len(data) for _, data in self.data)


def pieces(data: list[Extent], size: int) -> Iterator[tuple[int, int]]:
    """Extents cut into reads of at most `size` bytes, at multiples of it, so that requests line up with the disk's."""
    for extent in data:
        at = extent.start
        while at < extent.end:
            stop = min(extent.end, (at // size + 1) * size)
            yield at, stop
            at = stop


def scan_piece(buffer: Buffer, start: int, end: int, geometry: Geometry, *, digest: bool) -> list[bytes]:
    """Entries of the chunks in a buffer that holds [start, end). Without `digest` only ZERO is told from the rest,
    which is UNKNOWN."""
    return _of_chunks(buffer, end - start, geometry, digest_of if digest else lambda _chunk: UNKNOWN)


def tag_piece(buffer: Buffer, start: int, end: int, geometry: Geometry, hints: Hints) -> list[bytes]:
    """Tags of the chunks in a buffer that holds [start, end); ZERO for those of zeros."""
    return _of_chunks(buffer, end - start, geometry, hints.tag)


def _of_chunks(buffer: Buffer, size: int, geometry: Geometry, make: Callable[[memoryview], bytes]) -> list[bytes]:
    """What `make` says of each chunk, but ZERO of those of zeros."""
    chunk_bytes, view, words, address = geometry.chunk_bytes, buffer.view, buffer.words, buffer.address
    made: list[bytes] = []
    add = made.append
    for at in range(0, size, chunk_bytes):
        stop = at + chunk_bytes
        if stop > size:
            stop = size
        # a look at the first word spares most chunks the call into libc
        if (words[at >> 3] == 0 or stop - at < 8) and is_zero(address + at, stop - at):
            add(ZERO)
        else:
            add(make(view[at:stop]))
    return made


def _digest_the_rest(
    buffer: Buffer, size: int, geometry: Geometry, tags: list[bytes], expected: bytes, old: bytes
) -> list[bytes]:
    """Entries of a piece: those of `old` where tags are as expected, digests where they are not."""
    entries: list[bytes] = []
    for number, tag in enumerate(tags):
        slot = number * ENTRY_BYTES
        if tag is ZERO:
            entries.append(ZERO)
        elif tag == expected[slot : slot + ENTRY_BYTES]:
            entries.append(old[slot : slot + ENTRY_BYTES])
        else:
            at = number * geometry.chunk_bytes
            entries.append(digest_of(buffer.view[at : min(at + geometry.chunk_bytes, size)]))
    return entries


def scan_window(
    reader: Reader, work: WindowWork, old: bytes, geometry: Geometry, buffer: Buffer, hints: Hints | None = None
) -> Scan:
    """Read a window and say what differs from `old`, its page of entries; changed data are copied out of the buffer.

    With `hints` a chunk that has the expected tag keeps its entry without being digested.
    """
    chunk_bytes = geometry.chunk_bytes
    base = work.window * ENTRIES_PER_PAGE
    page = bytearray(old) if work.only is not None else bytearray(PAGE_BYTES)
    scan = Scan(work.window)
    expected = hints.expected(work.window, old) if hints is not None else b""
    tags = bytearray(expected) if work.only is not None else bytearray(PAGE_BYTES)
    for position in work.only or ():
        for entries_of in (page, tags):
            entries_of[position * ENTRY_BYTES : (position + 1) * ENTRY_BYTES] = ZERO
    for start, end in pieces(work.data, buffer.size):
        reader.read_into(start, buffer.view[: end - start])
        scan.read_bytes += end - start
        position = start // chunk_bytes - base
        slot = position * ENTRY_BYTES
        if hints is None:
            entries = scan_piece(buffer, start, end, geometry, digest=True)
        else:
            found = tag_piece(buffer, start, end, geometry, hints)
            joined = b"".join(found)
            stop = slot + len(joined)
            tags[slot:stop] = joined  # one that was not read is of zeros, and its tag and entry are
            if joined == expected[slot:stop]:
                page[slot:stop] = old[slot:stop]
                continue  # most pieces of most disks
            entries = _digest_the_rest(buffer, end - start, geometry, found, expected[slot:stop], old[slot:stop])
        joined = b"".join(entries)
        page[slot : slot + len(joined)] = joined
        if joined == old[slot : slot + len(joined)]:
            continue
        run = -1
        for at, entry in zip(range(0, end - start, chunk_bytes), entries, strict=True):
            slot = position * ENTRY_BYTES
            if entry is not ZERO and old[slot : slot + ENTRY_BYTES] != entry:
                scan.positions.append(position)
                run = at if run < 0 else run
            elif run >= 0:
                scan.data.append((start + run, bytes(buffer.view[run:at])))
                run = -1
            position += 1
        if run >= 0:
            scan.data.append((start + run, bytes(buffer.view[run : end - start])))
    scan.page = bytes(page)
    if hints is not None and (tags != expected or scan.page != old):
        hints.put(work.window, tags, scan.page)
    _note_zeroed(scan, old, geometry)
    return scan


def _note_zeroed(scan: Scan, old: bytes, geometry: Geometry) -> None:
    """Chunks that read zeros now and did not, or were unknown."""
    if scan.page == old:
        return
    first = scan.window * ENTRIES_PER_PAGE
    last = min(first + ENTRIES_PER_PAGE, geometry.chunks) - first
    zeros = scan.zero
    for position in range(last):
        slot = position * ENTRY_BYTES
        if scan.page[slot : slot + ENTRY_BYTES] == ZERO and old[slot : slot + ENTRY_BYTES] != ZERO:
            scan.positions.append(position)
            start, end = geometry.chunk(first + position)
            if zeros and zeros[-1].end == start:
                zeros[-1] = Extent(zeros[-1].start, end)
            else:
                zeros.append(Extent(start, end))
