"""Image files that QEMU writes for us: a caged server behind a socket, and our claim on the file meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.disks.errors import DiskUsage
from holdfast.disks.formats.vhd import rounded_size
from holdfast.disks.intake.inspecting import require_safe
from holdfast.disks.nbd.servers import ImageServer, create_image
from holdfast.disks.system.claims import claim, claim_anew
from holdfast.disks.system.files import flock
from holdfast.disks.system.naming import give_name
from holdfast.disks.system.writing import write_failure
from holdfast.disks.writers.nbd import NbdWriter

__all__ = ["open_image_file"]


def open_image_file(path: str, kind: str, size_bytes: int, *, fresh: bool, final: str, overwrite: bool) -> NbdWriter:
    """A writer of the image at `path`, made anew if `fresh`; it gets the name `final` when it is complete.

    Raises TargetInUse, FormatMismatch, HostileImage, ToolMissing …
    """
    if size_bytes == 0 and kind != "qcow2":
        raise DiskUsage(field="source", problem=f"it has 0 bytes, which no {kind} can hold; qcow2 and raw can")
    # our own lock alone: QEMU takes its own when its server opens the file
    fd = claim_anew(path, flock) if fresh else claim(path, flock)
    try:
        if fresh:
            create_image(path, kind, _image_size(kind, size_bytes), "force_size=on" if kind == "vhd" else "")
        require_safe(path, kind, ours=True)
        server = ImageServer(path, kind, writable=True, size_bytes=size_bytes)
    except BaseException:
        if fresh:
            Path(path).unlink(missing_ok=True)
        os.close(fd)
        raise

    def end() -> None:
        try:
            server.stop()
        finally:
            os.close(fd)

    def complete() -> None:
        try:
            server.stop()
            os.fsync(fd)
            if path != final:
                give_name(path, final, overwrite=overwrite)
        except OSError as exc:
            raise write_failure(final, 0, size_bytes, exc) from exc
        finally:
            os.close(fd)

    try:
        return NbdWriter(server.url, final, size_bytes, reads_zero=fresh, on_finish=complete, on_abandon=end)
    except BaseException:
        end()
        raise


def _image_size(kind: str, size_bytes: int) -> int:
    """Formats count in sectors, VHD and VHDX in whole MiB."""
    return rounded_size(size_bytes) if kind in ("vhd", "vhdx") else -(-size_bytes // 512) * 512
