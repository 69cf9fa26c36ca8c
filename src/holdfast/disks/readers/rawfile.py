"""Raw files and block devices: the disk's bytes as they lie."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any

from holdfast.disks.errors import ReadFailed
from holdfast.disks.model.extents import Extent
from holdfast.disks.readers.protocol import SourceTraits
from holdfast.disks.system import linux
from holdfast.disks.system.files import identity_of, lock_for_reading, opened, size_of

__all__ = ["RawFileReader", "hole_map", "read_fully"]


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


def hole_map(fd: int, start: int, end: int) -> Iterator[Extent]:
    """Data extents by SEEK_DATA/SEEK_HOLE; where a file system knows no holes, all is one extent of data."""
    at = start
    while at < end:
        try:
            data = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno == errno.ENXIO:  # nothing but a hole until the end
                return
            if exc.errno in (errno.EINVAL, errno.EOPNOTSUPP):
                yield Extent(at, end)
                return
            raise
        if data >= end:
            return
        hole = os.lseek(fd, data, os.SEEK_HOLE)
        yield Extent(data, min(hole, end))
        at = hole


class RawFileReader:
    """Reads with preadv into the caller's buffers and lets cached pages go behind it.

    Pages that were in the cache before we came belong to somebody else's working set and stay (Linux 6.5 can tell).
    One descriptor serves all threads: preadv keeps no position, and SEEK_DATA starts where it is told.
    """

    _SPAN_BITS = 24  # the cache is looked at in spans of 16 MiB, once before each is read
    _MOST_SPANS = 64

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
        self.traits = SourceTraits(name=path, lanes=min(4, os.cpu_count() or 2), identity=identity)
        self._keep_cache = keep_cache
        self._was_cached: dict[int, bool] = {}

    def extents(self, start: int, end: int) -> Iterator[Extent]:
        return hole_map(self._fd, start, min(end, self.size_bytes))

    def read_into(self, offset: int, buffer: memoryview) -> None:
        span = offset >> self._SPAN_BITS
        if span not in self._was_cached and not self._keep_cache:
            share = linux.cached_share(self._fd, span << self._SPAN_BITS, 1 << self._SPAN_BITS)
            self._was_cached[span] = share is not None and share > 0.25
            self._forget_before(span - self._MOST_SPANS)
        read_fully(self._fd, self.path, offset, buffer)

    def _forget_before(self, span: int) -> None:
        """Spans far behind will not be asked about again."""
        if len(self._was_cached) > 2 * self._MOST_SPANS:
            for old in [s for s in list(self._was_cached) if s < span]:
                self._was_cached.pop(old, None)

    def done_with(self, start: int, end: int) -> None:
        """Only spans that were read and had not been cached before are let go."""
        if self._keep_cache:
            return
        for span, cached in list(self._was_cached.items()):
            begin, stop = max(start, span << self._SPAN_BITS), min(end, span + 1 << self._SPAN_BITS)
            if begin < stop and not cached:
                linux.let_go(self._fd, begin, stop - begin)

    def fileno(self) -> int:
        """The descriptor, for those who can move its bytes without reading them."""
        return self._fd

    def identity_now(self) -> dict[str, Any] | None:
        return identity_of(self._fd) or self.traits.identity

    def close(self) -> None:
        os.close(self._fd)
