"""Writing all of something at an offset, and making it durable, or saying why not."""

from __future__ import annotations

import errno
import os

from holdfast.disks.errors import NoSpaceLeft, WriteFailed

__all__ = ["sync_data", "write_failure", "write_fully"]


def write_failure(name: str, offset: int, size: int, exc: OSError) -> WriteFailed:
    """The typed error for a write of `size` bytes that failed."""
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpaceLeft(name=name, offset=offset, size_bytes=size)
    return WriteFailed(name=name, offset=offset, size_bytes=size, problem=str(exc))


def write_fully(fd: int, name: str, offset: int, data: memoryview | bytes) -> None:
    """pwrite until all is taken: a file system that becomes full takes a part first. Raises WriteFailed."""
    at, size = 0, len(data)
    while at < size:
        try:
            at += os.pwrite(fd, data[at:] if at else data, offset + at)
        except OSError as exc:
            raise write_failure(name, offset + at, size - at, exc) from exc


def sync_data(fd: int, name: str, size_bytes: int) -> None:
    """Return when what was written to the file, of so many bytes, is durable. Raises WriteFailed."""
    try:
        os.fdatasync(fd)
    except OSError as exc:
        raise write_failure(name, 0, size_bytes, exc) from exc
