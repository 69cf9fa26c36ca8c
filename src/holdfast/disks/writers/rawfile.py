"""Raw files and block devices as targets, sparse where the file system allows."""

from __future__ import annotations

import os
import stat

from holdfast.core.units import MIB
from holdfast.disks.errors import TargetTooSmall
from holdfast.disks.readers.protocol import Reader
from holdfast.disks.readers.rawfile import RawFileReader
from holdfast.disks.system import linux
from holdfast.disks.system.behind import WriteBehind
from holdfast.disks.system.claims import claim, claim_anew
from holdfast.disks.system.files import size_of
from holdfast.disks.system.naming import give_name
from holdfast.disks.system.writing import sync_data, write_failure, write_fully
from holdfast.disks.writers.protocol import TargetTraits

__all__ = ["RawFileWriter"]

_ZEROS = memoryview(bytes(MIB))


class RawFileWriter:
    """Writes with pwrite, clears with hole punching, and writes back behind itself.

    `path` is where bytes go; `fresh`: into a new file. `final` is the name that the file gets when it is complete; with
    `overwrite` even if another has it by then. None: it has its name.
    A `trailer` (a VHD footer) follows the disk's bytes and is written by `finish`.
    """

    def __init__(
        self,
        path: str,
        size_bytes: int,
        *,
        fresh: bool,
        final: str | None = None,
        overwrite: bool = True,
        trailer: bytes = b"",
    ) -> None:
        self.path, self._final, self._overwrite, self._trailer = path, final, overwrite, trailer
        self._fd = claim_anew(path) if fresh else claim(path)
        try:
            status = os.fstat(self._fd)
            self._regular = stat.S_ISREG(status.st_mode)
            if self._regular:
                os.ftruncate(self._fd, size_bytes + len(trailer))
                self._block_bytes = status.st_blksize
            else:
                actual = size_of(self._fd)
                if actual < size_bytes:
                    raise TargetTooSmall(name=path, actual_bytes=actual, needed_bytes=size_bytes)
                size_bytes = actual
                self._block_bytes = 4096
        except BaseException:
            os.close(self._fd)
            raise
        self.size_bytes = size_bytes
        lanes = min(4, os.cpu_count() or 2)
        self.traits = TargetTraits(name=final or path, reads_zero=fresh and self._regular, lanes=lanes, forks=True)
        self._behind = WriteBehind(self._fd)

    def end_at(self, size_bytes: int, trailer: bytes) -> None:
        """Say where the disk ends, when that was not known before all of it was written."""
        self.size_bytes, self._trailer = size_bytes, trailer
        try:
            os.ftruncate(self._fd, size_bytes + len(trailer))
        except OSError as exc:
            raise write_failure(self.path, size_bytes, len(trailer), exc) from exc

    def write(self, offset: int, data: memoryview) -> None:
        write_fully(self._fd, self.path, offset, data)
        self._behind.wrote(offset, len(data))

    def wrote_elsewhere(self, size_bytes: int) -> None:
        self._behind.wrote_elsewhere(size_bytes)

    def write_zeros(self, offset: int, size_bytes: int) -> None:
        """Punch whole blocks and write the ragged edges, which hole punching may not free but always clears."""
        try:
            if self._regular:
                if linux.punch_hole(self._fd, offset, size_bytes):
                    return
            elif (
                offset % 512 == 0
                and size_bytes % 512 == 0
                and (linux.punch_hole(self._fd, offset, size_bytes) or linux.zero_range(self._fd, offset, size_bytes))
            ):
                return
        except OSError as exc:
            raise write_failure(self.path, offset, size_bytes, exc) from exc
        at, end = offset, offset + size_bytes
        while at < end:
            count = min(end - at, len(_ZEROS))
            write_fully(self._fd, self.path, at, _ZEROS[:count])
            self._behind.wrote(at, count)
            at += count

    def done_with(self, start: int, end: int) -> None:
        """Its pages are on their way out of memory."""
        self._behind.done(start, end)

    def flush(self) -> None:
        sync_data(self._fd, self.path, self.size_bytes)

    def read_back(self) -> Reader:
        """The device answers, not the cache: what is written is synced and dropped first."""
        self.flush()
        linux.let_go(self._fd, 0, self.size_bytes)
        return RawFileReader(self.path, locked=False, size_bytes=self.size_bytes)

    def finish(self) -> None:
        synced = False
        try:
            if self._trailer:
                write_fully(self._fd, self.path, self.size_bytes, memoryview(self._trailer))
            os.fsync(self._fd)
            synced = True
            if self._final is not None:
                give_name(self.path, self._final, overwrite=self._overwrite)  # while nobody else can claim it
        except OSError as exc:
            raise write_failure(self.path, 0, self.size_bytes, exc) from exc
        finally:
            self._close(synced=synced)

    def abandon(self) -> None:
        self._close(synced=False)

    def _close(self, *, synced: bool) -> None:
        self._behind.close(synced=synced)
        os.close(self._fd)
