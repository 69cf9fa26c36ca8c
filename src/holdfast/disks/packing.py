"""Reading a disk window by window and packing its chunks in threads: what VMDK streams are made of."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from holdfast.disks.formats import vmdk_stream
from holdfast.disks.model.chunks import Geometry
from holdfast.disks.model.extents import Extent
from holdfast.disks.model.report import Meter
from holdfast.disks.planning import by_window
from holdfast.disks.readers.protocol import Reader
from holdfast.disks.scanning import pieces
from holdfast.disks.sequential import Sink, ordered
from holdfast.disks.system.buffers import Buffer
from holdfast.disks.system.linux import is_zero

__all__ = ["Deflate", "deflate", "write_vmdk_stream"]

Deflate = Callable[[memoryview], bytes]
_BUFFER_BYTES = 1024 * 1024
_PIECE_BYTES = 2 * 1024 * 1024  # what one thread packs at a time; larger pieces cost fresh memory for each


def deflate() -> Deflate:
    """zlib at ISA-L's level 1: five times the speed of zlib's level 1 at a smaller size."""
    from isal import isal_zlib

    def pack(data: memoryview) -> bytes:
        return bytes(isal_zlib.compress(data, 1))

    return pack


@dataclass(frozen=True)
class _Packed:
    """The grains of one piece: their numbers, their lengths with marker and padding, and their bytes in a row."""

    end: int
    numbers: list[int]
    sizes: list[int]
    data: bytes
    read_bytes: int


def write_vmdk_stream(reader: Reader, sink: Sink, meter: Meter, *, name: str, lanes: int) -> int:
    """Append a whole stream-optimized VMDK; returns how many bytes of grains it holds unpacked.

    Output depends only on the disk's bytes and the name, so that a second pass gives the same.
    """
    size = reader.size_bytes
    pack = deflate()
    buffers: queue.SimpleQueue[Buffer] = queue.SimpleQueue()
    for _ in range(lanes):
        buffers.put(Buffer(_BUFFER_BYTES))
    start_at = sink.written

    def sector() -> int:
        return (sink.written - start_at) // 512

    def work(piece: tuple[int, int]) -> _Packed:
        buffer = buffers.get()
        try:
            return _pack_piece(reader, piece, buffer, pack)
        finally:
            buffers.put(buffer)

    tables = vmdk_stream.StreamTables(size)
    sink.append(vmdk_stream.head(size, name, content_id=0x68667374))
    unpacked = behind = 0
    for packed in ordered(_plan(reader), work, lanes=lanes):
        if packed.numbers:
            # a piece lies in one aligned stretch of 2 MiB, and a table names 32 MiB: it never spans two
            sink.append(tables.turn_to(packed.numbers[0], sector()))
            at = sector()
            for number, count in zip(packed.numbers, packed.sizes, strict=True):
                tables.place(number, at)
                at += count // 512
            sink.append(packed.data)
        reader.done_with(behind, packed.end)
        unpacked += len(packed.numbers) * vmdk_stream.GRAIN_BYTES
        meter.add(done=packed.end - behind, read=packed.read_bytes, written=len(packed.data), changed=packed.read_bytes)
        behind = packed.end
    sink.append(tables.tail(sector()))
    return unpacked


def _plan(reader: Reader) -> Iterator[tuple[int, int]]:
    """Data extents in whole grains, cut at multiples of the piece size. Lazy."""
    geometry = Geometry(reader.size_bytes, vmdk_stream.GRAIN_BYTES)
    for _, extents in by_window(reader.extents(0, reader.size_bytes), geometry):
        yield from pieces(extents, _PIECE_BYTES)


def _pack_piece(reader: Reader, piece: tuple[int, int], buffer: Buffer, pack: Deflate) -> _Packed:
    unit = vmdk_stream.GRAIN_BYTES
    numbers: list[int] = []
    sizes: list[int] = []
    parts: list[bytes] = []
    read = 0
    for start, end in pieces([Extent(*piece)], buffer.size):
        reader.read_into(start, buffer.view[: end - start])
        read += end - start
        for at in range(0, end - start, unit):
            stop = min(at + unit, end - start)
            if is_zero(buffer.address + at, stop - at):
                continue
            view = buffer.view[at:stop]
            if stop - at < unit:
                view = memoryview(bytes(view).ljust(unit, b"\0"))
            grain = vmdk_stream.grain((start + at) // unit, pack(view))
            numbers.append((start + at) // unit)
            sizes.append(len(grain))
            parts.append(grain)
    return _Packed(piece[1], numbers, sizes, b"".join(parts), read)
