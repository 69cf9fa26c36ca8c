"""Where a file or device has data: what its file system says, and whether anything of it is not zero."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from holdfast.disks.model.extents import Extent
from holdfast.disks.system.buffers import Buffer
from holdfast.disks.system.files import size_of
from holdfast.disks.system.linux import is_zero

__all__ = ["holds_data", "hole_map"]

_READ_BYTES = 1024 * 1024


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


def holds_data(path: str) -> bool:
    """Whether a file or device holds anything but zeros. A large device is looked at until the first byte of data."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        buffer = Buffer(_READ_BYTES)
        for extent in hole_map(fd, 0, size_of(fd)):
            at = extent.start
            while at < extent.end:
                count = os.preadv(fd, [buffer.view[: min(buffer.size, extent.end - at)]], at)
                if count <= 0:
                    return True
                if not is_zero(buffer.address, count):
                    return True
                at += count
        return False
    finally:
        os.close(fd)
