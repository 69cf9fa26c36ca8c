"""Look at an image without trusting it: which format its bytes are, and every reason not to open it."""

from __future__ import annotations

import os

from holdfast.core.units import MIB, TIB
from holdfast.disks.errors import FormatMismatch, HostileImage
from holdfast.disks.formats import qcow2_inspection, vdi, vhd, vhdx, vmdk_header
from holdfast.disks.formats.facts import ImageFacts
from holdfast.disks.system.files import opened, size_of

__all__ = ["MOST_BYTES", "FileBytes", "inspect_file", "require_safe"]

MOST_BYTES = 64 * TIB  # VHDX's limit; the largest cloud disks have 64 TiB
_MAY_BE_EMPTY = ("qcow2",)  # others say 0 where they say nothing, or follow a descriptor then
_INSPECTORS = (qcow2_inspection.inspect, vhdx.inspect, vmdk_header.inspect, vdi.inspect, vhd.inspect)


class FileBytes:
    """An image file for the parsers. At most 128 MiB are given at once, however much is asked for."""

    def __init__(self, path: str) -> None:
        self._fd = opened(path, os.O_RDONLY)
        self.size_bytes = size_of(self._fd)

    def at(self, offset: int, size: int) -> bytes:
        if offset < 0 or offset >= self.size_bytes or size <= 0:
            return b""
        return os.pread(self._fd, min(size, 128 * MIB), offset)

    def close(self) -> None:
        os.close(self._fd)


def inspect_file(path: str) -> ImageFacts:
    """What the bytes of a file say. `raw` if no known format is seen. Opens nothing else."""
    source = FileBytes(path)
    try:
        for inspect in _INSPECTORS:
            facts = inspect(source)
            if facts is not None:
                if facts.size_bytes > MOST_BYTES or (not facts.size_bytes and facts.format not in _MAY_BE_EMPTY):
                    facts.suspect("sizes", f"a disk of {facts.size_bytes} bytes")
                return facts
        return ImageFacts("raw", source.size_bytes)
    finally:
        source.close()


def require_safe(path: str, declared: str, *, ours: bool = False) -> ImageFacts:
    """Raises FormatMismatch where the bytes are not of the declared format, HostileImage for the first suspicion.

    `ours`: we open it for writing, so that an image that was not closed is mended.
    """
    facts = inspect_file(path)
    wanted = "vhd" if declared == "vhd-fixed" else declared
    if facts.format != wanted:
        raise FormatMismatch(name=path, declared=declared, found=facts.format)
    if ours:
        facts.suspicions = [s for s in facts.suspicions if s.rule != vhdx.UNCLOSED]
    if facts.suspicions:
        first = facts.suspicions[0]
        others = [{"rule": s.rule, "problem": s.problem} for s in facts.suspicions]
        raise HostileImage(name=path, rule=first.rule, problem=first.problem, suspicions=others)
    return facts
