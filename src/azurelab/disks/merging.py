"""Shortening deep stacks: which two neighbouring layers may become one, and the copy that makes them one.

Two layers may be merged when exactly the same volumes contain both: then no snapshot ends between them, and no diff
between two volumes can tell them apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from azurelab.disks.catalogue import VolumeRow
from azurelab.disks.layer import Layer
from azurelab.disks.pages import CHUNK_PAGES, PAGE, Kind, runs

__all__ = ["copy_up", "mergeable_pair"]

_COPY_STEP = 4 << 20
# Chunks a map can have: 32 TiB, the largest managed disk, in chunks of 16 MiB.
_ALL_CHUNKS = (32 << 40) // (CHUNK_PAGES * PAGE)


def mergeable_pair(rows: Iterable[VolumeRow], deep: int, cost_bytes: Callable[[str], int]) -> tuple[str, str] | None:
    """The (lower, upper) pair with the least bytes to copy, among stacks deeper than `deep`; None if there is none."""
    all_rows = list(rows)
    users: dict[str, set[str]] = defaultdict(set)
    for row in all_rows:
        for layer_id in row.frozen:
            users[layer_id].add(row.id)
    pairs = {
        (lower, upper)
        for row in all_rows
        if len(row.frozen) > deep
        for lower, upper in zip(row.frozen, row.frozen[1:], strict=False)
        if users[lower] == users[upper]
    }
    return min(pairs, key=lambda pair: cost_bytes(pair[1]), default=None)


def copy_up(lower: Layer, upper: Layer) -> None:
    """Put every page that `upper` knows into `lower`. May be cut off and repeated: readers see `upper` first."""
    for chunk in upper.touched_chunks(0, _ALL_CHUNKS):
        base = chunk * CHUNK_PAGES
        states = upper.states(base, base + CHUNK_PAGES)
        if states is None:
            return
        for first, last, kind in runs(states):
            if kind == Kind.ZERO:
                lower.clear_pages(base + first, base + last)
            elif kind == Kind.DATA:
                step = _COPY_STEP // PAGE
                for start in range(first, last, step):
                    end = min(start + step, last)
                    buffer = bytearray((end - start) * PAGE)
                    upper.read_into(memoryview(buffer), (base + start) * PAGE)
                    lower.write_pages(base + start, buffer)
