"""Reused read buffers. Fresh memory for every read costs a fifth of the speed (page faults)."""

from __future__ import annotations

import ctypes
import mmap

__all__ = ["Buffer"]


class Buffer:
    """Page-aligned memory with its address, so that a zero test needs no copy. One thread uses it at a time."""

    def __init__(self, size: int) -> None:
        self._map = mmap.mmap(-1, size)
        self.view = memoryview(self._map)
        self.words = self.view.cast("Q")
        self._anchor = ctypes.c_char.from_buffer(self._map)
        self.address = ctypes.addressof(self._anchor)
        self.size = size
        self._chunk_bytes = 0
        self._chunks: list[memoryview] = []

    def chunks(self, chunk_bytes: int) -> list[memoryview]:
        """Views of the whole chunks, in order; made once, for a slice costs as much as the call that it is made for."""
        if chunk_bytes != self._chunk_bytes:
            stops = range(chunk_bytes, self.size + 1, chunk_bytes)
            self._chunks, self._chunk_bytes = [self.view[stop - chunk_bytes : stop] for stop in stops], chunk_bytes
        return self._chunks
