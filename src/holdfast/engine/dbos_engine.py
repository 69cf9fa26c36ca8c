"""Operations on DBOS: it decides who works, our record decides what has happened.

DBOS holds one workflow per generation (`operation:generation`), with two integers' worth of arguments and no steps. Its
whole database may be lost at any moment: the tick gives everything open a new generation. Nothing of it is pickled.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from holdfast.core.clock import Clock, SystemClock
from holdfast.core.ids import OperationId
from holdfast.engine import ticking
from holdfast.engine.engine import Engine
from holdfast.engine.kinds import Reconciler, Registry
from holdfast.engine.reconciling import run_reconciler
from holdfast.engine.running import run
from holdfast.engine.scheduling import Scheduler
from holdfast.engine.seams import Seam
from holdfast.engine.settings import Settings
from holdfast.engine.worker import Worker
from holdfast.store import Database

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["DbosEngine"]

log = logging.getLogger("holdfast.engine")

_HOUSEKEEPING_TICKS = 10
_STOP = None


class DbosEngine(Engine):
    """One worker of this process. At most one is started in a process, because DBOS is one per process.

    scheduler_url: DBOS's own SQLite file, or the PostgreSQL database in which it gets the schema `dbos`. alone: no
    other process can run on this home (a HomeLock is held), so what the last one owned is taken at once. works=False
    only submits, cancels and looks: other workers run things.

    After `stop()` a process should end with `os._exit`: a step that does not check keeps its thread.
    """

    def __init__(
        self,
        database: Database,
        registry: Registry,
        *,
        scheduler_url: str,
        clock: Clock | None = None,
        services: Any = None,
        settings: Settings | None = None,
        seam: Seam | None = None,
        alone: bool = False,
        works: bool = True,
        real_time: Callable[[], float] = time.time,
    ) -> None:
        chosen = settings or Settings()
        super().__init__(
            database,
            registry,
            clock=clock or SystemClock(),
            worker=Worker(database, chosen.lease_s),
            services=services,
            settings=chosen,
            seam=seam,
            real_time=real_time,
        )
        self._scheduler = Scheduler(scheduler_url, self.worker.id, chosen, self._run)
        self._alone = alone
        self._works = works
        self._stopping = threading.Event()
        self._nudged: queue.SimpleQueue[OperationId | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._reconcilers: ThreadPoolExecutor | None = None
        self._reconciling: set[str] = set()
        self._lock = threading.Lock()
        self._ticks = 0
        self._ticked_at: float | None = None

    # --- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Beat, take over what a dead process of this home owned, launch DBOS, tick. Raises if a database is away."""
        if not self._works:
            return
        self.worker.beat()
        if self._alone:
            ticking.take_over_all(self)
        self._scheduler.launch()
        self._reconcilers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="reconciler")
        for name, body in (("beat", self._beat), ("tick", self._tick), ("nudge", self._dispatch)):
            thread = threading.Thread(target=body, name=f"engine-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Drain, wait for steps to reach a boundary (at most settings.drain_s), and leave. Safe to call twice."""
        if not self._works or self._stopping.is_set():
            return
        self.drain()
        deadline = time.monotonic() + self.settings.drain_s
        while self.worker.running() and time.monotonic() < deadline:
            time.sleep(0.02)
        self._stopping.set()
        self._nudged.put(_STOP)
        for thread in self._threads:
            thread.join(timeout=5.0)
        if self._reconcilers is not None:
            self._reconcilers.shutdown(wait=True, cancel_futures=True)
        self._scheduler.destroy()
        self.worker.farewell()  # last: from here on peers may take what did not reach a boundary

    def is_ticking(self) -> bool:
        """True when the last tick that succeeded is not older than a lease. For health pages."""
        return self._ticked_at is not None and time.monotonic() - self._ticked_at < self.settings.lease_s

    # --- what the tick and submitters need -----------------------------------------------------------------------

    def nudge(self, operation: OperationId) -> None:
        """Hand over to a thread of ours: DBOS must not be called inside its own workflows or on an event loop."""
        if self._works:
            self._nudged.put(operation)

    def give(self, tickets: Sequence[ticking.Ticket]) -> None:
        self._scheduler.enqueue(tickets)

    def still_queued(self, tickets: Sequence[tuple[OperationId, int]]) -> set[tuple[OperationId, int]]:
        return self._scheduler.still_queued(tickets)

    def reconcile(self, one: Reconciler) -> None:
        """In a thread of its own, so that a slow cloud does not stop the tick; one round of each at a time."""
        with self._lock:
            if self._reconcilers is None or one.name in self._reconciling:
                return
            self._reconciling.add(one.name)

        def round_() -> None:
            try:
                run_reconciler(self, one)
            except Exception:
                log.exception("reconciler %s could not be recorded", one.name)
            finally:
                with self._lock:
                    self._reconciling.discard(one.name)

        self._reconcilers.submit(round_)

    def purge(self, before: datetime) -> int:
        purged = super().purge(before)
        if self._works:
            self._scheduler.purge()
        return purged

    # --- threads -------------------------------------------------------------------------------------------------

    def _run(self, operation: str, generation: int) -> str:
        if self.worker.draining:
            return "draining"  # unclaimed: the tick of a peer, or of the next start, finds it in doubt
        return run(self, OperationId(operation), generation).value

    def _beat(self) -> None:
        while not self._stopping.wait(self.settings.lease_s / 5):
            try:
                self.worker.beat()
            except SQLAlchemyError as exc:  # the lease lapses if this lasts; steps notice by themselves
                log.warning("no beat: %s", exc)

    def _tick(self) -> None:
        while not self._stopping.wait(self.settings.tick_s):
            if self.worker.draining:
                continue
            try:
                self.tick()
                self._ticked_at = time.monotonic()
                self._ticks += 1
                if self._ticks % _HOUSEKEEPING_TICKS == 0:
                    self._scheduler.drop_dead(ticking.live_workers(self))
            except Exception as exc:  # noqa: BLE001 - whatever failed, the next tick is the remedy; it is logged
                if not self._stopping.is_set():
                    log.warning("a tick failed and the next one tries again: %s: %s", type(exc).__name__, exc)
                    self._scheduler.relaunch_if_lost(exc)

    def _dispatch(self) -> None:
        while (operation := self._nudged.get()) is not _STOP:
            try:
                if not self.worker.draining:
                    self.give(ticking.due_tickets(self, operation))
            except Exception as exc:  # noqa: BLE001 - the tick is the net; it logs what lasts
                log.info("operation %s waits for the tick: %s", operation, exc)
