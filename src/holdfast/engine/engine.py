"""The engine's face: submit, cancel, retry, look. Shared by both implementations, which differ in who runs segments."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from holdfast.core.clock import Clock
from holdfast.core.errors import Conflict, NotFound
from holdfast.core.ids import OperationId, new_operation_id
from holdfast.engine import reconciling, schedules, ticking, timers
from holdfast.engine.kinds import OperationKind, Reconciler, Registry
from holdfast.engine.record import change_state, log_event
from holdfast.engine.seams import NoSeam, Seam
from holdfast.engine.settings import Settings
from holdfast.engine.states import Event, State, next_state
from holdfast.engine.submitting import Order, busy_error, insert_operations
from holdfast.engine.tables import EventRow, OperationRow, StepRow, TimerRow
from holdfast.engine.views import EventView, OperationView, StepView
from holdfast.engine.worker import Worker
from holdfast.store import Database

__all__ = ["Engine", "NotStuck"]

_PURGE_BATCH = 500


class NotStuck(Conflict):
    """Only a stuck operation can be retried."""

    code = "operation.not_stuck"
    text = "Operation {operation} is {state}, not stuck."
    remedy = "Start a new operation if this one has ended; wait if it still runs."


class Engine(ABC):
    """Durable operations over one database.

    services: what steps get as `call.services`; wiring may set it after construction. real_time: seconds since 1970 by
    the machine, to notice that nobody ticked; not the injected clock.
    """

    def __init__(
        self,
        database: Database,
        registry: Registry,
        *,
        clock: Clock,
        worker: Worker,
        services: Any = None,
        settings: Settings | None = None,
        seam: Seam | None = None,
        real_time: Callable[[], float] = time.time,
    ) -> None:
        self.database = database
        self.registry = registry
        self.clock = clock
        self.worker = worker
        self.services = services
        self.settings = settings or Settings()
        self.seam: Seam = seam or NoSeam()
        self.real_time = real_time
        self.timers = timers.Timers(self)
        self.schedules = schedules.Schedules(self)

    # --- changing ------------------------------------------------------------------------------------------------

    def submit(
        self,
        session: Session | None,
        kind: str | OperationKind[Any, Any],
        spec: Any,
        subject: str | None = None,
        *,
        operation_id: OperationId | None = None,
        wake_at: datetime | None = None,
        actor: str = "holdfast",
    ) -> OperationId:
        """Accept an operation, in the caller's write transaction or in one of its own; it starts right after commit.

        The same operation_id again is the same operation. Raises SubjectBusy (a Conflict), NotFound for an unknown
        kind, NotRecordable and SecretInRecord for a spec that has no record.
        """
        if session is None:
            with self.database.write() as own:
                return self.submit(own, kind, spec, subject, operation_id=operation_id, wake_at=wake_at, actor=actor)
        declared = self.kind_of(kind)
        about = self.registry.subject_of(declared, spec, subject)
        identity = operation_id or new_operation_id()
        order = Order(identity, declared, declared.encode_spec(spec), about, actor, wake_at)
        if identity not in insert_operations(session, [order], self.clock.now()):
            raise busy_error(session, about)
        Database.after_commit(session, lambda: self.nudge(identity))
        return identity

    def cancel(self, operation: OperationId) -> bool:
        """Ask to undo. True: accepted, and it will be undone. False: too late, it has pivoted, unwinds or has ended."""
        with self.database.write() as session:
            row = self._locked(session, operation)
            state = State(row.state)
            if row.cancel and not row.pivoted:
                return True
            stuck_forward = state is State.STUCK and row.reason is None
            if row.pivoted or not (state in (State.QUEUED, State.RUNNING, State.WAITING) or stuck_forward):
                return False
            row.cancel, row.updated_at = True, self.clock.now()
            if stuck_forward:
                self._unstick(session, row, Event.RETRIED)
            if row.owner is None:
                row.generation += 1
                row.wake_at = row.enqueued_s = None
                Database.after_commit(session, lambda: self.nudge(operation))
        return True

    def retry(self, operation: OperationId) -> None:
        """Let a stuck operation go on: forward where it stopped, or back from the top. Raises NotStuck."""
        with self.database.write() as session:
            row = self._locked(session, operation)
            if row.state != State.STUCK.value:
                raise NotStuck(operation=operation, state=row.state)
            if row.reason is None:
                self._unstick(session, row, Event.RETRIED)
            else:
                session.execute(
                    update(StepRow)
                    .where(StepRow.operation == operation, StepRow.undo.is_not(None))
                    .values(undone=False, undo_attempt=0)
                )
                self._unstick(session, row, Event.RETRIED_BACK)
            row.generation += 1
            row.wake_at = row.enqueued_s = None
            Database.after_commit(session, lambda: self.nudge(operation))

    def _unstick(self, session: Session, row: OperationRow, event: Event) -> None:
        old, now = State(row.state), self.clock.now()
        row.state = next_state(old, event).value
        row.failures = row.takeovers = 0
        row.updated_at = now
        session.flush()
        kind = self.registry.kind(row.kind, row.version) if self.registry.can_run(row.kind, row.version) else None
        change_state(session, kind, row.id, now, old, State(row.state), row.reason)

    def _locked(self, session: Session, operation: OperationId) -> OperationRow:
        row = session.get(OperationRow, operation, with_for_update=True)
        if row is None:
            raise NotFound(kind="operation", name=operation, listed_by="holdfast operation list")
        return row

    def purge(self, before: datetime) -> int:
        """Forget operations closed before that time, and timers that ended before it. Returns how many operations."""
        purged = 0
        while True:
            with self.database.write() as session:
                old = session.scalars(
                    select(OperationRow.id)
                    .where(OperationRow.open.is_(False), OperationRow.closed_at < before)
                    .limit(_PURGE_BATCH)
                ).all()
                for table, column in ((EventRow, EventRow.operation), (StepRow, StepRow.operation)):
                    session.execute(delete(table).where(column.in_(old)))
                session.execute(delete(OperationRow).where(OperationRow.id.in_(old)))
            purged += len(old)
            if len(old) < _PURGE_BATCH:
                break
        with self.database.write() as session:
            session.execute(delete(TimerRow).where(TimerRow.state != "armed", TimerRow.due_at < before))
            day = f"{self.database.seconds()} - 86400"
            session.execute(
                text(
                    f"delete from workers where beat_s < {day} and not exists"
                    " (select 1 from operations o where o.owner = workers.id)"
                )
            )
        return purged

    # --- looking -------------------------------------------------------------------------------------------------

    def get(self, operation: OperationId) -> OperationView:
        """Raises NotFound."""
        found = self.find(operation)
        if found is None:
            raise NotFound(kind="operation", name=operation, listed_by="holdfast operation list")
        return found

    def find(self, operation: OperationId) -> OperationView | None:
        with self.database.read() as session:
            row = session.get(OperationRow, operation)
            return None if row is None else OperationView.of(row)

    def list(
        self,
        *,
        kind: str | None = None,
        states: Collection[State] | None = None,
        subject: str | None = None,
        open_only: bool = False,
        limit: int = 100,
    ) -> tuple[OperationView, ...]:
        """The newest first."""
        query = select(OperationRow).order_by(OperationRow.created_at.desc(), OperationRow.id).limit(limit)
        if kind is not None:
            query = query.where(OperationRow.kind == kind)
        if states is not None:
            query = query.where(OperationRow.state.in_([state.value for state in states]))
        if subject is not None:
            query = query.where(OperationRow.subject == subject)
        if open_only:
            query = query.where(OperationRow.open.is_(True))
        with self.database.read() as session:
            return tuple(OperationView.of(row) for row in session.scalars(query))

    def steps(self, operation: OperationId) -> tuple[StepView, ...]:
        """In the order of their first intents."""
        with self.database.read() as session:
            rows = session.scalars(select(StepRow).where(StepRow.operation == operation).order_by(StepRow.seq))
            return tuple(StepView.of(row) for row in rows)

    def events(self, operation: OperationId, after: int = 0, limit: int = 1000) -> tuple[EventView, ...]:
        """Lines with an id above `after`, oldest first."""
        query = (
            select(EventRow)
            .where(EventRow.operation == operation, EventRow.id > after)
            .order_by(EventRow.id)
            .limit(limit)
        )
        with self.database.read() as session:
            return tuple(EventView.of(row) for row in session.scalars(query))

    def result(self, operation: OperationId) -> Any:
        """What the story returned, in its own type. Raises the operation's error, or Conflict while it is open."""
        with self.database.read() as session:
            row = session.get(OperationRow, operation)
        view = self.get(operation)
        if row is not None and view.state is State.DONE:
            return self.registry.kind(row.kind, row.version).decode_result(row.result)
        if view.is_closed and view.unwinding_because is not None:
            raise view.unwinding_because
        raise Conflict(problem=f"Operation {operation} is {view.state}.", way_out="Wait until it has ended.")

    def spec(self, operation: OperationId) -> Any:
        """What it was submitted with, in its own type."""
        with self.database.read() as session:
            row = session.get(OperationRow, operation)
        if row is None:
            raise NotFound(kind="operation", name=operation, listed_by="holdfast operation list")
        return self.registry.kind(row.kind, row.version).decode_spec(row.spec)

    def log(self, session: Session, operation: OperationId, text_: str, **fields: Any) -> None:
        """Append a line to an operation's story from outside, in the caller's transaction."""
        log_event(session, operation, self.clock.now(), "note", text_, fields=fields)

    def kind_of(self, kind: str | OperationKind[Any, Any]) -> OperationKind[Any, Any]:
        """The declared kind; a name means its newest version. Raises NotFound."""
        return self.registry.kind(kind) if isinstance(kind, str) else self.registry.kind(kind.name, kind.version)

    # --- running -------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """One round of the net: take-over, timers, schedules, waits, reconcilers. Right at any moment.

        Every part is tried; raises the first error afterwards.
        """
        failed: Exception | None = None
        for part in (
            lambda: ticking.take_over(self),
            lambda: ticking.give_back_lost(self),
            lambda: timers.fire_due(self, ticking.pulse(self)),
            lambda: schedules.start_due(self),
            lambda: self.give(ticking.due_tickets(self)),
            lambda: [self.reconcile(one) for one in reconciling.claim_due(self)],
        ):
            try:
                part()
            except Exception as exc:  # noqa: BLE001 - one part must not hold up the others; raised below
                failed = failed or exc
        if failed is not None:
            raise failed

    def nudge(self, operation: OperationId) -> None:
        """Start it at once instead of at the next tick."""
        self.give(ticking.due_tickets(self, operation))

    def drain(self) -> None:
        """Take nothing new, and let what runs release itself at its next boundary."""
        self.worker.draining = True

    @abstractmethod
    def give(self, tickets: Sequence[ticking.Ticket]) -> None:
        """Have these segments run. May lose some: the tick notices."""

    @abstractmethod
    def still_queued(self, tickets: Sequence[tuple[OperationId, int]]) -> set[tuple[OperationId, int]]:
        """Which of these the scheduler still holds and will run."""

    @abstractmethod
    def reconcile(self, one: Reconciler) -> None:
        """Run one round of a reconciler that this worker has claimed."""

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None: ...
