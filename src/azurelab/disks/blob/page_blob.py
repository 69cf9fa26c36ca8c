"""A volume as a page blob: the disk's bytes, then a VHD footer of 512 bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Protocol

from azurelab.disks.catalogue import Catalogue
from azurelab.disks.changes import changed_extents
from azurelab.disks.pages import SECTOR, Extent, Kind, merged
from azurelab.disks.vhd import FOOTER_BYTES, make_footer
from azurelab.disks.volume import Volume

__all__ = ["Footers", "PageBlob", "UploadFooters"]

# Distinguishes the etags of writable blobs between two lives of the process, in which generations start at 0.
_LIFE = os.urandom(6)


class Footers(Protocol):
    """Where the footer of an upload is kept until it is validated."""

    def get(self, volume_id: str) -> bytes | None: ...

    def put(self, volume_id: str, footer: bytes) -> None: ...


class UploadFooters:
    """Footers of uploads in the store's catalogue. None: nothing was written there."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def get(self, volume_id: str) -> bytes | None:
        rows = self._catalogue.query("select footer from footers where volume = ?", (volume_id,))
        return bytes(rows[0][0]) if rows else None  # type: ignore[call-overload]

    def put(self, volume_id: str, footer: bytes) -> None:
        with self._catalogue.change() as db:
            db.execute("insert or replace into footers (volume, footer) values (?, ?)", (volume_id, footer))

    def drop(self, volume_id: str) -> None:
        with self._catalogue.change() as db:
            db.execute("delete from footers where volume = ?", (volume_id,))


class PageBlob:
    """`footers` given: an upload, whose footer the client writes. Else the footer is made from the size."""

    def __init__(self, volume: Volume, footers: Footers | None) -> None:
        self.volume = volume
        self._footers = footers
        self.disk_bytes = volume.size_bytes
        self.size_bytes = volume.size_bytes + FOOTER_BYTES

    @property
    def etag(self) -> str:
        """Changes with the content; stable across restarts for what cannot change."""
        key = self.volume.id.encode()
        if self.volume.writable:
            key += _LIFE + self.volume.generation.to_bytes(8, "big") + self._footer()[:80]
        return f'"0x8D{hashlib.sha256(key).hexdigest()[:13].upper()}"'

    def _footer(self) -> bytes:
        if self._footers is None:
            return make_footer(self.disk_bytes)
        return self._footers.get(self.volume.id) or bytes(FOOTER_BYTES)

    def read(self, start: int, end: int) -> bytearray:
        buffer = bytearray(end - start)
        disk_end = min(end, self.disk_bytes)
        if start < disk_end:
            self.volume.read_into(memoryview(buffer)[: disk_end - start], start)
        if end > self.disk_bytes:
            low = max(start, self.disk_bytes)
            buffer[low - start :] = self._footer()[low - self.disk_bytes : end - self.disk_bytes]
        return buffer

    def write(self, start: int, data: bytes | bytearray, allowed: Callable[[], object]) -> None:
        """Whole sectors; the last one is the footer. `allowed` is asked at the last moment and raises if not."""
        with self.volume.lock:
            allowed()
            self._write(start, memoryview(data))

    def _write(self, start: int, view: memoryview) -> None:
        within = max(min(start + len(view), self.disk_bytes) - start, 0)
        if within:
            self.volume.write(start, view[:within])
        if within < len(view):
            self._put_footer(bytes(view[within:]))

    def clear(self, start: int, end: int, allowed: Callable[[], object]) -> None:
        with self.volume.lock:
            allowed()
            disk_end = min(end, self.disk_bytes)
            if start < disk_end:
                self.volume.clear(start, disk_end - start)
            if end > self.disk_bytes:
                self._put_footer(bytes(FOOTER_BYTES))

    def _put_footer(self, footer: bytes) -> None:
        assert self._footers is not None
        assert len(footer) == FOOTER_BYTES == SECTOR
        self._footers.put(self.volume.id, footer)

    def extents(self, start: int, end: int) -> Iterator[Extent]:
        """Written ranges within `[start, end)`, the footer among them."""
        return merged(self._extents(start, end))

    def _extents(self, start: int, end: int) -> Iterator[Extent]:
        yield from self.volume.data_extents(start, min(end, self.disk_bytes))
        if end > self.disk_bytes and start < self.size_bytes and any(self._footer()):
            yield Extent(max(start, self.disk_bytes), min(end, self.size_bytes), Kind.DATA)

    def changes(self, old: PageBlob, start: int, end: int) -> Iterator[Extent]:
        """What makes `old` into this blob, cleared ranges included.

        Where the disk grew between the two, the old footer's place is cleared or overwritten and the new footer is new.
        """
        return merged(self._changes(old, start, end))

    def _changes(self, old: PageBlob, start: int, end: int) -> Iterator[Extent]:
        grown = old.disk_bytes < self.disk_bytes
        was = Extent(old.disk_bytes, old.disk_bytes + FOOTER_BYTES, Kind.ZERO)
        covered = not grown or was.end <= start or was.start >= end
        for extent in changed_extents(self.volume, old.volume, start, min(end, self.disk_bytes)):
            if not covered and extent.end > was.start:
                covered = True
                if extent.start > was.start:
                    yield Extent(max(was.start, start), min(was.end, extent.start, end), Kind.ZERO)
            yield extent
        if not covered:
            yield Extent(max(was.start, start), min(was.end, end), Kind.ZERO)
        if old.disk_bytes != self.disk_bytes and end > self.disk_bytes:
            yield Extent(max(start, self.disk_bytes), min(end, self.size_bytes), Kind.DATA)
