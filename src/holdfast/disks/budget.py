"""One budget for all disks that a process copies: memory, bandwidth. Requests per endpoint are in `http/gate.py`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from holdfast.core.errors import InvalidInput
from holdfast.core.units import KIB, MIB, TIB, parse_bytes
from holdfast.disks.errors import DiskUsage

__all__ = ["Budget", "rate_of"]

# With less than this a request of 4 MiB, which nothing interrupts, takes more than a minute; nothing moves more.
_LEAST_RATE, _MOST_RATE = 64 * KIB, TIB


def rate_of(text: str) -> int:
    """Bytes per second, as people write them. Raises DiskUsage for what is none, or no sensible one."""
    try:
        rate = parse_bytes(text, "limit-rate")
    except (InvalidInput, OverflowError):
        rate = 0
    if not _LEAST_RATE <= rate <= _MOST_RATE:
        raise DiskUsage(field="limit-rate", problem=f"'{text}' is no rate from 64K to 1T bytes a second, such as 50M")
    return rate


class Budget:
    """Shared by every copy in the process.

    `memory_bytes` bounds changed data that wait for their marks. `rate_bytes_s` bounds what is sent to targets; None
    is unlimited. Half a second's worth may burst. The monotonic clock and sleep are passed in by tests.
    """

    def __init__(
        self,
        memory_bytes: int = 64 * MIB,
        rate_bytes_s: int | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.memory_bytes, self.rate_bytes_s = memory_bytes, rate_bytes_s
        self._held = 0
        self._changed = threading.Condition()
        self._monotonic, self._sleep = monotonic, sleep
        self._rate_lock = threading.Lock()
        self._free_at = monotonic()

    def hold(self, size: int, stopped: Callable[[], bool]) -> None:
        """Wait until `size` bytes may be held. One holder always gets through, however much it wants."""
        with self._changed:
            while self._held and self._held + size > self.memory_bytes and not stopped():
                self._changed.wait(0.05)
            self._held += size

    def let(self, size: int) -> None:
        """Give back what `hold` took."""
        with self._changed:
            self._held -= size
            self._changed.notify_all()

    def spend(self, size: int) -> None:
        """Wait until `size` more bytes may be sent."""
        if self.rate_bytes_s is None:
            return
        with self._rate_lock:
            now = self._monotonic()
            self._free_at = max(self._free_at, now - 0.5) + size / self.rate_bytes_s
            wait_s = self._free_at - now
        if wait_s > 0:
            self._sleep(wait_s)
