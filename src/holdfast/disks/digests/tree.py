"""The Merkle tree over a digest list: its top identifies a disk state.

Leaves are the list's pages of 256 entries. A node is the BLAKE3 of a page, or zeros for a page of zeros, so that the
tree of a sparse disk is sparse too. 128 nodes fill a page of the next level, until one page is left. The root digests
the disk's size, the chunk size and the top node. Pure.
"""

from __future__ import annotations

from typing import NamedTuple

from blake3 import blake3

from holdfast.disks.model.chunks import PAGE_BYTES, Geometry

__all__ = ["NODES_PER_PAGE", "NODE_BYTES", "Layout", "node_of", "root_of"]

NODE_BYTES = 32
NODES_PER_PAGE = PAGE_BYTES // NODE_BYTES
_NOTHING = bytes(PAGE_BYTES)
_NO_NODE = bytes(NODE_BYTES)


def node_of(page: bytes) -> bytes:
    return _NO_NODE if page == _NOTHING else blake3(page).digest(NODE_BYTES)


def root_of(geometry: Geometry, top: bytes) -> bytes:
    """32 bytes that differ whenever size, chunk size or any chunk differs."""
    about = f"holdfast disk 1 {geometry.size_bytes} {geometry.chunk_bytes} ".encode()
    return blake3(about + top).digest(NODE_BYTES)


class Layout(NamedTuple):
    """Where pages lie in a list file: two header slots, the leaves, then each level of nodes up to a single page."""

    geometry: Geometry
    first_leaf: int = 2 * PAGE_BYTES

    def level_pages(self) -> list[int]:
        """Pages per level, leaves first; the last level has one page."""
        counts = [max(1, self.geometry.windows)]
        while counts[-1] > 1:
            counts.append(-(-counts[-1] // NODES_PER_PAGE))
        if len(counts) == 1:
            counts.append(1)
        return counts

    def page_offset(self, level: int, number: int) -> int:
        before = sum(self.level_pages()[:level])
        return self.first_leaf + (before + number) * PAGE_BYTES

    @property
    def size_bytes(self) -> int:
        return self.first_leaf + sum(self.level_pages()) * PAGE_BYTES
