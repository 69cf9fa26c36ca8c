"""Which windows a run must look at, and what in them must be read. Lazy, so that a huge disk costs no memory."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from holdfast.disks.model.chunks import ENTRIES_PER_PAGE, Geometry
from holdfast.disks.model.extents import Extent, Kind, aligned, difference, merged, union

__all__ = ["WindowWork", "ZeroRun", "by_window", "tracked_work", "window_work", "zero_runs"]


class WindowWork(NamedTuple):
    """One window to process. `data`: what to read, chunk-aligned; the rest of the window reads as zeros.

    `only`: positions of chunks that may have changed (None: all; chunks outside keep their entry).
    """

    window: int
    data: list[Extent]
    only: frozenset[int] | None = None


class ZeroRun(NamedTuple):
    """A range, however large, that reads as zeros and must be cleared on the target."""

    start: int
    end: int


def by_window(extents: Iterable[Extent], geometry: Geometry) -> Iterator[tuple[int, list[Extent]]]:
    """Sorted extents cut at window borders and grouped; windows without any are left out. Extents are chunk-aligned."""
    unit, size = geometry.window_bytes, geometry.size_bytes
    chunk = geometry.chunk_bytes
    current, held = -1, list[Extent]()
    for extent in extents:
        start, end = extent.start // chunk * chunk, min(-(-extent.end // chunk) * chunk, size)
        while start < end:
            window = start // unit
            if window != current:
                if held:
                    yield current, held
                current, held = window, []
            stop = min(end, (window + 1) * unit)
            if held and start <= held[-1].end:
                held[-1] = Extent(held[-1].start, max(stop, held[-1].end))
            else:
                held.append(Extent(start, stop))
            start = stop
    if held:
        yield current, held


def window_work(
    data: Iterable[Extent],
    geometry: Geometry,
    also: Iterable[tuple[int, int]],
    skip: Callable[[int], bool],
) -> Iterator[WindowWork]:
    """Windows with data, and the runs `also` (which hold something on the target), without those to `skip`."""
    others = (window for first, last in also for window in range(first, last))
    with_data = by_window(data, geometry)
    merged_stream = heapq.merge(with_data, ((w, list[Extent]()) for w in others), key=lambda pair: pair[0])
    last = -1
    waiting: WindowWork | None = None
    for window, extents in merged_stream:
        if window == last and waiting is not None:
            if extents:
                waiting = WindowWork(window, extents)
            continue
        if waiting is not None and not skip(waiting.window):
            yield waiting
        waiting, last = WindowWork(window, extents), window
    if waiting is not None and not skip(waiting.window):
        yield waiting


def tracked_work(
    changes: Iterable[Extent], doubtful: Iterable[int], geometry: Geometry, skip: Callable[[int], bool]
) -> Iterator[WindowWork]:
    """Windows that a source says have changed, plus doubtful ones (which are read whole).

    A chunk that a zero extent covers wholly is not read; one that it covers in part is.
    """
    chunk, size = geometry.chunk_bytes, geometry.size_bytes
    listed = [Extent(max(0, e.start), min(e.end, size), e.kind) for e in changes]
    data = merged(e for e in listed if e.kind is Kind.DATA)
    zero = difference(merged(e for e in listed if e.kind is Kind.ZERO), data)  # where both are listed, reading decides
    edges = [edge for e in zero for edge in _ragged_edges(e, chunk, size)]
    read = aligned([*data, *edges], chunk, size)
    reads = dict(by_window(read, geometry))
    spans = dict(by_window(union(read, aligned(zero, chunk, size)), geometry)) if zero else reads
    doubted = set(doubtful)
    for window in sorted(spans.keys() | doubted):
        if skip(window):
            continue
        if window in doubted:
            start, end = geometry.window(window)
            yield WindowWork(window, [Extent(start, end)])
            continue
        first = window * ENTRIES_PER_PAGE
        only = frozenset(
            number - first for e in spans[window] for number in range(e.start // chunk, -(-e.end // chunk))
        )
        yield WindowWork(window, reads.get(window, []), only)


def _ragged_edges(extent: Extent, chunk: int, size: int) -> list[Extent]:
    """The chunks that a zero extent covers only in part."""
    edges = []
    if extent.start % chunk:
        start = extent.start // chunk * chunk
        edges.append(Extent(start, min(start + chunk, size)))
    if extent.end % chunk and extent.end < size:
        start = extent.end // chunk * chunk
        edges.append(Extent(start, min(start + chunk, size)))
    return edges


def zero_runs(data: Iterable[Extent], geometry: Geometry) -> Iterator[ZeroRun]:
    """What lies between chunk-aligned data extents: to be cleared on a target that is not known to read zeros."""
    chunk, size = geometry.chunk_bytes, geometry.size_bytes
    at = 0
    for extent in data:
        start = extent.start // chunk * chunk
        if start > at:
            yield ZeroRun(at, start)
        at = max(at, min(-(-extent.end // chunk) * chunk, size))
    if at < size:
        yield ZeroRun(at, size)
