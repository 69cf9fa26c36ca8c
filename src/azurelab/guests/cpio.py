"""The newc cpio format of the kernel's initrd; times and owners are fixed, so that equal input gives equal bytes.

Source: Documentation/driver-api/early-userspace/buffer-format.rst of the Linux kernel.
"""

from __future__ import annotations

import gzip
import io
import stat
from dataclasses import dataclass

__all__ = ["Entry", "archive", "compressed"]


@dataclass(frozen=True)
class Entry:
    """One file: `mode` carries type and permissions (stat.S_IF…); `device` is (major, minor) of a device node."""

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)

    @classmethod
    def folder(cls, path: str) -> Entry:
        return cls(path, stat.S_IFDIR | 0o755)

    @classmethod
    def file(cls, path: str, data: bytes, permissions: int = 0o644) -> Entry:
        return cls(path, stat.S_IFREG | permissions, data)

    @classmethod
    def link(cls, path: str, target: str) -> Entry:
        return cls(path, stat.S_IFLNK | 0o777, target.encode())

    @classmethod
    def character_device(cls, path: str, major: int, minor: int) -> Entry:
        return cls(path, stat.S_IFCHR | 0o600, b"", (major, minor))


def archive(entries: list[Entry]) -> bytes:
    """The entries in the given order, then the trailer; every header and body padded to 4 bytes."""
    out = io.BytesIO()
    for inode, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.path.encode() + b"\0"
        links = 2 if stat.S_ISDIR(entry.mode) else 1
        fields = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
        out.write(b"070701" + b"".join(b"%08X" % field for field in fields) + name)
        out.write(b"\0" * (-out.tell() % 4))
        out.write(entry.data)
        out.write(b"\0" * (-out.tell() % 4))
    return out.getvalue()


def compressed(entries: list[Entry]) -> bytes:
    """The archive, gzipped with a fixed time."""
    return gzip.compress(archive(entries), compresslevel=6, mtime=0)
