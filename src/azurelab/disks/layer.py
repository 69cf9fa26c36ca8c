"""One layer of a disk: a sparse data file and a sparse map file with one byte per page (`pages.Kind`).

Files appear with the first write, so a thousand snapshots without writes cost nothing. A page's bytes lie in the data
file at the page's own offset on the disk. Order makes it crash safe: bytes first, then the map says DATA; a clear says
ZERO in the map first, then gives the space back. A process killed in between leaves the page as it was before or after.
Both files are written through the page cache, so what a write acknowledged survives kill -9; `sync` makes it survive
the host.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from azurelab.disks.pages import CHUNK_PAGES, PAGE, Kind, States

__all__ = ["Layer", "LayerGone"]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
_KEEP_SIZE_AND_PUNCH_HOLE = 0x01 | 0x02


class LayerGone(Exception):
    """The layer was deleted or merged away while somebody read through an older stack: read again."""


class _Files:
    """Open descriptors of one layer; closed when the last user lets go of the object."""

    __slots__ = ("data", "map")

    def __init__(self, data_path: Path, map_path: Path, *, create: bool) -> None:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        self.map = os.open(map_path, flags, 0o600)
        try:
            self.data = os.open(data_path, flags, 0o600)
        except OSError:
            os.close(self.map)
            raise

    def __del__(self) -> None:
        for fd in (getattr(self, "map", None), getattr(self, "data", None)):
            if fd is not None:
                os.close(fd)


class Layer:
    """Page states and bytes of one layer. Writers hold the volume's lock; readers need none."""

    def __init__(self, folder: Path, layer_id: str, on_open: Callable[[Layer], None] = lambda _: None) -> None:
        self.id = layer_id
        self._data_path = folder / f"{layer_id}.data"
        self._map_path = folder / f"{layer_id}.map"
        self._on_open = on_open  # tells the store, which limits how many layers are open at once
        self._files: _Files | None = None
        self._opening = threading.Lock()
        self._gone = False
        self._exists = self._map_path.exists() and self._data_path.exists()
        self._syncing = threading.Lock()
        self._changes = 0  # writes and clears done
        self._synced = 0  # of them, how many the host's disk holds
        self._entry_synced = self._exists

    @property
    def is_empty(self) -> bool:
        """True while nothing was ever written: the layer has no files."""
        return not self._exists

    # -- files ---------------------------------------------------------------------------------------------------------

    def _open(self, *, create: bool = False) -> _Files | None:
        files = self._files
        if files is not None:
            return files
        with self._opening:
            if self._gone:
                raise LayerGone(self.id)
            if self._files is None and (self._exists or create):
                self._files = _Files(self._data_path, self._map_path, create=create)
                self._exists = True
            files = self._files
        if files is not None:
            self._on_open(self)  # outside the lock: it may close this or another layer
        return files

    def close(self) -> None:
        """Let go of the descriptors; they come back by themselves with the next use."""
        with self._opening:
            self._files = None

    @property
    def is_open(self) -> bool:
        return self._files is not None

    def delete(self) -> None:
        """Remove the files. Whoever still holds descriptors reads on; others get `LayerGone`."""
        with self._opening:
            self._gone = True
            self._files = None
            self._map_path.unlink(missing_ok=True)
            self._data_path.unlink(missing_ok=True)

    def sync(self) -> None:
        """Everything written before this call survives a crash of the host. Bytes before the map that names them."""
        files = self._open()
        if files is None:
            return
        with self._syncing:  # a second caller waits: its writes may be among those that the first one is syncing
            changes = self._changes
            if changes == self._synced:
                return
            os.fdatasync(files.data)
            os.fdatasync(files.map)
            if not self._entry_synced:
                self._sync_folder()
                self._entry_synced = True
            self._synced = changes

    @property
    def unsynced(self) -> bool:
        """Something was written that the host's disk may not hold yet."""
        return self._changes != self._synced

    def _sync_folder(self) -> None:
        folder = os.open(self._map_path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def allocated_bytes(self) -> int:
        files = self._open()
        return 0 if files is None else os.fstat(files.data).st_blocks * 512

    # -- reading -------------------------------------------------------------------------------------------------------

    def states(self, first_page: int, end_page: int) -> States | None:
        """States of the pages, or None if all are UNSET for sure."""
        files = self._open()
        if files is None:
            return None
        raw = os.pread(files.map, end_page - first_page, first_page)
        if len(raw) < end_page - first_page:
            raw = raw.ljust(end_page - first_page, b"\0")
        return np.frombuffer(raw, dtype=np.uint8)

    def touched_chunks(self, first_chunk: int, end_chunk: int) -> list[int]:
        """Chunks (of `CHUNK_PAGES`) within the range that may hold a set page, by the holes of the map file."""
        files = self._open()
        if files is None:
            return []
        chunks: list[int] = []
        position, limit = first_chunk * CHUNK_PAGES, end_chunk * CHUNK_PAGES
        while position < limit:
            try:
                start = os.lseek(files.map, position, os.SEEK_DATA)
            except OSError:  # ENXIO: only hole up to the end
                break
            end = os.lseek(files.map, start, os.SEEK_HOLE)
            first = max(start, position) // CHUNK_PAGES
            last = min(-(-end // CHUNK_PAGES), end_chunk)
            chunks.extend(range(first, last))
            position = max(end, last * CHUNK_PAGES)
        return chunks

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` with this layer's bytes at `offset`; meaningful where the map says DATA."""
        files = self._open()
        if files is None:
            raise LayerGone(self.id)
        done = 0
        while done < len(buffer):
            got = os.preadv(files.data, [buffer[done:]], offset + done)
            if got == 0:  # past the end of a file whose tail page was written short: reads as zeros
                buffer[done:] = bytes(len(buffer) - done)
                return
            done += got

    # -- writing -------------------------------------------------------------------------------------------------------

    def write_pages(self, first_page: int, data: bytes | bytearray | memoryview) -> None:
        """Write whole pages (the last may be the short tail of the disk) and mark them DATA."""
        self.write_within(first_page * PAGE, data)
        files = self._open(create=True)
        assert files is not None
        pages = -(-len(data) // PAGE)
        os.pwrite(files.map, bytes([Kind.DATA]) * pages, first_page)
        self._changes += 1  # once more than for the bytes: a sync that ran in between has not seen the map

    def write_within(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Overwrite bytes of pages that are DATA here already; the map does not change."""
        files = self._open(create=True)
        assert files is not None
        view = memoryview(data)
        done = 0
        while done < len(view):
            done += os.pwrite(files.data, view[done:], offset + done)
        self._changes += 1

    def clear_pages(self, first_page: int, end_page: int) -> None:
        """Mark whole pages ZERO and give their space back."""
        files = self._open(create=True)
        assert files is not None
        step = 1 << 20  # a clear of a whole large disk writes its map in pieces of 1 MiB (4 GiB of disk)
        for start in range(first_page, end_page, step):
            os.pwrite(files.map, bytes([Kind.ZERO]) * (min(start + step, end_page) - start), start)
        self._changes += 1
        # Best effort: a file system without holes keeps the stale bytes, and the map says that nobody reads them.
        _libc.fallocate(files.data, _KEEP_SIZE_AND_PUNCH_HOLE, first_page * PAGE, (end_page - first_page) * PAGE)
