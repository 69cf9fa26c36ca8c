"""Which file or device a run writes to: a list that a run has left unfinished is true of that one alone."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from pathlib import Path
from typing import Any

__all__ = ["binding_of", "same_binding"]

_FS_IOC_GETVERSION = 0x80087601  # <linux/fs.h>, on machines of 64 bits


def binding_of(path: str, name: str | None = None) -> dict[str, Any] | None:
    """What to know a file or device by; None where there is none. `name`: the path that the user gave, if another."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(fd)
        known = {"name": str(Path(name or path).absolute())}
        if stat.S_ISBLK(status.st_mode):
            return {**known, "number": status.st_rdev}
        return {**known, "device": status.st_dev, "inode": status.st_ino, "generation": _generation(fd)}
    finally:
        os.close(fd)


def _generation(fd: int) -> int | None:
    """What tells a file from an older one that had the same inode number; None where the file system does not say."""
    try:
        return int.from_bytes(fcntl.ioctl(fd, _FS_IOC_GETVERSION, bytes(8)), sys.byteorder)
    except OSError:
        return None


def same_binding(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """A file keeps its inode under any name, a device its number; after a restart of the machine the numbers of
    devices, also of those that files lie on, may be others, and the name must do."""
    if "number" in one or "number" in other:
        return one["name"] == other["name"] or one.get("number") == other.get("number")
    if any(one[what] != other[what] for what in ("inode", "generation")):
        return False
    return bool(one["device"] == other["device"] or one["name"] == other["name"])
