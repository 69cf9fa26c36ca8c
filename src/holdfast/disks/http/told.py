"""What the headers of an answer say of sizes and places, read with distrust. Header names are lower case."""

from __future__ import annotations

import re
from collections.abc import Mapping

from holdfast.disks.errors import HostileImage, ServerRefused
from holdfast.disks.intake.inspecting import MOST_BYTES
from holdfast.disks.model.locator import visible

__all__ = ["range_told", "require_range", "size_told"]

_RANGE = re.compile(r"bytes +(\d{1,20})-(\d{1,20})/(?:(\d{1,20})|\*)", re.ASCII | re.IGNORECASE)


def size_told(name: str, headers: Mapping[str, str], *, beside: int = 0) -> int:
    """How many bytes there are behind an address, as a HEAD says. `beside`: those that are no part of the disk.

    A disk of no bytes is a mistake of somebody's. Raises ServerRefused, and HostileImage for what no disk can have.
    """
    said = headers.get("content-length", "")
    if not (said.isascii() and said.isdigit() and len(said) <= 20):
        problem = f"its size is {visible(said)[:40]!r}" if said else "it does not say how many bytes it has"
        raise ServerRefused(name=name, status=200, problem=f"{problem} (Content-Length)")
    if int(said) == 0:
        raise ServerRefused(name=name, status=200, problem="it says that there are 0 bytes (Content-Length)")
    require_sane_size(name, int(said) - beside)
    return int(said)


def require_sane_size(name: str, size_bytes: int) -> None:
    """Raises HostileImage for a size that is a lie: reading it through would take years."""
    if size_bytes > MOST_BYTES:
        raise HostileImage(name=name, rule="sizes", problem=f"a disk of {size_bytes} bytes", field="address")


def range_told(headers: Mapping[str, str]) -> tuple[int, int, int | None] | None:
    """Start, end (half-open) and the whole's size of a Content-Range, where it is well formed."""
    found = _RANGE.fullmatch(headers.get("content-range", "").strip())
    if found is None:
        return None
    return int(found[1]), int(found[2]) + 1, None if found[3] is None else int(found[3])


def require_range(name: str, headers: Mapping[str, str], start: int, end: int) -> None:
    """Raises ServerRefused where a 206 does not say that its bytes are those from `start` to before `end`."""
    told = range_told(headers)
    if told is None or told[:2] != (start, end):
        said = visible(headers.get("content-range", ""))[:80] or "no Content-Range"
        problem = f"bytes {start}-{end - 1} were asked for, and it serves {said}"
        raise ServerRefused(name=name, status=206, problem=problem)
