"""The journal of a run: which source it read, which windows of the list it touched, and which are done.

Records are appended and carry a checksum; reading stops at the first torn one. A lost tail costs reading some windows
again and nothing else, but for the news that another source is read: only that is synced.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from holdfast.disks.model.extents import Extent, merged
from holdfast.disks.system.writing import sync_data, write_failure, write_fully

__all__ = ["Journal", "WindowSet"]

_HEAD = struct.Struct("<IIc")  # payload bytes, crc32 of kind and payload, kind
_RANGE = struct.Struct("<QQ")
_START, _TARGET, _TOUCHED, _DONE, _SKIPPED = b"S", b"F", b"T", b"D", b"K"


def _record(kind: bytes, payload: bytes) -> bytes:
    return _HEAD.pack(len(payload), zlib.crc32(kind + payload), kind) + payload


def _records(raw: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Kind, payload and end of each record, as far as they are whole."""
    at = 0
    while at + _HEAD.size <= len(raw):
        size, check, kind = _HEAD.unpack_from(raw, at)
        payload = raw[at + _HEAD.size : at + _HEAD.size + size]
        if len(payload) < size or zlib.crc32(kind + payload) != check:
            return
        at += _HEAD.size + size
        yield kind, payload, at


class WindowSet:
    """A set of window numbers, one byte each: 2 MiB for 32 TiB."""

    def __init__(self, windows: int) -> None:
        self._marks = bytearray(windows)
        self.count = 0

    def __contains__(self, window: int) -> bool:
        return window < len(self._marks) and self._marks[window] == 1

    def add(self, window: int) -> None:
        if window < len(self._marks) and not self._marks[window]:
            self._marks[window] = 1
            self.count += 1

    def discard(self, window: int) -> None:
        if window in self:
            self._marks[window] = 0
            self.count -= 1

    def clear(self) -> None:
        self._marks = bytearray(len(self._marks))
        self.count = 0

    def __iter__(self) -> Iterator[int]:
        at = self._marks.find(1)
        while at >= 0:
            yield at
            at = self._marks.find(1, at + 1)


class Journal:
    """An open journal. `touched`: pages that may differ from the settled tree. `written`: pages that hold what the
    target holds. `done`: windows that this very source needs not be read for again. `stale`: windows that may have been
    brought to the state of another source, since the tree was settled, and were not yet brought to that of this one."""

    def __init__(self, path: str, windows: int, list_id: str, generation: int) -> None:
        self.path = path
        self._about = {"list_id": list_id, "generation": generation}
        self.touched, self.written = WindowSet(windows), WindowSet(windows)
        self.done, self.stale = WindowSet(windows), WindowSet(windows)
        self.source: dict[str, Any] | None = None
        self.target: dict[str, Any] | None = None  # the file or device that is written to, where it is one
        self.found = False
        self._end = self._load()
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.ftruncate(self._fd, self._end)
        except OSError as exc:
            raise write_failure(path, 0, 0, exc) from exc

    def _load(self) -> int:
        """Read what an earlier run left; returns where the next record goes.

        A journal of another list is void. So is that of the run that has made the list what it is, but for its target.
        """
        try:
            raw = Path(self.path).read_bytes()
        except FileNotFoundError:
            return 0
        at, ended = 0, False
        for kind, payload, end in _records(raw):
            if kind == _START:
                told = json.loads(payload)
                if told.get("list_id") != self._about["list_id"]:
                    return 0
                ended = told.get("generation") != self._about["generation"]
            elif not self.found and not ended:
                return 0
            if kind == _TARGET:
                self.target = json.loads(payload)
            elif not ended:
                self._apply(kind, payload)
            at = end
        return 0 if ended else at

    def _apply(self, kind: bytes, payload: bytes) -> None:
        if kind == _START:
            self.found = True
            self._begin(json.loads(payload)["source"])
            return
        for start, end in _RANGE.iter_unpack(payload):
            for window in range(start, end):
                self._note(kind, window)

    def _begin(self, source: dict[str, Any] | None) -> bool:
        same = source is not None and source == self.source
        if not same:
            self.done.clear()
            for window in self.touched:
                self.stale.add(window)
        self.source = source
        return same

    def _note(self, kind: bytes, window: int) -> None:
        if kind != _SKIPPED:
            self.touched.add(window)
        if kind == _DONE:
            self.written.add(window)
        if kind == _TOUCHED:
            self.done.discard(window)
        else:
            self.done.add(window)
            self.stale.discard(window)

    def start(self, source: dict[str, Any] | None) -> bool:
        """Begin a run that reads `source`. True if it is what the last run read, so that `done` still holds.

        Where it is another, that is durable at once: lost, with its pages kept, `done` of the one before would hold.
        """
        another = self._end > 0 and (source is None or source != self.source)
        records = _record(_START, json.dumps({**self._about, "source": source}).encode())
        if self._end == 0 and self.target is not None:
            records += _record(_TARGET, json.dumps(self.target).encode())
        self._append(records)
        if another:
            sync_data(self._fd, self.path, self._end)
        return self._begin(source)

    def bind(self, target: dict[str, Any]) -> None:
        """Say which file or device the run writes to."""
        if target != self.target:
            self._append(_record(_TARGET, json.dumps(target).encode()))
            self.target = target

    def touch(self, windows: Iterable[int]) -> None:
        """Their pages are about to be marked."""
        self._tell(_TOUCHED, windows)

    def finish(self, windows: Iterable[int]) -> None:
        """Their pages are durable and say what the target durably holds."""
        self._tell(_DONE, windows)

    def skip(self, windows: Iterable[int]) -> None:
        """They were read and found as the list says; nothing was written."""
        self._tell(_SKIPPED, windows)

    def _tell(self, kind: bytes, windows: Iterable[int]) -> None:
        numbers = list(windows)
        ranges = merged(Extent(number, number + 1) for number in numbers)
        self._append(_record(kind, b"".join(_RANGE.pack(each.start, each.end) for each in ranges)))
        for number in numbers:
            self._note(kind, number)

    def _append(self, records: bytes) -> None:
        write_fully(self._fd, self.path, self._end, records)
        self._end += len(records)

    def close(self) -> None:
        os.close(self._fd)

    def remove(self) -> None:
        """The run is complete; a crash before this leaves a journal of an older generation, which is void."""
        Path(self.path).unlink(missing_ok=True)
