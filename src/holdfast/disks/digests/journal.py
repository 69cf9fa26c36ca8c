"""The journal of a run: which source it read, which windows of the list it touched, and which are done.

Records are appended and carry a checksum; reading stops at the first torn one. A lost tail costs reading some windows
again and nothing else, so the journal is never synced by itself.
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
from holdfast.disks.system.writing import write_fully

__all__ = ["Journal", "WindowSet"]

_HEAD = struct.Struct("<IIc")  # payload bytes, crc32 of kind and payload, kind
_RANGE = struct.Struct("<QQ")
_START, _TOUCHED, _DONE, _SKIPPED = b"S", b"T", b"D", b"K"


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
    target holds. `done`: windows that this very source needs not be read for again."""

    def __init__(self, path: str, windows: int, list_id: str, generation: int) -> None:
        self.path = path
        self._about = {"list_id": list_id, "generation": generation}
        self.touched, self.written, self.done = WindowSet(windows), WindowSet(windows), WindowSet(windows)
        self.source: dict[str, Any] | None = None
        self.found = False
        self._end = self._load()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.ftruncate(self._fd, self._end)

    def _load(self) -> int:
        """Read what an earlier run left; returns where the next record goes. A journal of another list is void."""
        try:
            raw = Path(self.path).read_bytes()
        except FileNotFoundError:
            return 0
        at = 0
        while at + _HEAD.size <= len(raw):
            size, check, kind = _HEAD.unpack_from(raw, at)
            payload = raw[at + _HEAD.size : at + _HEAD.size + size]
            if len(payload) < size or zlib.crc32(kind + payload) != check:
                break
            if not self._apply(kind, payload):
                return 0
            at += _HEAD.size + size
        return at

    def _apply(self, kind: bytes, payload: bytes) -> bool:
        if kind == _START:
            told = json.loads(payload)
            if {key: told.get(key) for key in self._about} != self._about:
                return False
            self.found = True
            if told["source"] is None or told["source"] != self.source:
                self.done.clear()
            self.source = told["source"]
            return True
        for start, end in _RANGE.iter_unpack(payload):
            for window in range(start, end):
                if kind != _SKIPPED:
                    self.touched.add(window)
                if kind == _DONE:
                    self.written.add(window)
                if kind != _TOUCHED:
                    self.done.add(window)
        return self.found

    def start(self, source: dict[str, Any] | None) -> bool:
        """Begin a run that reads `source`. True if it is what the last run read, so that `done` still holds."""
        same = source is not None and source == self.source
        payload = json.dumps({**self._about, "source": source}).encode()
        self._append(_START, payload)
        if not same:
            self.done.clear()
        self.source = source
        return same

    def touch(self, windows: Iterable[int]) -> None:
        """Their pages are about to be marked."""
        self._append(_TOUCHED, self._ranges(windows, self.touched))

    def finish(self, windows: Iterable[int]) -> None:
        """Their pages are durable and say what the target durably holds."""
        listed = list(windows)
        for window in listed:
            self.touched.add(window)
            self.written.add(window)
        self._append(_DONE, self._ranges(listed, self.done))

    def skip(self, windows: Iterable[int]) -> None:
        """They were read and found as the list says; nothing was written."""
        self._append(_SKIPPED, self._ranges(windows, self.done))

    @staticmethod
    def _ranges(windows: Iterable[int], into: WindowSet) -> bytes:
        numbers = list(windows)
        for number in numbers:
            into.add(number)
        return b"".join(_RANGE.pack(e.start, e.end) for e in merged(Extent(n, n + 1) for n in numbers))

    def _append(self, kind: bytes, payload: bytes) -> None:
        record = _HEAD.pack(len(payload), zlib.crc32(kind + payload), kind) + payload
        write_fully(self._fd, self.path, self._end, record)
        self._end += len(record)

    def close(self) -> None:
        os.close(self._fd)

    def remove(self) -> None:
        """The run is complete; a crash before this leaves a journal of an older generation, which is void."""
        Path(self.path).unlink(missing_ok=True)
