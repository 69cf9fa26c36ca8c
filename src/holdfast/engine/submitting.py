"""New operations as rows: insert that an equal id repeats without effect and that a busy subject refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from holdfast.core.errors import Conflict
from holdfast.core.ids import OperationId
from holdfast.engine.kinds import OperationKind
from holdfast.engine.record import change_state
from holdfast.engine.states import State
from holdfast.engine.tables import OperationRow, ReconcilerRow

__all__ = ["Order", "SubjectBusy", "busy_error", "insert_operations", "insert_reconcilers"]


class SubjectBusy(Conflict):
    """Another open operation changes the same subject."""

    code = "operation.subject_busy"
    text = "{subject} is being changed by operation {operation} ({kind})."
    remedy = "Wait until it has ended, or cancel it."


@dataclass(frozen=True)
class Order:
    """One operation to be inserted. `spec` is encoded."""

    id: OperationId
    kind: OperationKind[Any, Any]
    spec: dict[str, Any]
    subject: str | None
    actor: str
    wake_at: datetime | None = None

    def row(self, now: datetime) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind.name,
            "version": self.kind.version,
            "spec": self.spec,
            "subject": self.subject,
            "holds": self.subject if self.kind.mutates else None,
            "actor": self.actor,
            "state": State.QUEUED.value,
            "open": True,
            "cancel": False,
            "pivoted": False,
            "generation": 0,
            "failures": 0,
            "takeovers": 0,
            "wake_at": self.wake_at,
            "created_at": now,
            "updated_at": now,
        }


def insert_operations(session: Session, orders: Sequence[Order], now: datetime) -> set[OperationId]:
    """Insert what can be and return the ids that stand now, whether inserted here or before.

    An order whose subject is held by another open operation is left out.
    """
    if not orders:
        return set()
    dialect = session.get_bind().dialect.name
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = insert(OperationRow).on_conflict_do_nothing().returning(OperationRow.id)
    fresh = set(session.scalars(statement, [order.row(now) for order in orders]))
    for order in orders:
        if order.id in fresh:
            change_state(session, order.kind, order.id, now, None, State.QUEUED)
    left = [order.id for order in orders if order.id not in fresh]
    standing = set(session.scalars(select(OperationRow.id).where(OperationRow.id.in_(left)))) if left else set()
    return {OperationId(found) for found in fresh | standing}


def busy_error(session: Session, subject: str | None) -> SubjectBusy:
    """Who holds the subject."""
    holder = session.execute(select(OperationRow.id, OperationRow.kind).where(OperationRow.holds == subject)).first()
    return SubjectBusy(
        subject=subject, operation=holder.id if holder else "just ended", kind=holder.kind if holder else "?"
    )


def insert_reconcilers(session: Session, names: Sequence[str], now: datetime) -> None:
    """Rows for reconcilers that this database has not seen yet, due at once."""
    if names:
        insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
        rows = [{"name": name, "next_at": now} for name in names]
        session.execute(insert(ReconcilerRow).on_conflict_do_nothing(), rows)
