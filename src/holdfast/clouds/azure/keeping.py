"""Answers that are worth keeping for a while. Many that ask at once wait for one answer instead of asking each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from holdfast.core.clock import Clock

__all__ = ["Kept"]

T = TypeVar("T")


class Kept(Generic[T]):
    """Values by key, each kept for `span`. A failure is kept by nobody: the next one asks again."""

    def __init__(self, clock: Clock, span: timedelta) -> None:
        self._clock = clock
        self._span = span
        self._values: dict[str, tuple[datetime, T]] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: str, ask: Callable[[], T]) -> T:
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            kept = self._values.get(key)
            # A clock that was set back must not keep a value for longer than its span.
            if kept is not None and timedelta(0) <= self._clock.now() - kept[0] < self._span:
                return kept[1]
            value = ask()
            self._values[key] = (self._clock.now(), value)
            return value
