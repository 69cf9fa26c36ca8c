"""How many requests may be under way at one endpoint: found while running, shared by all disks of the process.

Starts with a few; grows while throughput grows with it; steps back when it does not; halves when the server throttles,
and then nobody asks again before the server's own Retry-After has passed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Gate", "gate_for"]

_MOST = 64  # past this an endpoint that still gains is limited by us, not by it
_FIRST = 6
_GAIN = 1.03  # a step that brings less than this is noise


class Gate:
    """A semaphore whose size follows what it sees."""

    def __init__(
        self, most: int = _MOST, first: int = _FIRST, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.allowed, self._most = first, most
        self._under_way = 0
        self._blocked_until = 0.0
        self._changed = threading.Condition()
        self._monotonic = monotonic
        self._bytes = 0
        self._done = 0
        self._since: float | None = None
        self._last_rate = 0.0
        self._step = 1

    @contextmanager
    def pass_through(self) -> Iterator[None]:
        """Hold one place while a request is under way."""
        with self._changed:
            while self._under_way >= self.allowed or self._monotonic() < self._blocked_until:
                wait_s = max(0.0, self._blocked_until - self._monotonic())
                self._changed.wait(min(1.0, wait_s) if wait_s > 0 else 1.0)
            self._under_way += 1
            if self._since is None:
                self._since = self._monotonic()
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify()

    def moved(self, size: int) -> None:
        """A request that moved `size` bytes is done; after each round of them see whether the last step was a gain."""
        with self._changed:
            self._bytes += size
            self._done += 1
            if self._done < 3 * self.allowed or self._since is None:
                return
            now = self._monotonic()
            rate = self._bytes / max(1e-6, now - self._since)
            if rate < self._last_rate * _GAIN and self._last_rate:
                self._step = -self._step if rate < self._last_rate else self._step
            self.allowed = max(2, min(self._most, self.allowed + self._step * max(1, self.allowed // 4)))
            self._last_rate, self._bytes, self._done, self._since = rate, 0, 0, now
            self._changed.notify_all()

    def throttled(self, wait_s: float) -> None:
        """The server wants less: half as many, and none for a while."""
        with self._changed:
            self.allowed = max(1, self.allowed // 2)
            self._step, self._last_rate = 1, 0.0
            self._bytes, self._done, self._since = 0, 0, None
            self._blocked_until = max(self._blocked_until, self._monotonic() + wait_s)


_gates: dict[str, Gate] = {}
_lock = threading.Lock()


def gate_for(host: str) -> Gate:
    """The one gate of an endpoint (host and port) in this process."""
    with _lock:
        return _gates.setdefault(host, Gate())
