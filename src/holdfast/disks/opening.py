"""From a locator to a reader or a writer: which format is meant, and whether the bytes agree."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from holdfast.disks.errors import DiskNotFound, DiskUsage, SameDisk, TargetHasContent, TargetInUse
from holdfast.disks.model.locator import Locator
from holdfast.disks.readers.protocol import Reader
from holdfast.disks.readers.rawfile import RawFileReader
from holdfast.disks.system.files import in_use_reason, is_device, require_disk, require_folder, same_file
from holdfast.disks.system.holes import holds_data
from holdfast.disks.system.naming import require_free
from holdfast.disks.writers.protocol import Writer
from holdfast.disks.writers.rawfile import RawFileWriter

if TYPE_CHECKING:
    from holdfast.disks.formats.facts import ImageFacts
    from holdfast.disks.http.client import Renew

__all__ = ["FILE_FORMATS", "Access", "format_of", "open_reader", "open_writer", "require_writable"]

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


class Access(NamedTuple):
    """How a source may be used. `unchanged`: the user vouches that a device is as the last run saw it.
    `trust_backing`: it is the user's own layered disk, whose backing files may be read."""

    keep_cache: bool = False
    unchanged: bool = False
    trust_backing: bool = False


def format_of(locator: Locator) -> str:
    """The declared format, by option or suffix; never by what the bytes look like. Raises DiskUsage if neither says."""
    if locator.format is not None:
        return locator.format
    if locator.is_stream or is_device(locator.address):
        return "raw"
    if locator.address.startswith(("nbd:/", "nbd+unix:/")):
        return "nbd"
    if locator.is_url:
        return "page-blob" if "sig=" in locator.address and "comp=" not in locator.address else "range"
    suffix = Path(locator.address).suffix.lower()
    if suffix not in _SUFFIXES:
        raise DiskUsage(
            field="format", problem=f"nothing says what {locator.name} is; declare it with --from or --to FORMAT"
        )
    return _SUFFIXES[suffix]


def open_reader(locator: Locator, access: Access | None = None, renew: Renew | None = None) -> Reader:
    """Open a source. Raises DiskNotFound, FormatMismatch, HostileImage, TargetInUse, ToolMissing, WireBroken …"""
    access = access or Access()
    if locator.is_stream:
        raise DiskUsage(field="source", problem="standard input is read by holdfast disk convert alone, to raw or VHD")
    kind = format_of(locator)
    if not locator.is_url:
        require_disk(locator.address, "source")
    if kind == "raw":
        return RawFileReader(locator.address, keep_cache=access.keep_cache, unchanged=access.unchanged)
    if kind == "nbd":
        from holdfast.disks.readers.nbd import NbdReader

        declared = {"kind": "declared-unchanged", "address": locator.name} if access.unchanged else None
        return NbdReader(locator.address, locator.name, identity=declared)
    if kind in ("page-blob", "azure-disk"):
        from holdfast.disks.readers.pageblob import PageBlobReader

        return PageBlobReader(locator, renew)
    if kind == "range":
        from holdfast.disks.readers.httprange import HttpRangeReader

        return HttpRangeReader(locator, renew)
    return _open_image(locator.address, kind, access)


def _open_image(path: str, kind: str, access: Access) -> Reader:
    """A file of some format: inspected first, then read by us where that is simple, else by QEMU in a cage."""
    from holdfast.disks.intake.inspecting import require_safe

    if kind not in FILE_FORMATS:
        raise DiskUsage(field="format", problem=f"{kind} is no format that can be read; use one of {_listed_formats()}")
    if access.trust_backing and kind == "qcow2":
        from holdfast.disks.layers import open_layers

        return open_layers(path)
    facts = require_safe(path, kind)
    if facts.format == "vhd" and facts.variant == "fixed":
        return RawFileReader(
            path,
            keep_cache=access.keep_cache,
            unchanged=access.unchanged,
            size_bytes=facts.size_bytes,
        )
    if facts.format == "qcow2":
        from holdfast.disks.readers.qcow2file import open_plain_qcow2

        plain = open_plain_qcow2(path)
        if plain is not None:
            return plain
    return _open_through_qemu(path, facts)


def _open_through_qemu(path: str, facts: ImageFacts) -> Reader:
    from holdfast.disks.nbd.servers import ImageServer
    from holdfast.disks.readers.nbd import NbdReader
    from holdfast.disks.system.files import identity_of, opened

    fd = opened(path, os.O_RDONLY)
    try:
        identity = identity_of(fd)
    finally:
        os.close(fd)
    server = ImageServer(path, facts.format, writable=False, size_bytes=facts.size_bytes)
    try:
        return NbdReader(server.url, path, identity=identity, on_close=server.stop)
    except BaseException:
        server.stop()
        raise


def _listed_formats() -> str:
    return ", ".join(FILE_FORMATS)


def require_writable(source: Locator, target: Locator, kind: str) -> Locator:
    """The target, links followed, if it is none that must not be written in this format: the source, what is mounted or
    serves something else, what is no disk. Raises SameDisk, TargetInUse, DiskUsage, DiskNotFound."""
    if target.is_stream:
        raise DiskUsage(field="target", problem="standard output is written by holdfast disk convert alone")
    if target.is_url:
        if target.address == source.address:
            raise SameDisk(name=target.name)
        return target
    require_disk(target.address, "target")
    if is_device(target.address):
        if kind != "raw":
            raise DiskUsage(field="format", problem=f"a device holds a raw disk, not {kind}")
    elif Path(target.address).is_symlink():
        target = Locator(**(vars(target) | {"address": os.path.realpath(target.address)}))
    require_folder(target.address)
    if not source.is_url and not source.is_stream and same_file(source.address, target.address):
        raise SameDisk(name=target.name)
    reason = in_use_reason(target.address)
    if reason is not None:
        raise TargetInUse(name=target.name, problem=reason)
    return target


def open_writer(
    target: Locator,
    size_bytes: int,
    *,
    virgin: bool,
    in_place: bool,
    overwrite: bool = False,
    renew: Renew | None = None,
) -> Writer:
    """Open a target of at least `size_bytes`.

    `in_place`: it holds a state that is to be changed. Otherwise it is made anew under an unfinished name
    (`virgin`), or an earlier run's unfinished one is gone on with. Raises TargetHasContent, TargetTooSmall …
    """
    kind = format_of(target)
    if kind == "raw":
        return _open_raw_file(target, size_bytes, virgin=virgin, in_place=in_place, overwrite=overwrite)
    if kind == "vhd-fixed" or (kind == "vhd" and in_place and _is_fixed_vhd(target.address)):
        return _open_fixed_vhd(target, size_bytes, virgin=virgin, in_place=in_place, overwrite=overwrite)
    if kind == "nbd":
        from holdfast.disks.writers.nbd import NbdWriter

        return NbdWriter(
            target.address,
            target.name,
            size_bytes,
            reads_zero=target.reads_zero and virgin,
            fresh=virgin,
            overwrite=overwrite,
        )
    if kind in ("page-blob", "azure-disk"):
        from holdfast.disks.writers.pageblob import PageBlobWriter

        return PageBlobWriter(target, size_bytes, fresh=virgin, overwrite=overwrite, renew=renew)
    if kind in ("qcow2", "vhd", "vhdx", "vdi"):
        return _open_image_for_writing(target, kind, size_bytes, virgin=virgin, in_place=in_place, overwrite=overwrite)
    raise DiskUsage(field="format", problem=f"{kind} cannot be written in place; use holdfast disk convert")


def _is_fixed_vhd(path: str) -> bool:
    from holdfast.disks.intake.inspecting import require_safe

    return require_safe(path, "vhd").variant == "fixed"


def _open_fixed_vhd(target: Locator, size_bytes: int, *, virgin: bool, in_place: bool, overwrite: bool) -> Writer:
    """The raw disk, grown to whole MiB, and a footer."""
    from holdfast.disks.formats.vhd import fixed_footer, rounded_size

    size = rounded_size(size_bytes)
    return _open_raw_file(
        target, size, virgin=virgin, in_place=in_place, overwrite=overwrite, trailer=fixed_footer(size)
    )


def _open_image_for_writing(
    target: Locator, kind: str, size_bytes: int, *, virgin: bool, in_place: bool, overwrite: bool
) -> Writer:
    """A new image under an unfinished name, or one that is there."""
    final, unfinished = target.address, target.address + ".unfinished"
    path, fresh = unfinished, False
    if in_place:
        path = final
    elif virgin or not (Path(unfinished).exists() or Path(final).exists()):
        fresh = True
    elif not Path(unfinished).exists():
        path = final
    if path != final:
        require_free(final, overwrite=overwrite)
    if fresh and kind == "qcow2":
        from holdfast.disks.writers.qcow2file import Qcow2FileWriter

        return Qcow2FileWriter(unfinished, size_bytes, final=final, overwrite=overwrite)
    from holdfast.disks.writers.imagefile import open_image_file

    return open_image_file(path, kind, size_bytes, fresh=fresh, final=final, overwrite=overwrite)


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
    there = not virgin and Path(unfinished).exists()
    if not virgin and not there and Path(path).exists():  # complete and named, but its list was not settled yet
        return RawFileWriter(path, size_bytes, fresh=False, trailer=trailer)
    require_free(path, overwrite=overwrite)
    return RawFileWriter(unfinished, size_bytes, fresh=not there, final=path, overwrite=overwrite, trailer=trailer)
