"""Extents: half-open byte ranges of a disk, and their algebra.

An extent list is *normal* when it is sorted, without overlaps, without empty extents, and neighbours of one kind are
merged. Every function here takes any iterable of extents that is sorted by start, and returns a normal list. What is
not covered by a list of data extents reads as zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple

__all__ = [
    "Extent",
    "Kind",
    "aligned",
    "clipped",
    "covering",
    "data_only",
    "difference",
    "intersection",
    "merged",
    "total_bytes",
    "union",
    "windows",
]


class Kind(Enum):
    """What an extent holds: bytes that must be read, or zeros that need not be."""

    DATA = "data"
    ZERO = "zero"


class Extent(NamedTuple):
    """Bytes `start` up to, not including, `end`."""

    start: int
    end: int
    kind: Kind = Kind.DATA

    @property
    def size_bytes(self) -> int:
        return self.end - self.start

    def __str__(self) -> str:
        return f"{self.start}+{self.end - self.start}"


def merged(extents: Iterable[Extent]) -> list[Extent]:
    """Sorted, overlaps of equal kind joined, empty ones dropped.

    Raises ValueError where a data and a zero extent overlap: nobody could say which is true.
    """
    result: list[Extent] = []
    for extent in sorted(extents, key=lambda e: (e.start, e.end)):
        if extent.start >= extent.end:
            continue
        if result and extent.start <= result[-1].end:
            last = result[-1]
            if last.kind is extent.kind:
                if extent.end > last.end:
                    result[-1] = Extent(last.start, extent.end, last.kind)
                continue
            if extent.start < last.end:
                raise ValueError(f"extents {last} and {extent} overlap but differ in kind")
        result.append(extent)
    return result


def union(one: Iterable[Extent], other: Iterable[Extent]) -> list[Extent]:
    """Bytes that lie in either; kinds are forgotten, the result is data."""
    return merged(Extent(e.start, e.end) for source in (one, other) for e in source)


def intersection(one: Iterable[Extent], other: Iterable[Extent]) -> list[Extent]:
    """Bytes that lie in both; the kind is that of `one`. One pass over both."""
    result: list[Extent] = []
    left, right = iter(one), iter(other)
    a, b = next(left, None), next(right, None)
    while a is not None and b is not None:
        start, end = max(a.start, b.start), min(a.end, b.end)
        if start < end:
            result.append(Extent(start, end, a.kind))
        if a.end <= b.end:
            a = next(left, None)
        else:
            b = next(right, None)
    return merged(result)


def difference(one: Iterable[Extent], other: Iterable[Extent]) -> list[Extent]:
    """Bytes of `one` that are not in `other`; the kind is that of `one`. One pass over both."""
    result: list[Extent] = []
    holes = iter(other)
    hole = next(holes, None)
    for extent in one:
        at = extent.start
        while at < extent.end:
            while hole is not None and hole.end <= at:
                hole = next(holes, None)
            if hole is None or hole.start >= extent.end:
                result.append(Extent(at, extent.end, extent.kind))
                break
            if hole.start > at:
                result.append(Extent(at, hole.start, extent.kind))
            at = hole.end
    return merged(result)


def clipped(extents: Iterable[Extent], start: int, end: int) -> list[Extent]:
    """The parts within [start, end)."""
    return merged(Extent(max(e.start, start), min(e.end, end), e.kind) for e in extents)


def aligned(extents: Iterable[Extent], unit: int, limit: int) -> list[Extent]:
    """Grown outward to multiples of `unit` and cut at `limit` (a disk's size); kinds are forgotten: growth is data."""
    return merged(Extent(e.start // unit * unit, min(-(-e.end // unit) * unit, limit)) for e in extents)


def covering(data: Iterable[Extent], start: int, end: int) -> list[Extent]:
    """A full cover of [start, end): the data extents, with zero extents between them."""
    result: list[Extent] = []
    at = start
    for extent in clipped((e for e in data if e.kind is Kind.DATA), start, end):
        if extent.start > at:
            result.append(Extent(at, extent.start, Kind.ZERO))
        result.append(extent)
        at = extent.end
    if at < end:
        result.append(Extent(at, end, Kind.ZERO))
    return result


def data_only(extents: Iterable[Extent]) -> list[Extent]:
    return [e for e in extents if e.kind is Kind.DATA]


def total_bytes(extents: Iterable[Extent]) -> int:
    return sum(e.end - e.start for e in extents)


def windows(extents: Iterable[Extent], unit: int) -> Iterator[tuple[int, int]]:
    """Runs [first, last) of window numbers that the extents touch; a window is `unit` bytes. Lazy, for huge disks."""
    first = last = -1
    for extent in extents:
        if extent.start >= extent.end:
            continue
        begin, end = extent.start // unit, -(-extent.end // unit)
        if first < 0:
            first, last = begin, end
        elif begin <= last:
            last = max(last, end)
        else:
            yield first, last
            first, last = begin, end
    if first >= 0:
        yield first, last
