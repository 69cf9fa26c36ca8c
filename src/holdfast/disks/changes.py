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
    source: Locator, *, bitmap: str | None = None, previous: str | None = None, chain: str | None = None
) -> ChangeList | None:
    """What the source itself can say; None if nothing was asked.

    A bitmap named NAME counts from the state that was called `bitmap:NAME` when it was started; `chain` names the new
    state, usually the bitmap that was started with it.
    """
    if bitmap is not None:
        from holdfast.disks.readers.nbd import NbdReader

        if not source.address.startswith("nbd"):
            raise DiskUsage(field="bitmap", problem="only an NBD source has dirty bitmaps")
        reader = NbdReader(source.address, source.name, bitmap=bitmap)
        try:
            return reader.changes(f"bitmap:{bitmap}", chain or f"after bitmap:{bitmap}")
        finally:
            reader.close()
    if previous is not None:
        from holdfast.disks.readers.pageblob import PageBlobReader

        blob = PageBlobReader(source)
        try:
            return blob.changes(Locator(previous, "page-blob"))
        finally:
            blob.close()
    return None
