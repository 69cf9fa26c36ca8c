"""Verify: read a disk back and compare it with its digest list, or two disks with each other."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from holdfast.disks.digests.listfile import DigestList
from holdfast.disks.errors import ListMismatch
from holdfast.disks.model.chunks import ENTRIES_PER_PAGE, ENTRY_BYTES, UNKNOWN, ZERO, Geometry, digest_of
from holdfast.disks.model.diff import sampled_chunks
from holdfast.disks.model.extents import Extent, merged
from holdfast.disks.model.report import Meter, Report, Watcher
from holdfast.disks.parallel import in_threads
from holdfast.disks.planning import WindowWork, window_work
from holdfast.disks.readers.protocol import Reader
from holdfast.disks.scanning import pieces, scan_window
from holdfast.disks.system.buffers import Buffer
from holdfast.disks.system.linux import is_zero

__all__ = ["compare_disks", "verify_disk", "verify_sample"]

_BUFFER_BYTES = 1024 * 1024
_libc = ctypes.CDLL(None)
_libc.memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


def _fits(reader: Reader, digests: DigestList) -> None:
    """A disk may be longer than its list if the rest is zeros (a VHD grows to the next MiB); never shorter."""
    if reader.size_bytes < digests.geometry.size_bytes:
        raise ListMismatch(
            name=digests.path,
            problem=f"it describes {digests.geometry.size_bytes} bytes, the disk has {reader.size_bytes}",
        )


def verify_disk(
    reader: Reader,
    digests: DigestList,
    page_of: Callable[[int], bytes] | None = None,
    *,
    watcher: Watcher | None = None,
    check: Callable[[], None] = lambda: None,
) -> tuple[list[Extent], int]:
    """Read everything; returns the extents that differ from the list (chunk-aligned), and how many bytes were read.

    Chunks whose entry is unknown differ: nobody can vouch for them. `page_of` is how a page is looked up (the book's,
    during a run); default: the list's, checked against its tree.
    """
    _fits(reader, digests)
    geometry, look_up = digests.geometry, page_of or digests.checked_page
    bad: list[Extent] = []
    lock = threading.Lock()
    report = Report("verify", geometry.size_bytes)
    meter = Meter(report, reader.size_bytes, watcher)

    def process(work: WindowWork, buffers: list[Buffer]) -> None:
        scan = scan_window(reader, work, look_up(work.window), geometry, buffers[0])
        start, end = geometry.window(work.window)
        reader.done_with(start, end)
        meter.add(done=end - start, read=scan.read_bytes)
        if scan.positions:
            with lock:
                bad.extend(
                    Extent(*geometry.chunk(work.window * ENTRIES_PER_PAGE + position)) for position in scan.positions
                )

    plan = window_work(
        (e for e in reader.extents(0, geometry.size_bytes)), geometry, digests.windows_with_entries(), lambda _w: False
    )
    _raise(in_threads(plan, process, lanes=reader.traits.lanes, buffer_bytes=_BUFFER_BYTES, check=check))
    bad += _data_past(reader, geometry.size_bytes)
    return merged(bad), report.read_bytes


def verify_sample(
    reader: Reader,
    digests: DigestList,
    page_of: Callable[[int], bytes] | None = None,
    *,
    seed: int,
    zeroed: Iterable[int] = (),
    check: Callable[[], None] = lambda: None,
) -> tuple[list[Extent], int]:
    """Read back 1 % of the chunks, at least 256, with the first, the last and some of those `zeroed` in this run."""
    _fits(reader, digests)
    geometry, look_up = digests.geometry, page_of or digests.checked_page
    chosen = sampled_chunks(geometry.chunks, zeroed, seed)
    groups = ((window, list(chunks)) for window, chunks in groupby(chosen, key=lambda c: c // ENTRIES_PER_PAGE))
    bad: list[Extent] = []
    lock = threading.Lock()
    read = [0]

    def process(group: tuple[int, list[int]], buffers: list[Buffer]) -> None:
        window, chunks = group
        page = look_up(window)
        for chunk in chunks:
            start, end = geometry.chunk(chunk)
            view = buffers[0].view[: end - start]
            reader.read_into(start, view)
            slot = chunk % ENTRIES_PER_PAGE * ENTRY_BYTES
            entry = page[slot : slot + ENTRY_BYTES]
            actual = ZERO if is_zero(buffers[0].address, end - start) else digest_of(view)
            with lock:
                read[0] += end - start
                if entry != actual or entry == UNKNOWN:
                    bad.append(Extent(start, end))

    _raise(in_threads(groups, process, lanes=reader.traits.lanes, buffer_bytes=geometry.chunk_bytes, check=check))
    return merged(bad), read[0]


def compare_disks(
    one: Reader, other: Reader, *, watcher: Watcher | None = None, check: Callable[[], None] = lambda: None
) -> tuple[list[Extent], int]:
    """Extents (in 64 KiB chunks) where two disks differ. The tail of the longer one is compared with zeros."""
    size = min(one.size_bytes, other.size_bytes)
    geometry = Geometry(size)
    bad: list[Extent] = []
    lock = threading.Lock()
    report = Report("compare", size)
    meter = Meter(report, size, watcher)

    def work() -> Iterator[tuple[int, list[Extent]]]:
        for item in window_work(
            _interleaved(one.extents(0, size), other.extents(0, size)), geometry, (), lambda _w: False
        ):
            yield item.window, item.data

    def process(item: tuple[int, list[Extent]], buffers: list[Buffer]) -> None:
        window, data = item
        mine, theirs = buffers
        found = []
        read = 0
        for start, end in pieces(data, _BUFFER_BYTES):
            one.read_into(start, mine.view[: end - start])
            other.read_into(start, theirs.view[: end - start])
            read += 2 * (end - start)
            if _libc.memcmp(mine.address, theirs.address, end - start) == 0:
                continue
            for at in range(0, end - start, geometry.chunk_bytes):
                count = min(geometry.chunk_bytes, end - start - at)
                if _libc.memcmp(mine.address + at, theirs.address + at, count) != 0:
                    found.append(Extent(start + at, start + at + count))
        begin, stop = geometry.window(window)
        one.done_with(begin, stop)
        other.done_with(begin, stop)
        meter.add(done=stop - begin, read=read)
        if found:
            with lock:
                bad.extend(found)

    lanes = max(one.traits.lanes, other.traits.lanes)
    _raise(in_threads(work(), process, lanes=lanes, buffer_bytes=_BUFFER_BYTES, buffers=2, check=check))
    longer = one if one.size_bytes > other.size_bytes else other
    bad += _data_past(longer, size)
    return merged(bad), report.read_bytes


def _interleaved(one: Iterable[Extent], other: Iterable[Extent]) -> Iterator[Extent]:
    """The union of two sorted streams, lazily."""
    left, right = iter(one), iter(other)
    a, b = next(left, None), next(right, None)
    held: Extent | None = None
    while a is not None or b is not None:
        if b is None or (a is not None and a.start <= b.start):
            assert a is not None
            nxt, a = a, next(left, None)
        else:
            nxt, b = b, next(right, None)
        if held is None:
            held = Extent(nxt.start, nxt.end)
        elif nxt.start <= held.end:
            held = Extent(held.start, max(held.end, nxt.end))
        else:
            yield held
            held = Extent(nxt.start, nxt.end)
    if held is not None:
        yield held


def _data_past(reader: Reader, size: int) -> list[Extent]:
    """Extents at and after `size` that hold anything but zeros."""
    bad = []
    buffer = Buffer(_BUFFER_BYTES)
    for start, end in pieces(list(reader.extents(size, reader.size_bytes)), _BUFFER_BYTES):
        start = max(start, size)
        reader.read_into(start, buffer.view[: end - start])
        if not is_zero(buffer.address, end - start):
            bad.append(Extent(start, end))
    return bad


def _raise(error: BaseException | None) -> None:
    if error is not None:
        raise error
