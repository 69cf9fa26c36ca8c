"""Time comes from a clock that is passed in, so that a test passes 96 hours in a moment.

Leases, TLS and tokens do not use it: they stay on the machine's real time.
"""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

__all__ = ["Clock", "FileClock", "ManualClock", "SystemClock", "format_utc", "parse_utc"]


class Clock(Protocol):
    """Tells the time, always aware and in UTC, and waits in its own time."""

    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None:
        """Return after `seconds` of this clock have passed. For short polling waits only; long waits are rows."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class ManualClock:
    """A clock that moves only when told, or when somebody sleeps on it. For tests; safe to share between threads."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        with self._lock:
            return self._now

    def advance(self, delta: timedelta | float) -> datetime:
        """Move forward by a timedelta, or by seconds. Returns the new time."""
        step = delta if isinstance(delta, timedelta) else timedelta(seconds=delta)
        with self._lock:
            self._now += step
            return self._now

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)


class FileClock:
    """Follows a file `{"offset_s": 0.0, "rate": 1.0, "since": "…Z"}` that a test rewrites, so that processes agree.

    now = real + offset_s + (rate − 1) · (real − since). A missing file means the real time. The file is read again
    whenever it changed. Whoever wires a process refuses this clock for clouds whose endpoint is not loopback.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at: tuple[int, int] | None = None
        self._offset_s, self._rate, self._since = 0.0, 1.0, 0.0

    def _refresh(self) -> None:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            self._read_at, self._offset_s, self._rate = None, 0.0, 1.0
            return
        if self._read_at == (stat.st_mtime_ns, stat.st_size):
            return
        told = json.loads(self._path.read_text())
        self._offset_s = float(told.get("offset_s", 0.0))
        self._rate = float(told.get("rate", 1.0))
        self._since = parse_utc(told["since"]).timestamp() if "since" in told else time.time()
        self._read_at = (stat.st_mtime_ns, stat.st_size)

    def now(self) -> datetime:
        self._refresh()
        real = time.time()
        return datetime.fromtimestamp(real + self._offset_s + (self._rate - 1.0) * (real - self._since), UTC)

    def sleep(self, seconds: float) -> None:
        self._refresh()
        time.sleep(seconds / self._rate if self._rate > 0 else seconds)


def format_utc(moment: datetime) -> str:
    """RFC 3339 with milliseconds and Z, which Go, Java and Python clients all parse."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def parse_utc(text: str) -> datetime:
    """The inverse of `format_utc`; accepts any RFC 3339 time with an offset, also Azure's seven decimals."""
    head, dot, tail = text.partition(".")
    if dot:
        digits = len(tail) - len(tail.lstrip("0123456789"))
        text = f"{head}.{tail[:digits][:6].ljust(6, '0')}{tail[digits:]}"
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"a time needs an offset: {text}")
    return moment.astimezone(UTC)
