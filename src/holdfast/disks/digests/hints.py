"""Hints: a second, faster digest of each chunk, beside a list, that spares most of BLAKE3 where nothing changed.

`LIST.hints` holds for each chunk its *tag* XOR its entry in the list. The tag is GMAC (AES-GCM over no text, with the
chunk as associated data) under a random key of this file: two different chunks have the same tag with a probability
below 2^-115, whoever wrote them, as long as he does not know the key. A chunk whose tag is the one that the hint and
the list's entry give together is as the list says; for all others BLAKE3 decides.

A hint is bound to the entry that it was made with. One that is missing, torn, older or younger than the list, or of
another list, gives a tag that no chunk has: it costs a BLAKE3 and is never believed. So nothing here is synced or
ordered, and the file may be deleted at any time. Argued in `docs/decisions/0021-two-digests.md`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from functools import partial

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.disks.model.chunks import ENTRY_BYTES, PAGE_BYTES

__all__ = ["Hints", "hints_path"]

_MAGIC = b"HFHINTS1"
_KEY_BYTES = 16
_HEAD_BYTES = len(_MAGIC) + 4 + _KEY_BYTES
_SPARE_BYTES = 1024 * 1024
_NONCE = bytes(12)  # one for all: the tags are compared with each other, and are as secret as the key beside them


def hints_path(path: str) -> str:
    """Where the hints of the list at `path` lie."""
    return path + ".hints"


def _xor(one: bytes | bytearray, other: bytes | bytearray) -> bytes:
    """Of two strings of the same length."""
    return (int.from_bytes(one, "little") ^ int.from_bytes(other, "little")).to_bytes(len(one), "little")


class Hints:
    """One open file of hints. Pages are those of the list: 256 chunks each. Several threads may use it at once."""

    def __init__(self, path: str, chunk_bytes: int) -> None:
        """Open the hints at `path`; damaged ones, those that others may read, and those about chunks of another size
        are begun anew.

        Raises OSError, also where something lies there that is not ours: nothing of a user's is ever overwritten.
        """
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            status, head = os.fstat(self._fd), os.pread(self._fd, PAGE_BYTES, 0)
            begun = status.st_size <= PAGE_BYTES and not any(head)  # by us, and never written
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                raise OSError(errno.EEXIST, "not a file of ours", path)
            if not begun and not head.startswith(_MAGIC):
                raise OSError(errno.EEXIST, "not a file of hints", path)
            key = _key_in(head, chunk_bytes) if not status.st_mode & 0o077 else None
            if key is None:
                key = os.urandom(_KEY_BYTES)
                new = _MAGIC + chunk_bytes.to_bytes(4, "little") + key
                os.fchmod(self._fd, 0o600)
                os.ftruncate(self._fd, 0)
                os.pwrite(self._fd, (new + blake3(new).digest(ENTRY_BYTES)).ljust(PAGE_BYTES, b"\0"), 0)
                os.fsync(self._fd)  # so that after a power cut the head says whose the pages behind it are
        except BaseException:
            os.close(self._fd)
            raise
        # tag(chunk): 16 bytes that two different chunks share but by an accident of 2^-115
        self.tag: Callable[[memoryview], bytes] = partial(AESGCM(key).encrypt, _NONCE, b"")
        self.problem: str | None = None  # why hints are no longer written

    def expected(self, window: int, entries: bytes) -> bytes:
        """The tags that the window's chunks have if they are as `entries`, its page of the list, says."""
        return _xor(self.page(window), entries)

    def page(self, window: int) -> bytes:
        """What is stored; zeros, which vouch for nothing, where nothing is or it cannot be read."""
        try:
            return os.pread(self._fd, PAGE_BYTES, PAGE_BYTES * (1 + window)).ljust(PAGE_BYTES, b"\0")
        except OSError as exc:
            self.problem = str(exc)
            return bytes(PAGE_BYTES)

    def require_room(self, windows: int) -> None:
        """Raises OSError where the file system could become too full for the list itself; gives back what is held."""
        room, status = os.fstatvfs(self._fd), os.fstat(self._fd)
        wanted = PAGE_BYTES * (1 + windows) - status.st_blocks * 512
        if room.f_bavail * room.f_frsize < 2 * max(0, wanted) + _SPARE_BYTES:
            os.ftruncate(self._fd, 0)
            raise OSError(errno.ENOSPC, "too little room beside the list")

    def put(self, window: int, tags: bytes | bytearray, entries: bytes | bytearray) -> None:
        """Keep for the next run which tags go with which entries: both of the same bytes, both zero for zeros.

        Where that fails, this and all further pages are left out: see `problem`.
        """
        if self.problem is not None:
            return
        try:
            os.pwrite(self._fd, _xor(tags, entries), PAGE_BYTES * (1 + window))
        except OSError as exc:
            self.problem = str(exc)

    def close(self) -> None:
        """A thread that is late finds nothing to write to, not a file that got the same number."""
        fd, self._fd = self._fd, -1
        os.close(fd)


def _key_in(head: bytes, chunk_bytes: int) -> bytes | None:
    body, check = head[:_HEAD_BYTES], head[_HEAD_BYTES : _HEAD_BYTES + ENTRY_BYTES]
    if not body.startswith(_MAGIC + chunk_bytes.to_bytes(4, "little")) or blake3(body).digest(ENTRY_BYTES) != check:
        return None
    return body[-_KEY_BYTES:]
