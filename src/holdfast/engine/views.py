"""What faces and features see of operations, steps, events and timers: immutable values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from holdfast.core.errors import HoldfastError, error_from_record
from holdfast.core.ids import OperationId
from holdfast.engine.states import CLOSED, State
from holdfast.engine.tables import EventRow, OperationRow, StepRow, TimerRow

__all__ = ["EventView", "OperationView", "StepView", "TimerView"]


@dataclass(frozen=True)
class OperationView:
    """One operation at one moment. `spec` and `result` are the recorded JSON values; `Engine.result` decodes."""

    id: OperationId
    kind: str
    version: int
    spec: Any
    subject: str | None
    actor: str
    state: State
    cancel_requested: bool
    pivoted: bool
    unwinding_because: HoldfastError | None
    error: HoldfastError | None
    result: Any
    owner: str | None
    generation: int
    step: str | None
    step_title: str | None
    percent: float | None
    message: str | None
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime
    closed_at: datetime | None
    wake_at: datetime | None

    @property
    def is_closed(self) -> bool:
        return self.state in CLOSED

    @classmethod
    def of(cls, row: OperationRow) -> OperationView:
        return cls(
            id=OperationId(row.id),
            kind=row.kind,
            version=row.version,
            spec=row.spec["value"],
            subject=row.subject,
            actor=row.actor,
            state=State(row.state),
            cancel_requested=row.cancel,
            pivoted=row.pivoted,
            unwinding_because=_error(row.reason),
            error=_error(row.error),
            result=row.result["value"] if row.result else None,
            owner=row.owner,
            generation=row.generation,
            step=row.step,
            step_title=row.step_title,
            percent=row.percent,
            message=row.message,
            created_at=row.created_at,
            started_at=row.started_at,
            updated_at=row.updated_at,
            closed_at=row.closed_at,
            wake_at=row.wake_at,
        )


@dataclass(frozen=True)
class StepView:
    """One recorded step; `state` is intent, done, refused or failed."""

    key: str
    seq: int
    title: str
    state: str
    attempt: int
    undo: str | None
    undone: bool
    arguments: Any
    result: Any
    error: HoldfastError | None
    deadline: datetime | None
    started_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, row: StepRow) -> StepView:
        return cls(
            key=row.key,
            seq=row.seq,
            title=row.title,
            state=row.state,
            attempt=row.attempt,
            undo=row.undo,
            undone=row.undone,
            arguments=row.arguments["value"] if row.arguments else [],
            result=row.result["value"] if row.result else None,
            error=_error(row.error),
            deadline=row.deadline,
            started_at=row.started_at,
            ended_at=row.ended_at,
        )


@dataclass(frozen=True)
class EventView:
    """One line of an operation: state, step, done, refused, failed, retry, undo, undone, progress or note."""

    id: int
    operation: OperationId
    at: datetime
    kind: str
    step: str | None
    text: str
    percent: float | None
    fields: Any

    @classmethod
    def of(cls, row: EventRow) -> EventView:
        return cls(
            row.id, OperationId(row.operation), row.at, row.kind, row.step, row.text, row.percent, row.fields or {}
        )


@dataclass(frozen=True)
class TimerView:
    """One timer; `state` is armed, fired or cancelled. held_until: announced after a long pause of the server."""

    key: str
    state: str
    due_at: datetime
    kind: str
    subject: str | None
    deletes: bool
    operation: OperationId | None
    held_until: datetime | None

    @classmethod
    def of(cls, row: TimerRow) -> TimerView:
        started = OperationId(row.operation) if row.operation else None
        return cls(row.key, row.state, row.due_at, row.kind, row.subject, row.deletes, started, row.held_until)


def _error(record: dict[str, Any] | None) -> HoldfastError | None:
    return error_from_record(record) if record else None
