"""Many threads' small independent writes in one transaction: whoever waits for the database takes along who came since.

A transaction costs a flush to the disk and a turn of the one writer, whatever is in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from holdfast.store.database import Database

__all__ = ["Together"]


@dataclass
class _Waiting:
    change: Callable[[Session], Any]
    called: threading.Event = field(default_factory=threading.Event)  # its change is decided, or it shall lead
    leads: bool = False
    error: BaseException | None = None


class Together:
    """For appends that cannot fail by themselves: an error fails all changes of its transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._guard = threading.Lock()
        self._queue: list[_Waiting] = []
        self._led = False

    def write(self, change: Callable[[Session], Any]) -> None:
        """Return when `change` is committed. Raises what its transaction raised, RuntimeError inside another write."""
        self._database.require_no_write()
        mine = _Waiting(change)
        with self._guard:
            self._queue.append(mine)
            mine.leads, self._led = not self._led, True
        if not mine.leads:
            mine.called.wait()
        if mine.leads:
            self._lead()
        if mine.error is not None:
            raise mine.error

    def _lead(self) -> None:
        batch: list[_Waiting] = []
        error: BaseException | None = None
        try:
            with self._database.write() as session:  # others join the queue while this waits for its turn
                with self._guard:
                    batch, self._queue = self._queue, []
                for one in batch:
                    one.change(session)
        except BaseException as exc:  # noqa: BLE001 - raised in each thread whose change it took down
            error = exc
        with self._guard:
            if not batch:  # the database never gave a turn: all who wait share the error
                batch, self._queue = self._queue, []
            following = self._queue[0] if self._queue else None
            self._led = following is not None
        for one in batch:
            one.error = error
            one.called.set()
        if following is not None:
            following.leads = True
            following.called.set()
