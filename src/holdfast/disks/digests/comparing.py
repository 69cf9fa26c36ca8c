"""Two digest lists side by side: what differs between two states of a disk, without reading either."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.disks.digests.listfile import DigestList
from holdfast.disks.errors import ChunkSizeMismatch
from holdfast.disks.model.diff import changed_extents
from holdfast.disks.model.extents import Extent

__all__ = ["difference_of_lists"]


def difference_of_lists(old_path: str, new_path: str) -> list[Extent]:
    """Extents of the new state that differ from the old: half-open, sorted, merged, clipped to the new disk's size.

    Chunks that read zeros now are zero extents. Unknown entries differ from everything. A disk that shrank differs only
    where it still is. Raises ChunkSizeMismatch, DiskNotFound, ListDamaged. Walks both lists page by page.
    """
    old, new = DigestList.open(old_path), DigestList.open(new_path)
    try:
        if old.geometry.chunk_bytes != new.geometry.chunk_bytes:
            raise ChunkSizeMismatch(name=new_path, one=old.geometry.chunk_bytes, other=new.geometry.chunk_bytes)
        return changed_extents(new.geometry, _pages(old, new))
    finally:
        old.close()
        new.close()


def _pages(old: DigestList, new: DigestList) -> Iterator[tuple[int, bytes, bytes]]:
    """(window, old page, new page) where either list holds anything but zeros."""
    present = {w for side in (old, new) for first, last in side.windows_with_entries() for w in range(first, last)}
    for window in sorted(present):
        if window < new.geometry.windows:
            before = old.checked_page(window) if window < old.geometry.windows else b""
            yield window, before, new.checked_page(window)
