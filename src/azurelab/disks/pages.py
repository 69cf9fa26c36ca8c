"""Pages: the unit of the extent store, and the arithmetic over their states. Pure.

A page is 4 KiB: the block of the guest's file system and of the host's, so that a guest's write maps to whole pages and
a change list is exact where guests can see it. Half (2 KiB) would double the maps and gain nothing; double would report
unwritten bytes as changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

__all__ = ["CHUNK_PAGES", "PAGE", "SECTOR", "Extent", "Kind", "States", "merged", "page_span", "runs"]

PAGE = 4096
SECTOR = 512
# Pages per chunk of a map file: one 4 KiB block of map, so that a hole in the map file is a chunk never touched.
CHUNK_PAGES = 4096

States = npt.NDArray[np.uint8]


class Kind(IntEnum):
    """What one layer says about a page. UNSET asks the layer below; below the lowest, pages read as zeros."""

    UNSET = 0
    DATA = 1
    ZERO = 2


@dataclass(frozen=True, slots=True)
class Extent:
    """Half-open byte range `[start, end)` of one kind."""

    start: int
    end: int
    kind: Kind

    @property
    def size_bytes(self) -> int:
        return self.end - self.start


def page_span(offset: int, size_bytes: int) -> tuple[int, int]:
    """First page and one past the last page that the byte range touches."""
    return offset // PAGE, -(-(offset + size_bytes) // PAGE)


def runs(values: npt.NDArray[np.generic]) -> Iterator[tuple[int, int, int]]:
    """Maximal runs of equal values: (first index, one past the last, value)."""
    if not len(values):
        return
    edges = np.flatnonzero(values[1:] != values[:-1]) + 1
    starts = [0, *edges.tolist()]
    ends = [*edges.tolist(), len(values)]
    for start, end in zip(starts, ends, strict=True):
        yield start, end, int(values[start])


def merged(extents: Iterable[Extent]) -> Iterator[Extent]:
    """Sorted extents with neighbours of one kind joined."""
    held: Extent | None = None
    for extent in extents:
        if held is not None and held.end == extent.start and held.kind is extent.kind:
            held = Extent(held.start, extent.end, held.kind)
            continue
        if held is not None:
            yield held
        held = extent
    if held is not None:
        yield held
