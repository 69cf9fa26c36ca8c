"""Continues guests that QEMU stopped because a disk did not answer: azurelab was away for longer than they wait.

QEMU tries the failed requests again when it goes on, and reaches the disk server by then if it is back; else it stops
again and says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from azurelab.guests.qmp import QmpClosed, QmpError

__all__ = ["AGAIN_S", "Resumption"]

_log = logging.getLogger(__name__)
AGAIN_S = 5.0
"""Between two attempts."""


class Resumption:
    """Of one guest. `execute` is its QMP; `trouble` may be called from any thread, `step` from one."""

    def __init__(self, execute: Callable[[str], Any], now: Callable[[], float] = time.monotonic) -> None:
        self._execute = execute
        self._now = now
        self._due = now()  # a guest that was found again may have stopped while nobody listened

    def trouble(self) -> None:
        """QEMU told of a disk error that stops the guest."""
        self._due = min(self._due, self._now() + AGAIN_S)

    def step(self) -> bool:
        """Whether the guest was continued by this call. Costs nothing while there is no trouble."""
        if self._now() < self._due:
            return False
        try:
            if self._execute("query-status")["status"] != "io-error":
                self._due = float("inf")
                return False
            self._due = self._now() + AGAIN_S
            self._execute("cont")
        except QmpClosed:
            self._due = float("inf")  # it is off
            return False
        except QmpError as error:
            _log.warning("a guest that its disks stopped does not go on: %s", error)
            return False
        return True
