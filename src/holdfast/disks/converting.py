"""Convert: write a disk in another format, into a file or as a stream on standard output."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from holdfast.core.units import MIB
from holdfast.disks.copying import copy_disk
from holdfast.disks.errors import DiskUsage, SameDisk
from holdfast.disks.formats import ova, vhd
from holdfast.disks.model.extents import Kind, covering
from holdfast.disks.model.locator import Locator
from holdfast.disks.model.report import Meter, Report, Watcher
from holdfast.disks.opening import Access, open_reader, open_writer, require_writable
from holdfast.disks.packing import write_vmdk_stream
from holdfast.disks.readers.protocol import Reader
from holdfast.disks.readers.rawfile import RawFileReader
from holdfast.disks.sequential import FileSink, Sink, StreamSink
from holdfast.disks.system.buffers import Buffer
from holdfast.disks.system.files import is_device, same_file
from holdfast.disks.system.naming import require_free
from holdfast.disks.writers.qcow2file import Compressor, Qcow2FileWriter
from holdfast.disks.writers.rawfile import RawFileWriter

__all__ = ["FORMATS", "run_convert"]

FORMATS = ("raw", "qcow2", "vhd-fixed", "vhd", "vhdx", "vmdk-stream", "vdi", "ova")
_BY_SUFFIX = {".raw": "raw", ".img": "raw", ".qcow2": "qcow2", ".vhdx": "vhdx", ".vdi": "vdi", ".ova": "ova"}
_STREAMS = ("raw", "vhd-fixed", "vmdk-stream", "ova")
_ZEROS = memoryview(bytes(MIB))


def run_convert(
    source: Locator,
    target: Locator,
    format_: str | None,
    *,
    compress: str | None = None,
    overwrite: bool = False,
    shape: ova.MachineShape | None = None,
    watcher: Watcher | None = None,
    out_fd: int = 1,
) -> Report:
    """Convert whole; there is nothing to resume. Raises DiskUsage for what cannot be written so."""
    kind = _wanted(target, format_, compress)
    if target.is_url:
        raise DiskUsage(field="target", problem=f"{target.name} is written by holdfast disk copy, not by convert")
    if not target.is_stream:
        target = require_writable(source, target, kind)
    elif not source.is_url and same_file(source.address, f"/proc/self/fd/{out_fd}"):
        raise SameDisk(name=source.name)
    if source.is_stream:
        return _store_stream(target, kind, overwrite=overwrite)
    reader = open_reader(source, Access())
    try:
        report = Report(f"convert to {kind}{' ' + compress if compress else ''}", reader.size_bytes)
        if kind.startswith("vhd"):
            report.notes += vhd.growth_note(reader.size_bytes)
        if target.is_stream or kind in ("vmdk-stream", "ova"):
            _write_stream(reader, target, kind, report, shape, overwrite=overwrite, watcher=watcher, out_fd=out_fd)
            return report
        return _write_image(reader, target, kind, report, compress, overwrite=overwrite, watcher=watcher)
    finally:
        reader.close()


def _wanted(target: Locator, format_: str | None, compress: str | None) -> str:
    kind = format_ or target.format or _BY_SUFFIX.get(Path(target.address).suffix.lower())
    if kind not in FORMATS:
        raise DiskUsage(field="format", problem=f"say which format to write with --format: {', '.join(FORMATS)}")
    if compress is not None and (kind != "qcow2" or compress not in ("zlib", "zstd")):
        raise DiskUsage(field="compress", problem="only qcow2 is compressed so, with zlib or zstd")
    if target.is_stream and kind not in _STREAMS:
        raise DiskUsage(field="format", problem=f"{kind} cannot be written as a stream; {', '.join(_STREAMS)} can")
    return kind


def _write_image(
    reader: Reader,
    target: Locator,
    kind: str,
    report: Report,
    compress: str | None,
    *,
    overwrite: bool,
    watcher: Watcher | None,
) -> Report:
    if compress is not None:
        path = target.address
        require_free(path, overwrite=overwrite)
        writer: Qcow2FileWriter | None = Qcow2FileWriter(
            path + ".unfinished",
            reader.size_bytes,
            final=path,
            overwrite=overwrite,
            compressor=_compressor(compress),
            zstd=compress == "zstd",
        )
    else:
        writer = None
    opened = writer or open_writer(
        target.of_format(kind), reader.size_bytes, virgin=True, in_place=False, overwrite=overwrite
    )
    unfinished = Path(target.address + ".unfinished")
    try:
        done = copy_disk(reader, opened, watcher=watcher)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        opened.abandon()
        raise
    try:
        opened.finish()
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    done.why, done.notes = report.why, report.notes + done.notes
    return done


def _compressor(algorithm: str) -> Compressor:
    """One cluster to packed bytes; safe from several threads."""
    if algorithm == "zlib":
        from isal import isal_zlib

        def deflate(data: memoryview) -> bytes:
            return bytes(isal_zlib.compress(data, 1, -12))  # QEMU inflates qcow2 clusters with a window of 2^12

        return deflate
    import threading

    import zstandard

    local = threading.local()

    def zstd(data: memoryview) -> bytes:
        packer = getattr(local, "packer", None)
        if packer is None:
            packer = local.packer = zstandard.ZstdCompressor(level=1, write_content_size=True)
        return bytes(packer.compress(data))

    return zstd


# -- streams --------------------------------------------------------------------------------------------------------


def _write_stream(
    reader: Reader,
    target: Locator,
    kind: str,
    report: Report,
    shape: ova.MachineShape | None,
    *,
    overwrite: bool,
    watcher: Watcher | None,
    out_fd: int,
) -> None:
    sink: FileSink | StreamSink
    sink = StreamSink(out_fd) if target.is_stream else FileSink(target.address, overwrite=overwrite)
    name = "disk.vmdk" if target.is_stream else Path(target.address).with_suffix(".vmdk").name
    meter = Meter(report, reader.size_bytes, watcher)
    lanes = max(4, min(8, os.cpu_count() or 2))  # more than two cores have: packing goes on while one waits to write
    try:
        if kind == "vmdk-stream":
            write_vmdk_stream(reader, sink, meter, name=name, lanes=lanes)
        elif kind == "ova":
            _write_ova(reader, sink, meter, report, shape or ova.MachineShape(Path(name).stem), name, lanes)
        else:
            size = vhd.rounded_size(reader.size_bytes) if kind == "vhd-fixed" else reader.size_bytes
            _write_plain(reader, sink, meter, size)
            if kind == "vhd-fixed":
                sink.append(vhd.fixed_footer(size))
    except BaseException:
        sink.abandon()
        raise
    sink.finish()


def _write_plain(reader: Reader, sink: Sink, meter: Meter, size: int) -> None:
    """The disk's bytes in order. A raw file goes into a pipe by splice, without passing through our memory."""
    splice = _splicer(reader, sink)
    buffer = Buffer(MIB)
    for extent in covering(reader.extents(0, reader.size_bytes), 0, size):
        at = extent.start
        while at < extent.end:
            count = min(extent.end - at, MIB)
            if extent.kind is Kind.ZERO:
                sink.append(_ZEROS[:count])
            elif splice is not None:
                count = splice(at, count)
            else:
                reader.read_into(at, buffer.view[:count])
                sink.append(buffer.view[:count])
            at += count
        reader.done_with(extent.start, extent.end)
        read = 0 if extent.kind is Kind.ZERO else extent.size_bytes
        meter.add(done=extent.size_bytes, read=read, written=extent.size_bytes, changed=read)


def _splicer(reader: Reader, sink: Sink) -> Callable[[int, int], int] | None:
    if not isinstance(reader, RawFileReader) or not isinstance(sink, StreamSink):
        return None
    if not stat.S_ISFIFO(os.fstat(sink.fd).st_mode):
        return None
    import fcntl

    try:
        fcntl.fcntl(sink.fd, fcntl.F_SETPIPE_SZ, MIB)
    except OSError:
        return None  # a pipe that may not grow: plain writes are as fast
    source_fd, out = reader.fileno(), sink

    def splice(at: int, count: int) -> int:
        moved = os.splice(source_fd, out.fd, count, offset_src=at)
        if moved == 0:
            reader.read_into(at, memoryview(bytearray(1)))  # raises: the file ended early
        out.written += moved
        return moved

    return splice


class _CountingSink:
    """Keeps only length and SHA-256: the first pass of an OVA into a pipe."""

    def __init__(self) -> None:
        self.written, self._digest = 0, hashlib.sha256()

    def append(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        self.written += len(data)

    def finish(self) -> None: ...

    def abandon(self) -> None: ...

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()


class _HashingSink(_CountingSink):
    """Passes on what it counts."""

    def __init__(self, below: Sink) -> None:
        super().__init__()
        self._below = below

    def append(self, data: bytes | memoryview) -> None:
        super().append(data)
        self._below.append(data)


def _write_ova(
    reader: Reader,
    sink: FileSink | StreamSink,
    meter: Meter,
    report: Report,
    shape: ova.MachineShape,
    name: str,
    lanes: int,
) -> None:
    """Description, manifest, disk. A file is corrected at the end; a pipe needs a first pass that only counts."""
    packed, unpacked, digest = 0, 0, "0" * 64
    if isinstance(sink, StreamSink):
        counting = _CountingSink()
        unpacked = write_vmdk_stream(reader, counting, Meter(Report("", 0), 0), name=name, lanes=lanes)
        packed, digest = counting.written, counting.digest
    front = _ova_front(shape, name, reader.size_bytes, packed, unpacked, digest)
    sink.append(front)
    hashing = _HashingSink(sink)
    unpacked = write_vmdk_stream(reader, hashing, meter, name=name, lanes=lanes)
    sink.append(ova.padding(hashing.written) + bytes(1024))
    if isinstance(sink, FileSink):
        sink.patch(0, _ova_front(shape, name, reader.size_bytes, hashing.written, unpacked, hashing.digest))
    elif (hashing.written, hashing.digest) != (packed, digest):
        report.notes.append("the source changed between the two passes: the OVA is not valid")
        raise DiskUsage(field="source", problem="it changed while the OVA was made; use a snapshot")


def _ova_front(shape: ova.MachineShape, name: str, size: int, packed: int, unpacked: int, digest: str) -> bytes:
    """Everything before the disk's bytes; its length does not depend on the numbers."""
    stem = Path(name).stem
    capacity = max(1, -(-size // 65536)) * 65536
    text = ova.description(shape, name, capacity, packed, unpacked)
    listed = ova.manifest({f"{stem}.ovf": hashlib.sha256(text).hexdigest(), name: digest})
    return (
        ova.tar_header(f"{stem}.ovf", len(text))
        + text
        + ova.padding(len(text))
        + ova.tar_header(f"{stem}.mf", len(listed))
        + listed
        + ova.padding(len(listed))
        + ova.tar_header(name, packed)
    )


def _store_stream(target: Locator, kind: str, *, overwrite: bool) -> Report:
    """Standard input, raw, into a sparse raw file or a fixed VHD; its size is known at its end."""
    from holdfast.disks.system.linux import is_zero

    if kind not in ("raw", "vhd-fixed") or target.is_stream or is_device(target.address):
        raise DiskUsage(field="target", problem="standard input can be stored as raw or vhd-fixed in a file")
    path = target.address
    if same_file("/dev/stdin", path):
        raise SameDisk(name=path)
    require_free(path, overwrite=overwrite)
    unfinished = path + ".unfinished"
    buffer, at, written = Buffer(MIB), 0, 0
    writer = RawFileWriter(unfinished, 0, fresh=True, final=path, overwrite=overwrite)
    try:
        while count := os.readv(0, [buffer.view]):
            if not is_zero(buffer.address, count):
                writer.write(at, buffer.view[:count])
                written += count
            at += count
        size = vhd.rounded_size(at) if kind == "vhd-fixed" else at
        writer.end_at(size, vhd.fixed_footer(size) if kind == "vhd-fixed" else b"")
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        writer.abandon()
        raise
    try:
        writer.finish()
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
    notes = vhd.growth_note(at) if kind == "vhd-fixed" else []
    report = Report("stored from standard input", size, read_bytes=at, changed_bytes=written, written_bytes=written)
    report.notes += notes
    return report
