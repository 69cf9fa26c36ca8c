"""The source's own list of changes: from a file, an NBD dirty bitmap, or an Azure page-range difference."""

from __future__ import annotations

import json
from pathlib import Path

from holdfast.disks.errors import DiskNotFound, DiskUsage
from holdfast.disks.model.extents import Extent, Kind
from holdfast.disks.model.locator import Locator
from holdfast.disks.readers.protocol import ChangeList

__all__ = ["changes_of", "read_change_file"]


def read_change_file(path: str) -> ChangeList:
    """`{"since": "…", "now": "…", "extents": [{"start": 0, "end": 65536, "zero": false}, …]}`."""
    try:
        told = json.loads(Path(path).read_text())
    except FileNotFoundError as exc:
        raise DiskNotFound(kind="change list", name=path) from exc
    except ValueError as exc:
        raise DiskUsage(field="changed", problem=f"{path} is not JSON: {exc}") from exc
    try:
        extents = [
            Extent(int(e["start"]), int(e["end"]), Kind.ZERO if e.get("zero") else Kind.DATA) for e in told["extents"]
        ]
        found = ChangeList(str(told["since"]), str(told["now"]), sorted(extents), "a file")
    except (KeyError, TypeError) as exc:
        raise DiskUsage(field="changed", problem=f"{path} lacks {exc}") from exc
    if any(e.start < 0 or e.end < e.start for e in found.extents):
        raise DiskUsage(field="changed", problem=f"{path} has an extent that ends before it starts")
    return found


def changes_of(
    source: Locator, *, bitmap: str | None = None, previous: str | None = None, base: str | None = None
) -> ChangeList | None:
    """What the source itself can say; None if nothing was asked."""
    if bitmap is None and previous is None:
        return None
    raise DiskUsage(field="bitmap", problem="this source keeps no list of changes")
