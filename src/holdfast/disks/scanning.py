"""Reading one window: zero test, digest, compare. The inner loop of everything."""

from __future__ import annotations

import struct
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

    `data_positions`, `zero_positions`: changed chunks in the window's page. `data`: runs of those that are not zero, as
    (offset, bytes), none longer than a read, if they were to be held. `zero`: those that are, merged.
    """

    __slots__ = ("data", "data_positions", "page", "read_bytes", "window", "zero", "zero_positions")

    def __init__(self, window: int) -> None:
        self.window = window
        self.page = b""
        self.data_positions: list[int] = []
        self.zero_positions: list[int] = []
        self.data: list[tuple[int, bytes]] = []
        self.zero: list[Extent] = []
        self.read_bytes = 0

    @property
    def positions(self) -> list[int]:
        return self.data_positions + self.zero_positions

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
    """What `make` says of each chunk, but ZERO of those of zeros.

    As few steps as can be, most of them in C: while threads digest, they need the interpreter for a microsecond each
    few microseconds, and wait for each other.
    """
    chunk_bytes, address = geometry.chunk_bytes, buffer.address
    whole = size // chunk_bytes
    chunks = buffer.chunks(chunk_bytes)[:whole]
    if size % chunk_bytes:
        chunks.append(buffer.view[whole * chunk_bytes : size])
    firsts = buffer.words[: size >> 3 : chunk_bytes >> 3].tolist()
    # a look at the first word spares most chunks the call into libc
    zeros = [n for n, first in enumerate(firsts) if first == 0 and is_zero(address + n * chunk_bytes, len(chunks[n]))]
    if len(firsts) < len(chunks) and is_zero(address + whole * chunk_bytes, size - whole * chunk_bytes):
        zeros.append(whole)  # fewer bytes than a word
    if not zeros:
        return list(map(make, chunks))
    made, begin = [ZERO] * len(chunks), 0
    for n in [*zeros, len(chunks)]:
        made[begin:n] = map(make, chunks[begin:n])
        begin = n + 1
    return made


def _digest_the_rest(
    buffer: Buffer, size: int, geometry: Geometry, tags: list[bytes], expected: bytes, old: bytes
) -> list[bytes]:
    """Entries of a piece: those of `old` where tags are as expected, digests where they are not."""
    entries = _split(old)
    for number, (tag, wanted) in enumerate(zip(tags, _split(expected), strict=True)):
        if tag is ZERO:
            entries[number] = ZERO
        elif tag != wanted:
            at = number * geometry.chunk_bytes
            entries[number] = digest_of(buffer.view[at : min(at + geometry.chunk_bytes, size)])
    return entries


def _split(page: bytes) -> list[bytes]:
    """A page, or a part of one, in entries."""
    return list(struct.unpack(f"{ENTRY_BYTES}s" * (len(page) // ENTRY_BYTES), page))


def scan_window(
    reader: Reader,
    work: WindowWork,
    old: bytes,
    geometry: Geometry,
    buffer: Buffer,
    hints: Hints | None = None,
    *,
    hold: bool = True,
) -> Scan:
    """Read a window and say what differs from `old`, its page of entries; `hold`: copy changed data out of the buffer.

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
        was = _split(old[slot : slot + len(joined)])
        changed = [n for n, (now, then) in enumerate(zip(entries, was, strict=True)) if now != then and now is not ZERO]
        scan.data_positions += [position + n for n in changed]
        for first, last in _neighbours(changed) if hold else ():
            at, stop = first * chunk_bytes, min((last + 1) * chunk_bytes, end - start)
            scan.data.append((start + at, bytes(buffer.view[at:stop])))
    scan.page = bytes(page)
    if hints is not None and (tags != expected or scan.page != old):
        hints.put(work.window, tags, scan.page)
    _note_zeroed(scan, old, geometry)
    return scan


def _neighbours(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Runs of successive numbers, as (first, last)."""
    first = last = -1
    for number in numbers:
        if number != last + 1 or first < 0:
            if first >= 0:
                yield first, last
            first = number
        last = number
    if first >= 0:
        yield first, last


def _note_zeroed(scan: Scan, old: bytes, geometry: Geometry) -> None:
    """Chunks that read zeros now and did not, or were unknown."""
    if scan.page == old:
        return
    first = scan.window * ENTRIES_PER_PAGE
    last = min(first + ENTRIES_PER_PAGE, geometry.chunks) - first
    zeros = scan.zero
    was = _split(old)
    for position, entry in enumerate(_split(scan.page)[:last]):
        if entry == ZERO and was[position] != ZERO:
            scan.zero_positions.append(position)
            start, end = geometry.chunk(first + position)
            if zeros and zeros[-1].end == start:
                zeros[-1] = Extent(zeros[-1].start, end)
            else:
                zeros.append(Extent(start, end))
