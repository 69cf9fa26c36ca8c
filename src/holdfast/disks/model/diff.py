"""What differs between two digest lists, and which chunks a sample verifies. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from holdfast.disks.model.chunks import ENTRIES_PER_PAGE, ENTRY_BYTES, UNKNOWN, ZERO, Geometry
from holdfast.disks.model.extents import Extent, Kind, merged

__all__ = ["changed_chunks", "changed_extents", "sampled_chunks"]


def changed_chunks(old: bytes, new: bytes) -> list[int]:
    """Positions of entries that differ between two pages, or are unknown in either. Pages may differ in length."""
    if old == new and UNKNOWN not in new:
        return []
    count = max(len(old), len(new)) // ENTRY_BYTES
    result = []
    for i in range(count):
        a = old[i * ENTRY_BYTES : (i + 1) * ENTRY_BYTES] or ZERO
        b = new[i * ENTRY_BYTES : (i + 1) * ENTRY_BYTES] or ZERO
        if a != b or a == UNKNOWN:
            result.append(i)
    return result


def changed_extents(geometry: Geometry, pages: Iterable[tuple[int, bytes, bytes]]) -> list[Extent]:
    """Byte ranges that differ, from (window number, old page, new page); clipped to the disk.

    An extent whose new entry is ZERO is a zero extent: it is to be cleared, not copied.
    """

    def each() -> Iterator[Extent]:
        for window, old, new in pages:
            for i in changed_chunks(old, new):
                chunk = window * ENTRIES_PER_PAGE + i
                start, end = geometry.chunk(chunk)
                zero = new[i * ENTRY_BYTES : (i + 1) * ENTRY_BYTES] in (ZERO, b"")
                yield Extent(start, end, Kind.ZERO if zero else Kind.DATA)

    return merged(each())


def sampled_chunks(chunks: int, zeroed: Iterable[int], seed: int, share: float = 0.01, least: int = 256) -> list[int]:
    """Which chunks a sample reads back: a `share` of all, at least `least`, with first, last and some zeroed ones.

    The same seed gives the same sample, so that a failed verify can be repeated.
    """
    if chunks <= least:
        return list(range(chunks))
    rng = random.Random(seed)
    wanted = max(least, int(chunks * share))
    chosen = {0, chunks - 1}
    cleared = sorted(set(zeroed))
    chosen.update(rng.sample(cleared, min(len(cleared), wanted // 4)))
    while len(chosen) < wanted:
        chosen.add(rng.randrange(chunks))
    return sorted(chosen)
