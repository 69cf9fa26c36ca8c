"""This process as an owner of operations: its id, its lease, what it runs."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import CursorResult, text
from sqlalchemy.orm import Session

from holdfast.core.ids import OperationId, short_hex
from holdfast.engine.errors import Draining, LeaseLost
from holdfast.store import Database

__all__ = ["Worker", "boottime"]

log = logging.getLogger("holdfast.engine")

_FRESH_SHARE = 0.7  # of the lease: what is sent later could meet an owner that took over


def boottime() -> float:
    """Seconds on a clock that also counts while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Worker:
    """Owns operations while its beat is fresh.

    The lease is judged twice: by others through the database's clock, and by ourselves, directly before each request,
    through a suspend-proof clock stamped before the beat was sent. The epoch tells threads of before a lapse from those
    after it: a renewed beat must not arm old threads again.
    """

    def __init__(self, database: Database, lease_s: float, boottime: Callable[[], float] = boottime) -> None:
        self.id = f"w-{short_hex(12)}"
        self.about = f"{socket.gethostname()} pid {os.getpid()}"
        self.epoch = 0
        self.draining = False
        self._database = database
        self._lease_s = lease_s
        self._boottime = boottime
        self._beat_started: float | None = None
        self._lock = threading.Lock()
        self._running: set[tuple[OperationId, int]] = set()

    # --- lease ---------------------------------------------------------------------------------------------------

    def beat(self) -> bool:
        """Renew the lease, in a transaction and session of its own. False when it had lapsed: all was given back."""
        started = self._boottime()
        now = self._database.seconds()
        lapsed = False
        with self._database.write() as session:
            mine = {"me": self.id, "lease": self._lease_s, "about": self.about}
            renewed = _rows(session, f"update workers set beat_s={now} where id=:me and beat_s > {now} - :lease", mine)
            if renewed == 0:
                lapsed = True
                self.epoch += 1  # first: from here on old threads can send nothing more
                _rows(
                    session,
                    "update operations set owner=null, generation=generation+1, enqueued_s=null,"
                    " takeovers=takeovers+1 where owner=:me and open",
                    mine,
                )
                _rows(
                    session,
                    f"insert into workers (id, beat_s, about) values (:me, {now}, :about)"
                    " on conflict (id) do update set beat_s = excluded.beat_s",
                    mine,
                )
        first = self._beat_started is None
        self._beat_started = started
        if lapsed and not first:
            log.warning("the lease of %s had lapsed; its operations were given back", self.id)
        return not lapsed

    def check(self, epoch: int) -> None:
        """Raises LeaseLost or Draining. The last thing before a mutating request leaves."""
        if self.draining:
            raise Draining
        if self._beat_started is None or epoch != self.epoch:
            raise LeaseLost
        if self._boottime() - self._beat_started > _FRESH_SHARE * self._lease_s:
            raise LeaseLost

    def farewell(self) -> None:
        """Say that we left, last of all: what we still own may be taken at once."""
        with self._database.write() as session:
            _rows(session, "update workers set beat_s=0 where id=:me", {"me": self.id})

    # --- what runs here ------------------------------------------------------------------------------------------

    def enter(self, operation: OperationId, generation: int) -> None:
        with self._lock:
            self._running.add((operation, generation))

    def leave(self, operation: OperationId, generation: int) -> None:
        with self._lock:
            self._running.discard((operation, generation))

    def running(self) -> frozenset[tuple[OperationId, int]]:
        with self._lock:
            return frozenset(self._running)


class UnleasedWorker(Worker):
    """The inline engine's: alone on its database, so its lease never lapses."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, lease_s=0.0)

    def beat(self) -> bool:
        return True

    def check(self, epoch: int) -> None:
        if self.draining:
            raise Draining
        if epoch != self.epoch:
            raise LeaseLost

    def farewell(self) -> None:
        """There is nobody to tell."""


def _rows(session: Session, statement: str, values: dict[str, Any]) -> int:
    return cast("CursorResult[Any]", session.execute(text(statement), values)).rowcount
