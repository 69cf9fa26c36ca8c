"""Schedules: rows that start an operation again and again, at a fixed interval. Missed runs are one run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from holdfast.core.ids import OperationId
from holdfast.engine.kinds import OperationKind
from holdfast.engine.submitting import Order, insert_operations
from holdfast.engine.tables import ScheduleRow
from holdfast.engine.timers import derived_id

if TYPE_CHECKING:
    from holdfast.engine.engine import Engine

__all__ = ["ScheduleView", "Schedules", "next_slot", "start_due"]

_BATCH = 500


@dataclass(frozen=True)
class ScheduleView:
    key: str
    every_s: float
    next_at: datetime
    kind: str
    subject: str | None
    paused: bool


def next_slot(slot: datetime, every_s: float, now: datetime) -> datetime:
    """The first moment of the grid slot + n · every_s that lies after `now`."""
    missed = max(0.0, (now - slot).total_seconds())
    return slot + timedelta(seconds=(math.floor(missed / every_s) + 1) * every_s)


class Schedules:
    """`session` is the caller's write session."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ensure(
        self,
        session: Session,
        key: str,
        every_s: float,
        kind: str | OperationKind[Any, Any],
        spec: Any,
        subject: str | None = None,
        *,
        first_at: datetime | None = None,
    ) -> None:
        """Make it, or change it; the next run of an unchanged interval stays where it was."""
        if every_s <= 0:
            raise ValueError("every_s must be positive")
        declared = self._engine.kind_of(kind)
        row = session.scalars(select(ScheduleRow).where(ScheduleRow.key == key).with_for_update()).first()
        if row is None:
            row = ScheduleRow(key=key, every_s=every_s, paused=False)
            row.next_at = first_at or self._engine.clock.now() + timedelta(seconds=every_s)
            session.add(row)
        elif row.every_s != every_s or first_at is not None:
            row.every_s, row.next_at = every_s, first_at or self._engine.clock.now() + timedelta(seconds=every_s)
        row.kind, row.spec = declared.name, declared.encode_spec(spec)
        row.subject = self._engine.registry.subject_of(declared, spec, subject)
        session.flush()

    def pause(self, session: Session, key: str, paused: bool = True) -> bool:
        """False when there is none."""
        row = session.get(ScheduleRow, key)
        if row is None:
            return False
        row.paused = paused
        session.flush()
        return True

    def delete(self, session: Session, key: str) -> None:
        row = session.get(ScheduleRow, key)
        if row is not None:
            session.delete(row)
            session.flush()

    def list(self, session: Session) -> tuple[ScheduleView, ...]:
        rows = session.scalars(select(ScheduleRow).order_by(ScheduleRow.next_at))
        return tuple(ScheduleView(r.key, r.every_s, r.next_at, r.kind, r.subject, r.paused) for r in rows)


def start_due(engine: Engine) -> tuple[OperationId, ...]:
    """Start what is due, with an id from key and slot; a busy subject is tried again by the next tick."""
    now = engine.clock.now()
    known = {kind.name for kind in engine.registry.kinds()}  # others are for a worker of another release
    due = (ScheduleRow.paused.is_(False)) & (ScheduleRow.next_at <= now) & ScheduleRow.kind.in_(known)
    with engine.database.read() as session:
        if session.scalars(select(ScheduleRow.key).where(due).limit(1)).first() is None:
            return ()
    started: list[OperationId] = []
    with engine.database.write() as session:
        rows = session.scalars(
            select(ScheduleRow).where(due).order_by(ScheduleRow.next_at).limit(_BATCH).with_for_update(skip_locked=True)
        ).all()
        orders = {
            row.key: Order(
                derived_id("schedule", row.key, row.next_at.isoformat()),
                engine.registry.kind(row.kind),
                row.spec,
                row.subject,
                "schedule",
            )
            for row in rows
        }
        standing = insert_operations(session, tuple(orders.values()), now)
        for row in rows:
            if orders[row.key].id in standing:
                row.next_at = next_slot(row.next_at, row.every_s, now)
                started.append(orders[row.key].id)
    return tuple(started)
