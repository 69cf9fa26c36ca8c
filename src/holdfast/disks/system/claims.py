"""Claiming a file for one writer: opened, locked, and still under its name after that.

Whoever waits for a lock may get it when the file that he opened has another name by then, or none: it was finished, or
thrown away, by the one who had the lock.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from holdfast.disks.errors import DiskNotFound, TargetInUse
from holdfast.disks.system.files import is_device, lock_for_writing, opened
from holdfast.disks.system.writing import write_failure

__all__ = ["Lock", "claim", "claim_anew", "locked_at"]

Lock = Callable[[int, str], None]  # of a descriptor and the name to tell; raises TargetInUse


def claim(path: str, lock: Lock = lock_for_writing) -> int:
    """A descriptor of a file or device that is there and that nobody else writes to. Raises DiskNotFound, TargetInUse,
    WriteFailed."""
    # a block device that is opened so is refused if anything is mounted from it, in whatever namespace
    flags = os.O_RDWR | (os.O_EXCL if is_device(path) else 0)
    while True:
        try:
            fd = opened(path, flags)
        except OSError as exc:
            if exc.errno == errno.EBUSY:
                raise TargetInUse(name=path, problem="it is mounted, or another device is built on it") from exc
            raise write_failure(path, 0, 0, exc) from exc
        if locked_at(fd, path, lock):
            return fd


def claim_anew(path: str, lock: Lock = lock_for_writing) -> int:
    """A descriptor of a new, empty file. What somebody has left there who has ended is thrown away: emptied, it would
    still be the file that his list knows. Raises TargetInUse, WriteFailed."""
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            _throw_away(path)
        except OSError as exc:
            raise write_failure(path, 0, 0, exc) from exc
        else:
            if locked_at(fd, path, lock):
                return fd


def _throw_away(path: str) -> None:
    try:
        fd = claim(path)
    except DiskNotFound:
        fd = -1  # it is gone, or a link to nothing
    try:
        Path(path).unlink(missing_ok=True)
    finally:
        if fd >= 0:
            os.close(fd)


def locked_at(fd: int, path: str, lock: Lock) -> bool:
    """Lock an open file. False, and closed, if it has lost its name meanwhile."""
    try:
        lock(fd, path)
        with suppress(FileNotFoundError):
            here, there = os.fstat(fd), Path(path).stat()
            if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                return True
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return False
