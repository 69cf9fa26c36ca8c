"""Outputs that can only be appended to: read and pack in threads, append in order, with bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from holdfast.disks.errors import WriteFailed
from holdfast.disks.system.claims import claim_anew
from holdfast.disks.system.naming import give_name, require_free
from holdfast.disks.system.writing import write_failure

__all__ = ["FileSink", "Sink", "StreamSink", "ordered"]

T = TypeVar("T")
R = TypeVar("R")


def ordered(plan: Iterator[T], work: Callable[[T], R], *, lanes: int, ahead: int = 2) -> Iterator[R]:
    """Results of `work` in the plan's order; at most `lanes + ahead` are under way or waiting."""
    with ThreadPoolExecutor(lanes, "disk-pack") as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in plan:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= lanes + ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class Sink(Protocol):
    """Where a stream goes. `written` counts from its start."""

    written: int

    def append(self, data: bytes | memoryview) -> None: ...

    def finish(self) -> None: ...

    def abandon(self) -> None: ...


class FileSink:
    """A new file that gets its name when it is complete. What was appended can be corrected with `patch`."""

    def __init__(self, path: str, *, overwrite: bool) -> None:
        require_free(path, overwrite=overwrite)
        self.path, self.written, self._overwrite = path, 0, overwrite
        self._unfinished = path + ".unfinished"
        self._fd = claim_anew(self._unfinished)

    def append(self, data: bytes | memoryview) -> None:
        self._put(self.written, data)
        self.written += len(data)

    def patch(self, offset: int, data: bytes) -> None:
        """Replace bytes that were appended."""
        self._put(offset, data)

    def _put(self, offset: int, data: bytes | memoryview) -> None:
        at, view = 0, memoryview(data)
        while at < len(view):
            try:
                at += os.pwrite(self._fd, view[at:], offset + at)
            except OSError as exc:
                raise write_failure(self.path, offset + at, len(view) - at, exc) from exc

    def finish(self) -> None:
        try:
            os.fsync(self._fd)
            give_name(self._unfinished, self.path, overwrite=self._overwrite)
        except OSError as exc:
            raise write_failure(self.path, 0, self.written, exc) from exc
        finally:
            os.close(self._fd)

    def abandon(self) -> None:
        Path(self._unfinished).unlink(missing_ok=True)
        os.close(self._fd)


class StreamSink:
    """Standard output or any descriptor that cannot seek."""

    def __init__(self, fd: int, name: str = "standard output") -> None:
        self.fd, self.name, self.written = fd, name, 0

    def append(self, data: bytes | memoryview) -> None:
        at, view = 0, memoryview(data)
        while at < len(view):
            try:
                at += os.write(self.fd, view[at:] if at else view)
            except OSError as exc:
                raise WriteFailed(name=self.name, offset=self.written, size_bytes=len(view), problem=str(exc)) from exc
        self.written += len(view)

    def finish(self) -> None:
        """The reader at the other end closes."""

    def abandon(self) -> None:
        """What went out cannot be taken back; our exit code tells."""
