"""What a run writes to: a list that a run has left unfinished is true of that one target alone, in that format."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from pathlib import Path
from typing import Any

from holdfast.disks.model.locator import Locator

__all__ = ["binding_of", "same_binding"]

_FS_IOC_GETVERSION = 0x80087601  # <linux/fs.h>, on machines of 64 bits
_NUMBERS = ("inode", "generation")


def binding_of(target: Locator, format_: str, path: str | None = None) -> dict[str, Any] | None:
    """What to know a target by; None where there is no such file. `path`: the name that it has until it is complete.

    A URL is known without its query, in which it has its secret; so that of one disk may change.
    """
    if target.is_url:
        return {"format": format_, "name": target.name}
    try:
        fd = os.open(path or target.address, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(fd)
        known = {"format": format_, "name": str(Path(target.address).absolute())}
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
    if one["format"] != other["format"] or any(one.get(what) != other.get(what) for what in _NUMBERS):
        return False
    same_number = any(what in one and one[what] == other.get(what) for what in ("device", "number"))
    return same_number or bool(one["name"] == other["name"])
