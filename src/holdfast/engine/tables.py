"""The operation record and what the tick scans. The scheduler's own tables may be lost; these may not."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Double, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from holdfast.store import Base, Json, Utc

__all__ = ["EventRow", "OperationRow", "PulseRow", "ReconcilerRow", "ScheduleRow", "StepRow", "TimerRow", "WorkerRow"]


class OperationRow(Base):
    """One operation. Moments in `Utc` are of the injected clock; seconds are of the database's real clock."""

    __tablename__ = "operations"
    __table_args__ = (
        Index("ix_operations_due", "open", "owner", "wake_at"),
        Index(None, "subject"),
        Index(None, "closed_at"),
        Index(None, "created_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    version: Mapped[int]
    spec: Mapped[Any] = mapped_column(Json)
    subject: Mapped[str | None]
    holds: Mapped[str | None] = mapped_column(unique=True)  # the subject, while an open operation mutates it
    actor: Mapped[str]
    state: Mapped[str]
    open: Mapped[bool]
    cancel: Mapped[bool] = mapped_column(default=False)
    pivoted: Mapped[bool] = mapped_column(default=False)
    reason: Mapped[Any] = mapped_column(Json, nullable=True)  # why it unwinds: set means that the direction is back
    error: Mapped[Any] = mapped_column(Json, nullable=True)  # the last error, shown
    result: Mapped[Any] = mapped_column(Json, nullable=True)
    owner: Mapped[str | None] = mapped_column(index=True)
    generation: Mapped[int] = mapped_column(default=0)
    enqueued_s: Mapped[float | None] = mapped_column(Double)  # when this generation was given to the scheduler
    wake_at: Mapped[datetime | None] = mapped_column(Utc)
    failures: Mapped[int] = mapped_column(default=0)  # forward failures after the pivot, in a row
    takeovers: Mapped[int] = mapped_column(default=0)  # since the last recorded progress
    step: Mapped[str | None]
    step_title: Mapped[str | None]
    percent: Mapped[float | None] = mapped_column(Double)
    message: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(Utc)
    started_at: Mapped[datetime | None] = mapped_column(Utc)
    updated_at: Mapped[datetime] = mapped_column(Utc)
    closed_at: Mapped[datetime | None] = mapped_column(Utc)


class StepRow(Base):
    """One step of one operation: intent first, then how it ended. Arguments and results are versioned JSON."""

    __tablename__ = "operation_steps"

    operation: Mapped[str] = mapped_column(ForeignKey("operations.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    seq: Mapped[int]  # order of first intents; unwinding goes the other way
    title: Mapped[str]
    state: Mapped[str]  # intent, done, refused, failed
    generation: Mapped[int]  # that wrote it last
    attempt: Mapped[int]
    arguments: Mapped[Any] = mapped_column(Json)
    undo: Mapped[str | None]  # the compensation's name, module:function
    undone: Mapped[bool] = mapped_column(default=False)
    undo_attempt: Mapped[int] = mapped_column(default=0)
    result: Mapped[Any] = mapped_column(Json, nullable=True)
    error: Mapped[Any] = mapped_column(Json, nullable=True)
    deadline: Mapped[datetime | None] = mapped_column(Utc)  # of a wait; fixed at its first look
    started_at: Mapped[datetime] = mapped_column(Utc)
    ended_at: Mapped[datetime | None] = mapped_column(Utc)


class EventRow(Base):
    """One line of an operation's story, for `operation follow` and the console."""

    __tablename__ = "operation_events"
    __table_args__ = (Index(None, "operation", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    operation: Mapped[str] = mapped_column(ForeignKey("operations.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(Utc)
    kind: Mapped[str]
    step: Mapped[str | None]
    text: Mapped[str]
    percent: Mapped[float | None] = mapped_column(Double)
    fields: Mapped[Any] = mapped_column(Json, nullable=True)


class TimerRow(Base):
    """What will be started once, and when."""

    __tablename__ = "timers"
    __table_args__ = (Index("ix_timers_due", "state", "due_at"),)

    key: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]  # armed, fired, cancelled
    due_at: Mapped[datetime] = mapped_column(Utc)
    kind: Mapped[str]
    spec: Mapped[Any] = mapped_column(Json)
    subject: Mapped[str | None]
    deletes: Mapped[bool]
    arming: Mapped[int]  # how often this key was armed: part of the operation id
    operation: Mapped[str | None]
    armed_at: Mapped[datetime] = mapped_column(Utc)
    held_until: Mapped[datetime | None] = mapped_column(Utc)  # announced after a long pause of the server


class ScheduleRow(Base):
    """What is started again and again."""

    __tablename__ = "schedules"
    __table_args__ = (Index(None, "next_at"),)

    key: Mapped[str] = mapped_column(primary_key=True)
    every_s: Mapped[float] = mapped_column(Double)
    next_at: Mapped[datetime] = mapped_column(Utc)
    kind: Mapped[str]
    spec: Mapped[Any] = mapped_column(Json)
    subject: Mapped[str | None]
    paused: Mapped[bool] = mapped_column(default=False)


class ReconcilerRow(Base):
    """When a reconciler runs next, so that one worker at a time runs it."""

    __tablename__ = "reconcilers"

    name: Mapped[str] = mapped_column(primary_key=True)
    next_at: Mapped[datetime] = mapped_column(Utc)
    error: Mapped[Any] = mapped_column(Json, nullable=True)  # of its last run


class WorkerRow(Base):
    """A process that executes operations. `beat_s` is of the database's clock; 0 says that it left."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True)
    beat_s: Mapped[float] = mapped_column(Double)
    about: Mapped[str]


class PulseRow(Base):
    """The one row that shows how long nobody ticked."""

    __tablename__ = "pulse"

    row: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    ticked_s: Mapped[float] = mapped_column(Double)  # real time
    hold_until: Mapped[datetime | None] = mapped_column(Utc)  # no destructive timer fires before
