"""The source's own list of changes: from a file, an NBD dirty bitmap, or an Azure page-range difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from holdfast.disks.errors import DiskNotFound, DiskUsage
from holdfast.disks.model.extents import Extent, Kind
from holdfast.disks.model.locator import Locator
from holdfast.disks.readers.protocol import ChangeList

__all__ = ["changes_of", "read_change_file"]

_MOST_BYTES = 1 << 63  # past any disk: offsets of a file are signed numbers of 64 bits


def read_change_file(path: str) -> ChangeList:
    """`{"since": "…", "now": "…", "extents": [{"start": 0, "end": 65536, "zero": false}, …]}`. Raises DiskUsage for
    anything else, DiskNotFound."""
    if (file := Locator(path)).is_url:
        raise DiskUsage(field="changed", problem=f"{file.name} is a URL; name a file")
    try:
        told = json.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError as exc:
        raise DiskNotFound(kind="change list", name=path, field="changed") from exc
    except IsADirectoryError as exc:
        raise DiskUsage(field="changed", problem=f"{path} is a folder; name a file") from exc
    except (ValueError, RecursionError) as exc:
        raise DiskUsage(field="changed", problem=f"{path} is not JSON: {exc}") from exc
    if not isinstance(told, dict):
        raise DiskUsage(field="changed", problem=f"{path} holds no object with since, now and extents")
    extents = told.get("extents")
    if not isinstance(extents, list):
        raise DiskUsage(field="changed", problem=f"{path} has no list 'extents'")
    found = sorted((_extent(path, n, one) for n, one in enumerate(extents, 1)), key=lambda e: (e.start, e.end))
    return ChangeList(_state(path, told, "since"), _state(path, told, "now"), found, "a file")


def _state(path: str, told: dict[str, Any], key: str) -> str:
    name = told.get(key)
    if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
        raise DiskUsage(field="changed", problem=f"{path} does not name a state of the source as '{key}'")
    return str(name)


def _extent(path: str, number: int, told: Any) -> Extent:
    """Raises DiskUsage where this is no extent of any disk, and says which it is."""
    if not isinstance(told, dict):
        raise DiskUsage(field="changed", problem=f"extent {number} in {path} is no object with start and end")
    start, end, zero = told.get("start"), told.get("end"), told.get("zero")
    if type(start) is not int or type(end) is not int:
        problem = f"extent {number} in {path} needs whole numbers as 'start' and 'end'"
    elif zero not in (None, True, False):
        problem = f"extent {number} in {path} needs true or false as 'zero'"
    elif start < 0:
        problem = f"extent {number} in {path} starts before the disk, at {start}"
    elif end < start:
        problem = f"extent {number} in {path} ends before it starts: {start} to {end}"
    elif end > _MOST_BYTES:
        problem = f"extent {number} in {path} ends past the end of any disk, at {end}"
    else:
        return Extent(start, end, Kind.ZERO if zero else Kind.DATA)
    raise DiskUsage(field="changed", problem=problem)


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
