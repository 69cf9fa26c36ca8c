"""Timers: rows that start an operation once. Armed, postponed and cancelled in the transaction that justifies it."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from holdfast.core.errors import NotFound
from holdfast.core.ids import OperationId
from holdfast.engine.kinds import OperationKind
from holdfast.engine.submitting import Order, insert_operations
from holdfast.engine.tables import TimerRow
from holdfast.engine.views import TimerView
from holdfast.store import audit

if TYPE_CHECKING:
    from holdfast.engine.engine import Engine

__all__ = ["Timers", "derived_id", "fire_due"]

_BATCH = 500  # one transaction's worth: 10,000 due timers must not hold the writer for seconds


def derived_id(*parts: object) -> OperationId:
    """The same operation id for the same parts, so that starting twice starts once."""
    digest = hashlib.sha256("\n".join(str(part) for part in parts).encode()).hexdigest()
    return OperationId(f"op-{digest[:16]}")


class Timers:
    """`session` is the caller's write session: the timer stands if and only if its reason does."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def arm(
        self,
        session: Session,
        key: str,
        due_at: datetime,
        kind: str | OperationKind[Any, Any],
        spec: Any,
        subject: str | None = None,
        *,
        deletes: bool = False,
    ) -> None:
        """Start an operation once `due_at` has come; a timer of that key that is armed already is replaced.

        deletes: what it starts destroys something; after a long pause of the server it waits to be looked at.
        """
        declared = self._engine.kind_of(kind)
        row = _locked(session, key)
        if row is None:
            row = TimerRow(key=key, arming=0)
            session.add(row)
        row.state, row.due_at, row.kind, row.deletes = "armed", due_at, declared.name, deletes
        row.spec = declared.encode_spec(spec)
        row.subject = self._engine.registry.subject_of(declared, spec, subject)
        row.arming += 1
        row.operation = row.held_until = None
        row.armed_at = self._engine.clock.now()
        session.flush()

    def cancel(self, session: Session, key: str) -> bool:
        """False when it is not armed: it has fired, was cancelled, or never was."""
        row = _locked(session, key)
        if row is None or row.state != "armed":
            return False
        row.state = "cancelled"
        session.flush()
        return True

    def postpone(self, session: Session, key: str, due_at: datetime) -> bool:
        """Move it, also forward. False when it is not armed any more: too late."""
        row = _locked(session, key)
        if row is None or row.state != "armed":
            return False
        row.due_at, row.held_until = due_at, None
        session.flush()
        return True

    def find(self, session: Session, key: str) -> TimerView | None:
        row = session.get(TimerRow, key)
        return None if row is None else TimerView.of(row)

    def get(self, session: Session, key: str) -> TimerView:
        """Raises NotFound."""
        found = self.find(session, key)
        if found is None:
            raise NotFound(kind="timer", name=key)
        return found

    def list(
        self, session: Session, *, state: str | None = "armed", subject: str | None = None, limit: int = 1000
    ) -> tuple[TimerView, ...]:
        """The next due first."""
        query = select(TimerRow).order_by(TimerRow.due_at, TimerRow.key).limit(limit)
        if state is not None:
            query = query.where(TimerRow.state == state)
        if subject is not None:
            query = query.where(TimerRow.subject == subject)
        return tuple(TimerView.of(row) for row in session.scalars(query))


def fire_due(engine: Engine, hold_until: datetime | None) -> tuple[OperationId, ...]:
    """Start what is due, each exactly once; what is due to delete stays held until `hold_until`, and is announced.

    A timer whose subject is busy stays armed and is tried again by the next tick.
    """
    now = engine.clock.now()
    known = {kind.name for kind in engine.registry.kinds()}  # others are for a worker of another release
    due = (TimerRow.state == "armed") & (TimerRow.due_at <= now) & TimerRow.kind.in_(known)
    holding = hold_until is not None and now < hold_until
    if holding:
        due = due & ((TimerRow.deletes.is_(False)) | (TimerRow.held_until.is_(None)))
    with engine.database.read() as session:
        if session.scalars(select(TimerRow.key).where(due).limit(1)).first() is None:
            return ()
    started: list[OperationId] = []
    with engine.database.write() as session:
        rows = session.scalars(
            select(TimerRow).where(due).order_by(TimerRow.due_at).limit(_BATCH).with_for_update(skip_locked=True)
        ).all()
        orders: dict[str, Order] = {}
        for row in rows:
            if holding and row.deletes:
                row.held_until = hold_until
                text = {"timer": row.key, "due_at": row.due_at.isoformat(), "held_until": str(hold_until)}
                audit(session, now, "holdfast", "timer.held", subject=row.subject, **text)
                continue
            kind = engine.registry.kind(row.kind)
            operation = derived_id("timer", row.key, row.arming)
            orders[row.key] = Order(operation, kind, row.spec, row.subject, "timer")
        standing = insert_operations(session, tuple(orders.values()), now)
        for row in rows:
            order = orders.get(row.key)
            if order is not None and order.id in standing:
                row.state, row.operation = "fired", order.id
                started.append(order.id)
    return tuple(started)


def _locked(session: Session, key: str) -> TimerRow | None:
    return session.scalars(select(TimerRow).where(TimerRow.key == key).with_for_update()).first()
