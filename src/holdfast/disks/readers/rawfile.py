"""Raw files and block devices: the disk's bytes as they lie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from holdfast.disks.errors import ReadFailed
from holdfast.disks.model.extents import Extent
from holdfast.disks.readers.protocol import SourceTraits
from holdfast.disks.system import linux
from holdfast.disks.system.files import identity_of, lock_for_reading, opened, size_of
from holdfast.disks.system.holes import hole_map

__all__ = ["RawFileReader", "read_fully"]

_MOST_SPANS = 4096  # a question each at most; a span is at least 16 MiB
_SAMPLES, _SAMPLE_BITS = 4, 17  # asked of each span: the kernel walks every page it is asked about
_CACHED_SHARE = 1 / 16  # of the samples: more is somebody's working set, less are stray pages


def read_fully(fd: int, name: str, offset: int, buffer: memoryview) -> None:
    """preadv until the buffer is full. The end of the file before that is an error (the file shrank)."""
    at, wanted = 0, len(buffer)
    while at < wanted:
        try:
            count = os.preadv(fd, [buffer[at:] if at else buffer], offset + at)
        except OSError as exc:
            raise ReadFailed(name=name, offset=offset + at, size_bytes=wanted - at, problem=str(exc)) from exc
        if count == 0:
            raise ReadFailed(name=name, offset=offset + at, size_bytes=wanted - at, problem="it ended early")
        at += count


class RawFileReader:
    """Reads with preadv into the caller's buffers and lets cached pages go behind it.

    Pages that were in the cache before we came belong to somebody else's working set and stay (Linux 6.5 can tell).
    One descriptor serves all threads: preadv keeps no position, and SEEK_DATA starts where it is told.
    """

    def __init__(
        self,
        path: str,
        *,
        keep_cache: bool = False,
        unchanged: bool = False,
        locked: bool = True,
        size_bytes: int | None = None,
    ) -> None:
        self._fd = opened(path, os.O_RDONLY)
        try:
            if locked:
                lock_for_reading(self._fd, path)
            self.size_bytes = size_of(self._fd) if size_bytes is None else size_bytes
        except BaseException:
            os.close(self._fd)
            raise
        self.path = path
        identity = identity_of(self._fd)
        if identity is None and unchanged:
            identity = {"kind": "device-declared-unchanged", "path": path, "size_bytes": self.size_bytes}
        self.traits = SourceTraits(name=path, lanes=min(4, os.cpu_count() or 2), identity=identity, forks=True)
        self._keep_cache = keep_cache
        self._span_bits = max(24, (max(1, self.size_bytes) // _MOST_SPANS).bit_length())
        self._was_cached: dict[int, bool] = {}

    def extents(self, start: int, end: int) -> Iterator[Extent]:
        return hole_map(self._fd, start, min(end, self.size_bytes))

    def read_into(self, offset: int, buffer: memoryview) -> None:
        if not self._keep_cache:
            self._ask(offset, offset + len(buffer))
        read_fully(self._fd, self.path, offset, buffer)

    def done_with(self, start: int, end: int) -> None:
        """Spans that were cached before we came stay; all others are let go."""
        if self._keep_cache:
            return
        bits = self._span_bits
        for span in range(start >> bits, ((end - 1) >> bits) + 1):
            if not self._was_cached.get(span, True):
                begin, stop = max(start, span << bits), min(end, (span + 1) << bits)
                linux.let_go(self._fd, begin, stop - begin)

    def _ask(self, start: int, end: int) -> None:
        """Which spans lie in the page cache: asked before their first read, and before that of the span in front of
        them, for reading ahead would answer yes."""
        bits = self._span_bits
        for span in range(start >> bits, ((end - 1) >> bits) + 2):
            if span not in self._was_cached:
                self._was_cached.setdefault(span, self._lies_in_cache(span))

    def _lies_in_cache(self, span: int) -> bool:
        """Where the kernel cannot tell, no."""
        step, size = (1 << self._span_bits) // _SAMPLES, 1 << _SAMPLE_BITS
        at = (span << self._span_bits) + step // 2
        shares = [linux.cached_share(self._fd, at + n * step, size) or 0.0 for n in range(_SAMPLES)]
        return sum(shares) > _CACHED_SHARE * _SAMPLES

    def fileno(self) -> int:
        """The descriptor, for those who can move its bytes without reading them."""
        if not self._keep_cache:
            self._ask(0, self.size_bytes)
        return self._fd

    def identity_now(self) -> dict[str, Any] | None:
        return identity_of(self._fd) or self.traits.identity

    def close(self) -> None:
        """Lets go what the kernel read ahead of us into spans that we never came to."""
        for span, cached in self._was_cached.items():
            if not cached:
                linux.let_go(self._fd, span << self._span_bits, 1 << self._span_bits)
        os.close(self._fd)
