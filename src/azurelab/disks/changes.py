"""What changed between two states of one disk, exactly: replayed on the old one it gives the new one.

Two volumes of one family share their lower layers. Only pages set in a layer above the shared part can differ, so a
page that was never written since is never reported, and a page is `ZERO` only if it was cleared.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from azurelab.disks.layer import Layer
from azurelab.disks.pages import CHUNK_PAGES, PAGE, Extent, Kind, States, merged, page_span, runs
from azurelab.disks.volume import Volume, through_changes

__all__ = ["changed_extents"]


def changed_extents(new: Volume, old: Volume, start: int = 0, end: int | None = None) -> Iterator[Extent]:
    """Extents of kind DATA (copy them from `new`) and ZERO (clear them), sorted, merged, clipped to `[start, end)`.

    Correct for any two volumes; small for two that share layers, and everything that holds data for two that do not.
    """
    end = new.size_bytes if end is None else min(end, new.size_bytes)
    return merged(through_changes(lambda at: _changed(new, old, at, end), start, lambda: (new.layers, old.layers)))


def _changed(new: Volume, old: Volume, start: int, end: int) -> Iterator[Extent]:
    if start >= end:
        return
    new_layers, old_layers = new.layers, old.layers
    shared = 0
    for ours, theirs in zip(new_layers, old_layers, strict=False):
        if ours is not theirs:
            break
        shared += 1
    ours_only, theirs_only = new_layers[shared:], old_layers[shared:]
    first_page, end_page = page_span(start, end - start)
    first_chunk, end_chunk = first_page // CHUNK_PAGES, -(-end_page // CHUNK_PAGES)
    touched = {c for layer in (*ours_only, *theirs_only) for c in layer.touched_chunks(first_chunk, end_chunk)}
    for chunk in sorted(touched):
        low, high = max(chunk * CHUNK_PAGES, first_page), min((chunk + 1) * CHUNK_PAGES, end_page)
        kinds = _topmost(ours_only, low, high)
        if theirs_only:  # not an ancestor: what only the old one touched must become what the shared part and we say
            unsettled = (kinds == Kind.UNSET) & (_topmost(theirs_only, low, high) != Kind.UNSET)
            below = _topmost(new_layers[:shared], low, high)
            kinds = np.where(unsettled, np.where(below == Kind.DATA, Kind.DATA, Kind.ZERO), kinds).astype(np.uint8)
        for first, last, kind in runs(kinds):
            if kind != Kind.UNSET:
                yield Extent(max((low + first) * PAGE, start), min((low + last) * PAGE, end), Kind(kind))


def _topmost(layers: tuple[Layer, ...], first_page: int, end_page: int) -> States:
    """Per page what the highest layer that knows it says."""
    kinds: States = np.zeros(end_page - first_page, dtype=np.uint8)
    for layer in reversed(layers):
        states = layer.states(first_page, end_page)
        if states is not None:
            kinds = np.where(kinds == Kind.UNSET, states, kinds)
            if (kinds != Kind.UNSET).all():
                break
    return kinds
