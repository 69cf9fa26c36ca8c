"""From a locator to a reader or a writer: which format is meant, and whether the bytes agree."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from holdfast.disks.errors import DiskNotFound, DiskUsage, SameDisk, TargetHasContent, TargetInUse
from holdfast.disks.model.locator import Locator
from holdfast.disks.readers.protocol import Reader
from holdfast.disks.readers.rawfile import RawFileReader, hole_map
from holdfast.disks.system.buffers import Buffer
from holdfast.disks.system.files import in_use_reason, is_device, same_file, size_of
from holdfast.disks.system.linux import is_zero
from holdfast.disks.writers.protocol import Writer
from holdfast.disks.writers.rawfile import RawFileWriter

__all__ = ["FILE_FORMATS", "Access", "format_of", "holds_data", "open_reader", "open_writer", "require_writable"]

FILE_FORMATS = ("raw", "qcow2", "vhd", "vhd-fixed", "vhdx", "vmdk", "vdi")
_SUFFIXES = {
    ".raw": "raw",
    ".img": "raw",
    ".qcow2": "qcow2",
    ".vhd": "vhd",
    ".vhdx": "vhdx",
    ".vmdk": "vmdk",
    ".vdi": "vdi",
}


@dataclass(frozen=True)
class Access:
    """How a source may be used. `unchanged`: the user vouches that a device is as the last run saw it. `own`: we hold
    it open for writing ourselves, so its locks are ours."""

    keep_cache: bool = False
    unchanged: bool = False
    own: bool = False


def format_of(locator: Locator) -> str:
    """The declared format, by option or suffix; never by what the bytes look like. Raises DiskUsage if neither says."""
    if locator.format is not None:
        return locator.format
    if locator.is_stream or is_device(locator.address):
        return "raw"
    if locator.address.startswith("nbd"):
        return "nbd"
    if locator.is_url:
        return "range"
    suffix = Path(locator.address).suffix.lower()
    if suffix not in _SUFFIXES:
        raise DiskUsage(
            field="format", problem=f"nothing says what {locator.name} is; declare it with --from or --to FORMAT"
        )
    return _SUFFIXES[suffix]


def open_reader(locator: Locator, access: Access | None = None) -> Reader:
    """Open a source. Raises DiskNotFound, FormatMismatch, HostileImage, TargetInUse, ToolMissing, WireBroken …"""
    access = access or Access()
    kind = format_of(locator)
    if kind == "raw":
        return RawFileReader(
            locator.address, keep_cache=access.keep_cache, unchanged=access.unchanged, locked=not access.own
        )
    raise DiskUsage(field="format", problem=f"{kind} cannot be read here")


def require_writable(source: Locator, target: Locator) -> None:
    """Refuse a target that is the source, is mounted, or serves something else. Raises SameDisk, TargetInUse."""
    if target.is_url or target.is_stream:
        if target.is_url and target.address == source.address:
            raise SameDisk(name=target.name)
        return
    if not source.is_url and not source.is_stream and same_file(source.address, target.address):
        raise SameDisk(name=target.name)
    reason = in_use_reason(target.address)
    if reason is not None:
        raise TargetInUse(name=target.name, problem=reason)


def holds_data(path: str) -> bool:
    """Whether a file or device holds anything but zeros. A large device is looked at until the first byte of data."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        buffer = Buffer(1024 * 1024)
        for extent in hole_map(fd, 0, size_of(fd)):
            at = extent.start
            while at < extent.end:
                count = os.preadv(fd, [buffer.view[: min(buffer.size, extent.end - at)]], at)
                if count <= 0:
                    return True
                if not is_zero(buffer.address, count):
                    return True
                at += count
        return False
    finally:
        os.close(fd)


def open_writer(target: Locator, size_bytes: int, *, virgin: bool, in_place: bool, overwrite: bool = False) -> Writer:
    """Open a target of at least `size_bytes`.

    `in_place`: it holds a state that is to be changed. Otherwise it is made anew under an unfinished name
    (`virgin`), or an earlier run's unfinished one is gone on with. Raises TargetHasContent, TargetTooSmall …
    """
    kind = format_of(target)
    if kind == "raw":
        return _open_raw_file(target, size_bytes, virgin=virgin, in_place=in_place, overwrite=overwrite)
    raise DiskUsage(field="format", problem=f"{kind} cannot be written here")


def _open_raw_file(
    target: Locator, size_bytes: int, *, virgin: bool, in_place: bool, overwrite: bool, trailer: bytes = b""
) -> Writer:
    path = target.address
    if is_device(path):
        if virgin and not overwrite and holds_data(path):
            raise TargetHasContent(name=path)
        return RawFileWriter(path, size_bytes, fresh=False)
    unfinished = path + ".unfinished"
    if in_place:
        if not Path(path).exists():
            raise DiskNotFound(kind="disk", name=path)
        return RawFileWriter(path, size_bytes, fresh=False, trailer=trailer)
    if virgin:
        if not overwrite and holds_data(path):
            raise TargetHasContent(name=path)
        return RawFileWriter(unfinished, size_bytes, fresh=True, final=path, trailer=trailer)
    if Path(unfinished).exists():
        return RawFileWriter(unfinished, size_bytes, fresh=False, final=path, trailer=trailer)
    if Path(path).exists():  # complete and named, but its list was not settled yet
        return RawFileWriter(path, size_bytes, fresh=False, trailer=trailer)
    return RawFileWriter(unfinished, size_bytes, fresh=True, final=path, trailer=trailer)
