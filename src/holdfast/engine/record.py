"""The record of one operation while this worker owns it: every write is fenced by owner and generation."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import CursorResult, Row, Table, bindparam, func, select, update
from sqlalchemy.orm import Session

from holdfast.core.errors import HoldfastError, error_from_record, error_to_record
from holdfast.core.ids import OperationId
from holdfast.engine.call import Call
from holdfast.engine.errors import Cancelled, CrashLoop, LeaseLost, OperationCancelled, StoryChanged
from holdfast.engine.kinds import OperationKind
from holdfast.engine.seams import Moment
from holdfast.engine.states import CLOSED, Event, State, next_state
from holdfast.engine.tables import EventRow, OperationRow, StepRow
from holdfast.store import Database

if TYPE_CHECKING:
    from holdfast.engine.engine import Engine

__all__ = ["Record", "change_state", "claim", "log_event"]

INTENT, DONE, REFUSED, FAILED = "intent", "done", "refused", "failed"

_OPERATIONS, _STEPS, _EVENTS = (cast(Table, row.__table__) for row in (OperationRow, StepRow, EventRow))
_FENCED = (
    _OPERATIONS.update()
    .where(
        _OPERATIONS.c.id == bindparam("our_id"),
        _OPERATIONS.c.generation == bindparam("our_generation"),
        _OPERATIONS.c.owner == bindparam("our_owner"),
    )
    .returning(_OPERATIONS.c.cancel, _OPERATIONS.c.pivoted)
)
_CANCEL = select(_OPERATIONS.c.cancel, _OPERATIONS.c.pivoted).where(_OPERATIONS.c.id == bindparam("id"))

_OFTEN_S = 1.0  # real seconds between two messages of a step: each is a transaction


def plain(value: Any) -> Any:
    """JSON of anything that people should see: what has no JSON form of its own stands there as text."""
    return json.loads(json.dumps(value, default=str))


def recorded_error(error: BaseException) -> dict[str, Any]:
    """An error as it stands in the record. Its details must not be able to stop the record from being written."""
    record: dict[str, Any] = plain(error_to_record(error))
    return record


def log_event(
    session: Session,
    operation: str,
    at: datetime,
    kind: str,
    text: str,
    *,
    step: str | None = None,
    percent: float | None = None,
    fields: dict[str, Any] | None = None,
) -> None:
    """Append one line to the operation's story, in the caller's transaction."""
    values = {"operation": operation, "at": at, "kind": kind, "step": step, "text": text, "percent": percent}
    session.execute(_EVENTS.insert(), values | {"fields": plain(fields) or None})


def change_state(
    session: Session,
    kind: OperationKind[Any, Any] | None,
    operation: str,
    at: datetime,
    old: State | None,
    new: State,
    error: dict[str, Any] | None = None,
) -> None:
    """Tell story and feature of a state change that the same transaction makes. Nothing where nothing changes."""
    if old == new:
        return
    log_event(session, operation, at, "state", new.value, fields={"error": error} if error else None)
    if kind is not None and kind.on_state is not None:
        session.flush()
        kind.on_state(session, OperationId(operation), old, new, error)


def claim(engine: Engine, operation: OperationId, generation: int) -> Record | None:
    """Become the owner. None when that generation is gone, owned, asleep, stuck or closed."""
    epoch = engine.worker.epoch  # before the claim: a lapse in between must be noticed
    now = engine.clock.now()
    with engine.database.write() as session:
        taken = _rows(
            session,
            update(OperationRow)
            .where(
                OperationRow.id == operation,
                OperationRow.generation == generation,
                OperationRow.owner.is_(None),
                OperationRow.open.is_(True),
                OperationRow.state != State.STUCK.value,
                (OperationRow.wake_at.is_(None)) | (OperationRow.wake_at <= now),
            )
            .values(owner=engine.worker.id, enqueued_s=None, wake_at=None, updated_at=now),
        )
        if taken == 0:
            return None
        row = session.get_one(OperationRow, operation)
        if not engine.registry.can_run(row.kind, row.version):
            session.rollback()
            return None
        steps = session.scalars(select(StepRow).where(StepRow.operation == operation)).all()
        notes = session.scalar(select(func.count()).where(EventRow.operation == operation, EventRow.kind == "note"))
        record = Record(engine, row, steps, epoch, notes or 0)
        if row.started_at is None:
            row.started_at = now
        record.take_event(session, Event.CLAIMED)
        session.flush()
        if row.takeovers >= engine.settings.crash_loop:
            error = CrashLoop(times=row.takeovers, step=row.step)
            record.give_up_in(session, error)
            return None
    return record


class Record:
    """What has happened in one operation, in memory and in the database. Used by one thread."""

    def __init__(self, engine: Engine, row: OperationRow, steps: Sequence[StepRow], epoch: int, notes: int = 0) -> None:
        self.engine = engine
        self.id = OperationId(row.id)
        self.generation = row.generation
        self.kind = engine.registry.kind(row.kind, row.version)
        self.spec = row.spec
        self.state = State(row.state)
        self.reason: dict[str, Any] | None = row.reason
        self.pivoted = row.pivoted
        self.failures = row.failures
        self.steps = {step.key: step for step in steps}
        self.visited: set[str] = set()
        self.notes_recorded = notes
        self.epoch = epoch
        self._shown: tuple[int | None, str] | None = None
        self._shown_at = 0.0

    # --- fenced writes -------------------------------------------------------------------------------------------

    def fence(self, session: Session, **values: Any) -> bool:
        """Write `values` to the operation's row if it is still ours; raises LeaseLost otherwise.

        Returns whether a cancel was accepted that still wins.
        """
        found = self._update(session, values)
        if found is None:
            raise LeaseLost
        return bool(found.cancel) and not found.pivoted

    def _update(self, session: Session, values: dict[str, Any], *conditions: Any) -> Row[Any] | None:
        """Through the table and not the mapped class: this runs several times for each step."""
        statement = (_FENCED.where(*conditions) if conditions else _FENCED).values(
            updated_at=self.engine.clock.now(), **values
        )
        ours = {"our_id": self.id, "our_generation": self.generation, "our_owner": self.engine.worker.id}
        return session.execute(statement, ours).first()

    def take_event(self, session: Session, event: Event, cause: dict[str, Any] | None = None, **values: Any) -> None:
        """Change the state, fenced, and tell the feature in the same transaction."""
        new = next_state(self.state, event)
        if new in CLOSED:
            values |= {"open": False, "holds": None, "closed_at": self.engine.clock.now()}
        self.fence(session, state=new.value, **values)
        change_state(session, self.kind, self.id, self.engine.clock.now(), self.state, new, cause)
        self.state = new

    # --- steps ---------------------------------------------------------------------------------------------------

    def begin(
        self,
        key: str,
        title: str,
        arguments: dict[str, Any],
        undo: str | None,
        *,
        timeout_s: float | None = None,
        quiet: bool = False,
    ) -> StepRow:
        """Commit the intent, or one attempt more. Raises Cancelled, LeaseLost, StoryChanged."""
        now = self.engine.clock.now()
        row = self.steps.get(key)
        attempt = 1 if row is None else row.attempt + 1
        self._require_order(key, row)
        with self.engine.database.write() as session:
            if self.fence(session, step=key, step_title=title, percent=None, message=None):
                raise Cancelled
            if row is None:
                row = self._insert(
                    session,
                    key=key,
                    seq=1 + max((step.seq for step in self.steps.values()), default=0),
                    title=title,
                    state=INTENT,
                    generation=self.generation,
                    attempt=attempt,
                    arguments=arguments,
                    undo=undo,
                    undone=False,
                    undo_attempt=0,
                    deadline=None if timeout_s is None else now + timedelta(seconds=timeout_s),
                    started_at=now,
                )
            else:
                renewed = row.state == FAILED and timeout_s is not None
                deadline = now + timedelta(seconds=timeout_s or 0) if renewed else row.deadline
                self._set(session, row, state=INTENT, attempt=attempt, undone=False, deadline=deadline)
            if not quiet:
                log_event(session, self.id, now, "step", title, step=key, fields={"attempt": attempt})
        self.steps[key] = row
        self._shown = None
        return row

    def _require_order(self, key: str, row: StepRow | None) -> None:
        if row is None and (skipped := sorted(set(self.steps) - self.visited - {key})):
            raise StoryChanged(step=key, skipped=skipped)

    def _set(self, session: Session, row: StepRow, **values: Any) -> None:
        values["generation"] = self.generation
        statement = _STEPS.update().where(_STEPS.c.operation == self.id, _STEPS.c.key == row.key).values(**values)
        if _rows(session, statement) != 1:
            raise LeaseLost  # purged under our feet
        Database.after_commit(session, lambda: _assign(row, values))

    def _insert(self, session: Session, **values: Any) -> StepRow:
        values |= {"operation": self.id}
        session.execute(_STEPS.insert(), values)
        return StepRow(**values)

    def finish(self, row: StepRow, result: dict[str, Any], writes: Sequence[Callable[[Session], Any]]) -> None:
        """Commit the step's result and the database changes that it collected, together."""
        now = self.engine.clock.now()
        with self.engine.database.write() as session:
            self.fence(session, failures=0, takeovers=0, error=None)
            for change in writes:
                change(session)
            session.flush()
            self._set(session, row, state=DONE, result=result, error=None, ended_at=now)
            log_event(session, self.id, now, "done", row.title, step=row.key)
        self.failures = 0

    def end_badly(self, row: StepRow, state: str, error: HoldfastError) -> None:
        """Record that the step was refused (another choice follows) or has failed."""
        now, record = self.engine.clock.now(), recorded_error(error)
        with self.engine.database.write() as session:
            self.fence(session, error=record)
            self._set(session, row, state=state, error=record, ended_at=now)
            log_event(session, self.id, now, state, error.message, step=row.key, fields={"error": record})

    def retry_later(self, row: StepRow, error: HoldfastError, pause_s: float) -> None:
        """Show that the step is tried again after `pause_s`."""
        record = recorded_error(error)
        with self.engine.database.write() as session:
            self.fence(session, error=record, message=error.message)
            fields = {"error": record, "pause_s": pause_s}
            log_event(session, self.id, self.engine.clock.now(), "retry", error.message, step=row.key, fields=fields)

    def wait_until(self, row: StepRow, wake_at: datetime, reason: HoldfastError) -> None:
        """End the segment: the row waits, no thread does."""
        record = recorded_error(reason)
        with self.engine.database.write() as session:
            if row.error != record:
                log_event(session, self.id, self.engine.clock.now(), "progress", reason.message, step=row.key)
            self._set(session, row, error=record)
            self.take_event(session, Event.WAITS, message=reason.message, takeovers=0)
            self._release_in(session, wake_at=wake_at)

    def pivot(
        self,
        key: str,
        title: str,
        arguments: dict[str, Any],
        result: dict[str, Any],
        writes: Sequence[Callable[[Session], Any]],
    ) -> None:
        """Pass the point of no return: in one transaction, unless a cancel came first. Raises Cancelled, LeaseLost."""
        now = self.engine.clock.now()
        self._require_order(key, None)
        with self.engine.database.write() as session:
            values = {"pivoted": True, "failures": 0, "takeovers": 0, "error": None}
            if self._update(session, values, _OPERATIONS.c.cancel.is_(False)) is None:
                self.fence(session)
                raise Cancelled
            for change in writes:
                change(session)
            session.flush()
            row = self._insert(
                session,
                key=key,
                seq=1 + max((step.seq for step in self.steps.values()), default=0),
                title=title,
                state=DONE,
                generation=self.generation,
                attempt=1,
                arguments=arguments,
                undone=False,
                undo_attempt=0,
                result=result,
                started_at=now,
                ended_at=now,
            )
            log_event(session, self.id, now, "done", title, step=key, fields={"pivot": True})
        self.steps[key] = row
        self.pivoted = True

    def show(self, key: str, title: str) -> None:
        """Name the step that runs now, without an intent: the pivot has no effect to undo. Raises Cancelled."""
        with self.engine.database.write() as session:
            if self.fence(session, step=key, step_title=title, percent=None, message=None):
                raise Cancelled
            log_event(session, self.id, self.engine.clock.now(), "step", title, step=key)

    def note(self, ordinal: int, text: str, fields: dict[str, Any]) -> None:
        """The story's own line; a replay does not write it again."""
        if ordinal < self.notes_recorded:
            return
        with self.engine.database.write() as session:
            self.fence(session, message=text)
            log_event(session, self.id, self.engine.clock.now(), "note", text, fields=fields)
        self.notes_recorded = ordinal + 1

    # --- unwinding -----------------------------------------------------------------------------------------------

    def begin_unwinding(self, error: HoldfastError) -> None:
        record = recorded_error(error)
        with self.engine.database.write() as session:
            self.take_event(session, Event.FAILS, record, reason=record, error=record, percent=None, message=None)
        self.reason = record

    def to_undo(self) -> list[StepRow]:
        """Steps whose compensation has not run, newest first; an intent without a result may have had its effect."""
        rows = [row for row in self.steps.values() if row.undo is not None and not row.undone]
        return sorted(rows, key=lambda row: row.seq, reverse=True)

    def begin_undo(self, row: StepRow, title: str) -> None:
        now = self.engine.clock.now()
        with self.engine.database.write() as session:
            self.fence(session, step=row.key, step_title=title, percent=None, message=None)
            self._set(session, row, undo_attempt=row.undo_attempt + 1)
            log_event(session, self.id, now, "undo", title, step=row.key)
        self._shown = None

    def finish_undo(self, row: StepRow, title: str, writes: Sequence[Callable[[Session], Any]]) -> None:
        now = self.engine.clock.now()
        with self.engine.database.write() as session:
            self.fence(session, takeovers=0)
            for change in writes:
                change(session)
            session.flush()
            self._set(session, row, undone=True, ended_at=now)
            log_event(session, self.id, now, "undone", title, step=row.key)

    # --- ends ----------------------------------------------------------------------------------------------------

    def close_done(self, result: dict[str, Any]) -> None:
        """Raises Cancelled when a cancel was accepted and the story had no pivot: accepted means undone."""
        with self.engine.database.write() as session:
            if self.fence(session):
                raise Cancelled
            self.take_event(session, Event.FINISHED, result=result, error=None, percent=100.0, message=None)
            self._release_in(session)

    def close_undone(self) -> None:
        cancelled = self.reason is not None and self.reason["code"] == OperationCancelled.code
        with self.engine.database.write() as session:
            event = Event.UNDONE_CANCELLED if cancelled else Event.UNDONE
            self.take_event(session, event, self.reason, percent=None, message=None)
            self._release_in(session)

    def release(self) -> None:
        """Give the operation back as it is, for any worker to go on at once."""
        with self.engine.database.write() as session:
            self._release_in(session)

    def release_failed(self, error: HoldfastError) -> bool:
        """After the pivot: try again later, or get stuck. True when it is stuck."""
        record = recorded_error(error)
        failures = self.failures + 1
        pause_s = self.engine.settings.pause_after_pivot(failures)
        with self.engine.database.write() as session:
            if pause_s is None:
                self.give_up_in(session, error)
                return True
            now = self.engine.clock.now()
            fields = {"error": record, "pause_s": pause_s}
            log_event(session, self.id, now, "retry", error.message, fields=fields)
            self.take_event(session, Event.WAITS, error=record, failures=failures, message=error.message)
            self._release_in(session, wake_at=now + timedelta(seconds=pause_s))
        return False

    def give_up(self, error: HoldfastError) -> None:
        with self.engine.database.write() as session:
            self.give_up_in(session, error)

    def give_up_in(self, session: Session, error: HoldfastError) -> None:
        """Become stuck: data intact, nothing runs, a person must act."""
        record = recorded_error(error)
        self.take_event(session, Event.GIVES_UP, record)
        self.fence(session, error=record, message=error.message)
        self._release_in(session)

    def _release_in(self, session: Session, wake_at: datetime | None = None) -> None:
        self.fence(session, owner=None, generation=self.generation + 1, enqueued_s=None, wake_at=wake_at)

    # --- calls ---------------------------------------------------------------------------------------------------

    def call(self, step: str, attempt: int, *, undoing: bool) -> Call[Any]:
        return Call(
            operation=self.id,
            step=step,
            attempt=attempt,
            undoing=undoing,
            engine=self.engine,
            check=lambda: self._check(step, undoing),
            report=self._report,
        )

    def _check(self, step: str, undoing: bool) -> None:
        self.engine.seam.at(Moment.CHECK, self.id, step, undoing)
        self.engine.worker.check(self.epoch)  # LeaseLost, Draining: last, so that it is nearest to the request
        if not undoing and not self.pivoted:
            with self.engine.database.read() as session:
                asked = session.execute(_CANCEL, {"id": self.id}).one()
            if asked.cancel and not asked.pivoted:
                raise Cancelled
            self.engine.worker.check(self.epoch)

    def _report(self, percent: float | None, message: str) -> None:
        shown = (None if percent is None else int(percent), message)
        now_s = time.monotonic()
        if shown == self._shown or (self._shown and now_s - self._shown_at < _OFTEN_S):
            return
        self._shown, self._shown_at = shown, now_s
        with self.engine.database.write() as session:
            self.fence(session, percent=percent, message=message)
            log_event(session, self.id, self.engine.clock.now(), "progress", message, percent=percent)

    @property
    def unwinding_error(self) -> HoldfastError:
        return error_from_record(self.reason) if self.reason else OperationCancelled()


def _assign(row: StepRow, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, name, value)


def _rows(session: Session, statement: Any) -> int:
    done = cast("CursorResult[Any]", session.execute(statement.execution_options(synchronize_session=False)))
    return done.rowcount
