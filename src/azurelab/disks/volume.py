"""A volume: the bytes of one disk or snapshot, as a stack of frozen layers with, if it can be written, one on top.

Offsets and lengths are multiples of 512. Reads need no lock; writes, clears, freezing and growing take turns, so that a
snapshot is one moment also while a guest writes.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator

import numpy as np

from azurelab.disks.errors import OutOfRange, ReadOnly
from azurelab.disks.layer import Layer, LayerGone
from azurelab.disks.pages import CHUNK_PAGES, PAGE, SECTOR, Extent, Kind, merged, page_span, runs
from azurelab.disks.stack import FrozenStack, read_through

__all__ = ["Volume", "through_changes"]

# Bytes per read while hashing: big enough that Python is not the limit, small enough for 200 volumes at once.
_DIGEST_STEP = 4 << 20


def through_changes(
    listing: Callable[[int], Iterator[Extent]], start: int, shape: Callable[[], object]
) -> Iterator[Extent]:
    """List from `start`; where a layer goes while stacks are shortened, go on from there through the new stack.

    `shape` tells whether the stacks have changed: if not, the volume itself was deleted and `LayerGone` goes out.
    """
    position = start
    while True:
        seen = shape()
        try:
            for extent in listing(position):
                yield extent
                position = extent.end
        except LayerGone:
            if shape() == seen:
                raise
            continue
        return


class Volume:
    """Made by `DiskStore` only. `on_flush` makes the store's own records durable before a flush is acknowledged."""

    def __init__(
        self,
        volume_id: str,
        size_bytes: int,
        frozen: FrozenStack,
        top: Layer | None,
        on_flush: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        self.id = volume_id
        self.lock = threading.RLock()
        self._size_bytes = size_bytes
        self._shape: tuple[FrozenStack, Layer | None] = (frozen, top)
        self._on_flush = on_flush
        self._now = now
        self.written_at = 0.0  # of this process's life; a reader after a restart sees the time of creation
        self.generation = 0  # grows with every change of content while this process lives

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    @property
    def writable(self) -> bool:
        return self._shape[1] is not None

    @property
    def frozen(self) -> FrozenStack:
        return self._shape[0]

    @property
    def top(self) -> Layer | None:
        return self._shape[1]

    @property
    def layers(self) -> tuple[Layer, ...]:
        frozen, top = self._shape
        return frozen.layers if top is None else (*frozen.layers, top)

    # -- called by the store, under `lock` -----------------------------------------------------------------------------

    def reshape(self, frozen: FrozenStack, top: Layer | None) -> None:
        self._shape = (frozen, top)

    def grow(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes

    # -- reading -------------------------------------------------------------------------------------------------------

    def _check(self, offset: int, size_bytes: int) -> None:
        if offset < 0 or size_bytes < 0 or offset % SECTOR or size_bytes % SECTOR:
            raise OutOfRange(f"{size_bytes} bytes at {offset} are not whole sectors of {SECTOR} bytes")
        if offset + size_bytes > self._size_bytes:
            raise OutOfRange(f"{size_bytes} bytes at {offset} end beyond the volume of {self._size_bytes} bytes")

    def read(self, offset: int, size_bytes: int) -> bytearray:
        buffer = bytearray(size_bytes)
        self.read_into(memoryview(buffer), offset)
        return buffer

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Any offset and length inside the volume; only writes must be whole sectors."""
        if offset < 0 or offset + len(buffer) > self._size_bytes:
            raise OutOfRange(f"{len(buffer)} bytes at {offset} end beyond the volume of {self._size_bytes} bytes")
        if not len(buffer):
            return
        while True:
            frozen, top = self._shape
            try:
                read_through(frozen, top, buffer, offset)
            except LayerGone:
                if self._shape == (frozen, top):
                    raise  # the volume itself was deleted
                continue
            return

    def data_extents(self, start: int = 0, end: int | None = None) -> Iterator[Extent]:
        """Byte ranges that hold written pages, sorted and merged, clipped to `[start, end)` and the volume."""
        end = self._size_bytes if end is None else min(end, self._size_bytes)
        return merged(through_changes(lambda at: self._data_extents(at, end), start, lambda: self._shape))

    def _data_extents(self, start: int, end: int) -> Iterator[Extent]:
        if start >= end:
            return
        first_page, end_page = page_span(start, end - start)
        frozen, top = self._shape
        layers = self.layers if top is not None else frozen.layers
        first_chunk, end_chunk = first_page // CHUNK_PAGES, -(-end_page // CHUNK_PAGES)
        touched = sorted({chunk for layer in layers for chunk in layer.touched_chunks(first_chunk, end_chunk)})
        for chunk in touched:
            low, high = max(chunk * CHUNK_PAGES, first_page), min((chunk + 1) * CHUNK_PAGES, end_page)
            has_data = frozen.owners(low, high) != 0
            above = top.states(low, high) if top is not None else None
            if above is not None:
                has_data = np.where(above == Kind.UNSET, has_data, above == Kind.DATA)
            for first, last, value in runs(has_data):
                if value:
                    yield Extent(max((low + first) * PAGE, start), min((low + last) * PAGE, end), Kind.DATA)

    def digest(self) -> str:
        """SHA-256 of all bytes. Costs the data that is there plus hashing the zeros between."""
        digest = hashlib.sha256()
        zeros = bytes(_DIGEST_STEP)
        position = 0

        def hash_zeros(end: int) -> None:
            nonlocal position
            while position < end:
                size = min(_DIGEST_STEP, end - position)
                digest.update(memoryview(zeros)[:size])
                position += size

        for extent in self.data_extents():
            hash_zeros(extent.start)
            while position < extent.end:
                size = min(_DIGEST_STEP, extent.end - position)
                digest.update(self.read(position, size))
                position += size
        hash_zeros(self._size_bytes)
        return digest.hexdigest()

    def allocated_bytes(self) -> int:
        """Bytes on the host's disk in all layers below, shared ones included."""
        return sum(layer.allocated_bytes() for layer in self.layers)

    # -- writing -------------------------------------------------------------------------------------------------------

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Overwrite whole sectors. Survives kill -9 when this returns, the host's crash after `flush`."""
        view = memoryview(data)
        self._check(offset, len(view))
        if not len(view):
            return
        with self.lock:
            top = self._writable_top()
            self._write(top, offset, view)
            self.generation += 1
            self.written_at = self._now()

    def _writable_top(self) -> Layer:
        top = self._shape[1]
        if top is None:
            raise ReadOnly(self.id)
        return top

    def _write(self, top: Layer, offset: int, view: memoryview) -> None:
        end = offset + len(view)
        first_whole = -(-offset // PAGE)
        # The short last page of a volume that is not a multiple of 4 KiB counts as whole when written to its end.
        end_whole = -(-end // PAGE) if end == self._size_bytes else end // PAGE
        if first_whole > offset // PAGE:  # a partial first page
            self._write_partial(top, offset, view[: min(first_whole * PAGE, end) - offset])
        if first_whole < end_whole:
            top.write_pages(first_whole, view[first_whole * PAGE - offset : min(end_whole * PAGE, end) - offset])
        if end_whole * PAGE < end and end_whole >= first_whole:  # a partial last page, not the first one again
            self._write_partial(top, end_whole * PAGE, view[end_whole * PAGE - offset :])

    def _write_partial(self, top: Layer, offset: int, part: memoryview) -> None:
        """Sectors within one page: read what is below, change it, and write the page whole."""
        page = offset // PAGE
        states = top.states(page, page + 1)
        if states is not None and states[0] == Kind.DATA:
            top.write_within(offset, part)
            return
        start = page * PAGE
        whole = self.read(start, min(PAGE, self._size_bytes - start))
        whole[offset - start : offset - start + len(part)] = part
        top.write_pages(page, whole)

    def clear(self, offset: int, size_bytes: int) -> None:
        """What a guest's discard does: whole pages read zeros and count as cleared; parts of pages become zero data."""
        self._check(offset, size_bytes)
        if not size_bytes:
            return
        with self.lock:
            top = self._writable_top()
            end = offset + size_bytes
            first_whole = -(-offset // PAGE)
            end_whole = -(-end // PAGE) if end == self._size_bytes else end // PAGE
            if first_whole > offset // PAGE:
                self._zero_partial(top, offset, min(first_whole * PAGE, end) - offset)
            if first_whole < end_whole:
                top.clear_pages(first_whole, end_whole)
            if end_whole * PAGE < end and end_whole >= first_whole:
                self._zero_partial(top, end_whole * PAGE, end - end_whole * PAGE)
            self.generation += 1
            self.written_at = self._now()

    def _zero_partial(self, top: Layer, offset: int, size_bytes: int) -> None:
        page = offset // PAGE
        start = page * PAGE
        if not any(self.read(offset, size_bytes)):
            return  # zeros already, written or not: storing them would turn an unwritten page into data
        whole_size = min(PAGE, self._size_bytes - start)
        whole = self.read(start, whole_size)
        whole[offset - start : offset - start + size_bytes] = bytes(size_bytes)
        if any(whole):
            self._write_partial(top, offset, memoryview(bytes(size_bytes)))
        else:
            top.clear_pages(page, page + 1)  # the last bytes of the page went: now it is clear as a whole

    def write_zeros_as_data(self, offset: int, size_bytes: int) -> None:
        """Zeros that stay allocated (NBD's NO_HOLE): they count as written."""
        step = 1 << 20
        for position in range(offset, offset + size_bytes, step):
            self.write(position, bytes(min(step, offset + size_bytes - position)))

    def flush(self) -> None:
        """All writes acknowledged before this call survive a crash of the host, snapshots taken since included."""
        layers = self.layers
        if not any(layer.unsynced for layer in layers):
            return
        self._on_flush()
        for layer in layers:
            if layer.unsynced:
                layer.sync()
