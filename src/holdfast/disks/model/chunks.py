"""Chunks: the unit of digesting and of writing, and what a digest entry says.

A chunk is 64 KiB unless told: few bytes written per change (`docs/benchmarks/disks.md`). Its entry in a digest list is
16 bytes: the first 128 bits of its BLAKE3, or one of two words. The last chunk of a disk may be short; its digest is
that of its bytes, so its length is part of what is digested. 256 entries fill a page of a list and describe a *window*
of the disk (16 MiB): the unit of work, of journaling and of integrity.
"""

from __future__ import annotations

from blake3 import blake3

from holdfast.core.units import KIB

__all__ = [
    "CHUNK_BYTES",
    "ENTRIES_PER_PAGE",
    "ENTRY_BYTES",
    "LARGEST_CHUNK_BYTES",
    "PAGE_BYTES",
    "UNKNOWN",
    "ZERO",
    "Geometry",
    "digest_of",
]

CHUNK_BYTES = 64 * KIB
LARGEST_CHUNK_BYTES = 1024 * KIB  # a chunk is read in one piece, and the smallest reads are of this size
ENTRY_BYTES = 16
PAGE_BYTES = 4096
ENTRIES_PER_PAGE = PAGE_BYTES // ENTRY_BYTES
ZERO = b"\x00" * ENTRY_BYTES  # the chunk reads as zeros, or was never written to a target that reads zeros
UNKNOWN = b"\xff" * ENTRY_BYTES  # nobody can say what the target holds here: write it whatever the source says


def digest_of(data: memoryview | bytes | bytearray) -> bytes:
    """The entry of a chunk that is not all zeros. ZERO and UNKNOWN cannot come out but by a 2^-127 accident."""
    return blake3(data).digest(ENTRY_BYTES)


class Geometry:
    """How a disk of `size_bytes` falls into chunks and windows. Not changed once made."""

    __slots__ = ("chunk_bytes", "chunks", "size_bytes", "window_bytes", "windows")

    def __init__(self, size_bytes: int, chunk_bytes: int = CHUNK_BYTES) -> None:
        if size_bytes < 0 or not 4096 <= chunk_bytes <= LARGEST_CHUNK_BYTES or chunk_bytes & (chunk_bytes - 1):
            raise ValueError(f"no geometry of {size_bytes} bytes in chunks of {chunk_bytes}")
        self.size_bytes = size_bytes
        self.chunk_bytes = chunk_bytes
        self.window_bytes = chunk_bytes * ENTRIES_PER_PAGE
        self.chunks = -(-size_bytes // chunk_bytes)
        self.windows = -(-self.chunks // ENTRIES_PER_PAGE)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Geometry):
            return NotImplemented
        return (self.size_bytes, self.chunk_bytes) == (other.size_bytes, other.chunk_bytes)

    def __hash__(self) -> int:
        return hash((self.size_bytes, self.chunk_bytes))

    def __repr__(self) -> str:
        return f"Geometry({self.size_bytes}, {self.chunk_bytes})"

    def window(self, number: int) -> tuple[int, int]:
        """The byte range of a window, cut at the disk's end."""
        start = number * self.window_bytes
        return start, min(start + self.window_bytes, self.size_bytes)

    def chunk(self, number: int) -> tuple[int, int]:
        """The byte range of a chunk, cut at the disk's end."""
        start = number * self.chunk_bytes
        return start, min(start + self.chunk_bytes, self.size_bytes)
