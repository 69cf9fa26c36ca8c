"""A plain local qcow2, read by the host offsets of its clusters: no server between us and the file.

Only for images that inspection accepted and whose every data cluster lies whole in the file, uncompressed and used
once; writers are locked out while we read. All others are read through a caged qemu-nbd.
"""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterator
from typing import Any

from holdfast.disks.formats.qcow2_header import Qcow2Map, parse
from holdfast.disks.intake.inspecting import FileBytes
from holdfast.disks.model.extents import Extent
from holdfast.disks.readers.protocol import SourceTraits
from holdfast.disks.readers.rawfile import RawFileReader
from holdfast.disks.system.files import identity_of, lock_for_reading, opened, size_of
from holdfast.disks.system.holes import hole_map

__all__ = ["Qcow2FileReader", "open_plain_qcow2"]


class Qcow2FileReader:
    """Guest offsets are looked up in runs held for the 512 MiB around the last question.

    Every data cluster was in the file when it was opened; one that no longer is raises ReadFailed.
    """

    def __init__(self, path: str, fd: int, source: FileBytes, mapping: Qcow2Map, size_bytes: int) -> None:
        self._fd, self._source, self._map = fd, source, mapping
        self._raw = RawFileReader(path, locked=False)  # knows which pages were in the cache before we came
        self.path, self.size_bytes = path, size_bytes
        self.traits = SourceTraits(name=path, lanes=min(4, os.cpu_count() or 2), identity=identity_of(fd))
        self._held: dict[int, tuple[list[int], list[tuple[Extent, int]]]] = {}

    _SPAN = 512 * 1024 * 1024

    def extents(self, start: int, end: int) -> Iterator[Extent]:
        for extent, host in self._map.runs(start, min(end, self.size_bytes)):
            stop = min(extent.end, self.size_bytes)
            host_end = host + stop - extent.start
            if host_end > size_of(self._fd):  # cut since it was opened: past the end is no hole, reading it must fail
                yield Extent(extent.start, stop)
                continue
            for part in hole_map(self._fd, host, host_end):  # a preallocated cluster may be a hole
                yield Extent(extent.start + part.start - host, extent.start + part.end - host)

    def _runs(self, span: int) -> tuple[list[int], list[tuple[Extent, int]]]:
        found = self._held.get(span)
        if found is None:
            runs = list(self._map.runs(span * self._SPAN, min((span + 1) * self._SPAN, self.size_bytes)))
            found = ([extent.start for extent, _ in runs], runs)
            if len(self._held) >= 4:
                self._held.pop(next(iter(self._held)), None)
            self._held[span] = found
        return found

    def read_into(self, offset: int, buffer: memoryview) -> None:
        for at, stop, host in self._parts(offset, offset + len(buffer)):
            part = buffer[at - offset : stop - offset]
            if host is None:
                part[:] = bytes(len(part))
            else:
                self._raw.read_into(host, part)

    def _parts(self, start: int, end: int) -> Iterator[tuple[int, int, int | None]]:
        """[start, end) cut into (from, to, host offset or None for zeros)."""
        at = start
        while at < end:
            span = at // self._SPAN
            starts, runs = self._runs(span)
            limit = min(end, (span + 1) * self._SPAN)
            index = bisect.bisect_right(starts, at) - 1
            if index >= 0 and runs[index][0].end > at:
                extent, host = runs[index]
                stop = min(extent.end, limit)
                yield at, stop, host + at - extent.start
            else:
                stop = min(starts[index + 1], limit) if index + 1 < len(starts) else limit
                yield at, stop, None
            at = stop

    def done_with(self, start: int, end: int) -> None:
        for at, stop, host in self._parts(start, end):
            if host is not None:
                self._raw.done_with(host, host + stop - at)

    def identity_now(self) -> dict[str, Any] | None:
        return identity_of(self._fd)

    def close(self) -> None:
        self._raw.close()
        os.close(self._fd)
        self._source.close()


def open_plain_qcow2(path: str, *, locked: bool = True) -> Qcow2FileReader | None:
    """A reader if the image is plain; None if QEMU must read it. The caller has had it inspected."""
    fd = opened(path, os.O_RDONLY)
    source = None
    try:
        if locked:
            lock_for_reading(fd, path)
        source = FileBytes(path)
        header = parse(source)
        if header is not None:
            mapping = Qcow2Map(source, header)
            if mapping.plain():
                return Qcow2FileReader(path, fd, source, mapping, header.size_bytes)
    except BaseException:
        os.close(fd)
        raise
    source.close()
    os.close(fd)
    return None
