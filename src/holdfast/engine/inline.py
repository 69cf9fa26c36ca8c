"""The inline engine: the same record and runner in the caller's thread. For tests, and the harness of crashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from holdfast.core.clock import Clock, ManualClock
from holdfast.core.ids import OperationId
from holdfast.engine import ticking
from holdfast.engine.crashing import Crash, CrashSeam
from holdfast.engine.engine import Engine
from holdfast.engine.kinds import Reconciler, Registry
from holdfast.engine.reconciling import run_reconciler
from holdfast.engine.running import Outcome, run
from holdfast.engine.seams import Seam
from holdfast.engine.settings import Settings
from holdfast.engine.states import State
from holdfast.engine.views import OperationView
from holdfast.engine.worker import UnleasedWorker
from holdfast.store import Database

__all__ = ["InlineEngine"]

_MOST_SEGMENTS = 10_000  # a story that waits more often than this in one run waits for something that cannot come


class InlineEngine(Engine):
    """Runs segments where it is called, one after the other; nothing happens in the background.

    `submit` only records. `run(id)` runs one operation to its end and moves the clock over its waits; `tick()` does
    what is due now and runs what that starts, as far as it goes without moving the clock. With `crash` the process
    "dies" there once (`Crashed` leaves `run`): build another InlineEngine over the same database and `recover()`.
    """

    def __init__(
        self,
        database: Database,
        registry: Registry,
        *,
        clock: Clock | None = None,
        services: Any = None,
        settings: Settings | None = None,
        crash: Crash | None = None,
        seam: Seam | None = None,
        real_time: Callable[[], float] = lambda: 0.0,
    ) -> None:
        super().__init__(
            database,
            registry,
            clock=clock or ManualClock(),
            worker=UnleasedWorker(database),
            services=services,
            settings=settings,
            seam=seam,
            real_time=real_time,
        )
        if crash is not None:
            self.seam = CrashSeam(crash, self.cancel)
        self._given: list[ticking.Ticket] = []

    def run(self, operation: OperationId) -> OperationView:
        """Run it until it is closed or stuck, over all its waits. Raises Crashed where the harness says."""
        for _ in range(_MOST_SEGMENTS):
            view = self.get(operation)
            if view.is_closed or view.state is State.STUCK:
                return view
            if view.owner is not None and view.owner != self.worker.id:
                raise RuntimeError(f"{operation} is owned by a worker that crashed: call recover() first")
            if view.wake_at is not None and view.wake_at > self.clock.now():
                self.clock.sleep((view.wake_at - self.clock.now()) / timedelta(seconds=1))
            outcome = run(self, operation, view.generation)
            if outcome in (Outcome.STALE, Outcome.DROPPED, Outcome.LOST, Outcome.RELEASED):
                ticking.give_back_lost(self)
                if outcome is not Outcome.DROPPED and self.get(operation).generation == view.generation:
                    raise RuntimeError(f"{operation} cannot be run here: {outcome}")
                if self.worker.draining:
                    return self.get(operation)
        raise RuntimeError(f"{operation} did not end within {_MOST_SEGMENTS} segments")

    def tick(self) -> None:
        super().tick()
        while self._given:
            tickets, self._given = self._given, []
            for operation, generation, _urgent in tickets:
                run(self, operation, generation)
            self.give(ticking.due_tickets(self))

    def advance(self, delta: timedelta | float) -> None:
        """Let time pass and tick once at its end."""
        seconds = delta / timedelta(seconds=1) if isinstance(delta, timedelta) else delta
        self.clock.sleep(seconds)
        self.tick()

    def recover(self) -> tuple[OperationView, ...]:
        """What a restarted process does first: own what the dead one owned, and bring it to an end.

        Operations that were submitted for a later time stay as they are.
        """
        ticking.take_over_all(self)
        ended = []
        for view in reversed(self.list(open_only=True, limit=100_000)):
            later = view.state is State.QUEUED and view.wake_at is not None and view.wake_at > self.clock.now()
            if view.state is not State.STUCK and not later:
                ended.append(self.run(view.id))
        return tuple(ended)

    def nudge(self, operation: OperationId) -> None:
        """Nothing: `run` and `tick` say when."""

    def give(self, tickets: Sequence[ticking.Ticket]) -> None:
        self._given.extend(tickets)

    def still_queued(self, tickets: Sequence[tuple[OperationId, int]]) -> set[tuple[OperationId, int]]:
        given = {(operation, generation) for operation, generation, _ in self._given}
        return given & set(tickets)

    def reconcile(self, one: Reconciler) -> None:
        run_reconciler(self, one)

    def start(self) -> None:
        ticking.take_over_all(self)

    def stop(self) -> None:
        self.drain()
