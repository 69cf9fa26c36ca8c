"""What a run did, as a value: shown by the CLI, sent by the mover, kept by features."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from holdfast.disks.model.extents import Extent

__all__ = ["Meter", "Progress", "Report", "Watcher"]


class Report:
    """One run. `why` says how changes were found; `root` identifies the disk state when a list was kept (hex).

    `skipped_bytes` were not read again, because an earlier run of the same command had done it.
    """

    def __init__(
        self,
        why: str,
        size_bytes: int,
        *,
        read_bytes: int = 0,
        changed_bytes: int = 0,
        written_bytes: int = 0,
        zeroed_bytes: int = 0,
        skipped_bytes: int = 0,
        root: str | None = None,
        resumed: bool = False,
        notes: list[str] | None = None,
        verified: str = "none",
        verified_bytes: int = 0,
    ) -> None:
        self.why = why
        self.size_bytes = size_bytes
        self.read_bytes = read_bytes
        self.changed_bytes = changed_bytes
        self.written_bytes = written_bytes
        self.zeroed_bytes = zeroed_bytes
        self.skipped_bytes = skipped_bytes
        self.root = root
        self.resumed = resumed
        self.notes = [] if notes is None else notes
        self.verified = verified
        self.verified_bytes = verified_bytes

    def to_dict(self) -> dict[str, Any]:
        """What the constructor takes, as JSON values."""
        return vars(self) | {"notes": list(self.notes)}


class Progress(NamedTuple):
    """A moment of a run: bytes of the plan that are behind us, of how many, and written so far."""

    done_bytes: int
    planned_bytes: int
    written_bytes: int


class Watcher(Protocol):
    """Told of progress, from any thread, several times a second at most; must return quickly."""

    def __call__(self, progress: Progress, /) -> None: ...


class Meter:
    """Counts for the report and feeds the watcher; safe to share between threads."""

    def __init__(
        self,
        report: Report,
        planned_bytes: int,
        watcher: Watcher | None = None,
        on_extent: Callable[[Extent], None] | None = None,
    ) -> None:
        self.report = report
        self._planned_bytes = planned_bytes
        self._done_bytes = 0
        self._watcher = watcher
        self._on_extent = on_extent
        self._lock = threading.Lock()

    def add(self, *, done: int = 0, read: int = 0, changed: int = 0, written: int = 0, zeroed: int = 0) -> None:
        """Add bytes to the counts. Called once per window, not once per chunk."""
        with self._lock:
            report = self.report
            report.read_bytes += read
            report.changed_bytes += changed
            report.written_bytes += written
            report.zeroed_bytes += zeroed
            self._done_bytes += done
            progress = Progress(self._done_bytes, self._planned_bytes, report.written_bytes)
        if self._watcher is not None:
            self._watcher(progress)

    def landed(self, extent: Extent) -> None:
        """An extent is durable on the target; the mover reports these."""
        if self._on_extent is not None:
            self._on_extent(extent)
