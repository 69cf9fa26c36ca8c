"""One engine per home: an exclusive lock on a file, which the system releases whatever way the process ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from holdfast.core.errors import HoldfastError, Retry

__all__ = ["HomeLock", "HomeLocked"]


class HomeLocked(HoldfastError):
    """Another process runs on this home."""

    code, retry, exit_code, http_status = "home.locked", Retry.LATER, 4, 409
    text = "Process {pid} runs on {home} already."
    remedy = "Use that one, or stop it first."


class HomeLock:
    """`with HomeLock(home / "lock"):` holds the home; raises HomeLocked at once when another process has it.

    The descriptor is not inherited by child processes, so a mover that outlives the server does not keep the home.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise HomeLocked(pid=holder, home=str(self._path.parent)) from exc
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)  # the file stays: removing it would let two processes lock two files
            self._descriptor = None

    def __enter__(self) -> HomeLock:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()
