"""The audit log: who changed what, through which face, and what Holdfast decided by itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from sqlalchemy import Index, Table, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from holdfast.store.base import Base
from holdfast.store.types import Json, Utc

__all__ = ["AuditEntry", "audit", "audit_entries"]


class AuditEntry(Base):
    """One line. `actor` is a token's name, or `holdfast` for what the engine did by itself."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "at"), Index(None, "subject"))

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(Utc)
    actor: Mapped[str]
    action: Mapped[str]  # `import.start`, `timer.held`, `cloud.write` …
    subject: Mapped[str | None]
    operation: Mapped[str | None]
    details: Mapped[Any] = mapped_column(Json, nullable=True)


_TABLE = cast("Table", AuditEntry.__table__)


def audit(
    session: Session,
    now: datetime,
    actor: str,
    action: str,
    *,
    subject: str | None = None,
    operation: str | None = None,
    **details: Any,
) -> None:
    """Write one line in the caller's transaction, so that it stands if and only if the change does."""
    line = {"at": now, "actor": actor, "action": action, "subject": subject, "operation": operation}
    session.execute(_TABLE.insert(), {**line, "details": details or None})


def audit_entries(
    session: Session, *, subject: str | None = None, action: str | None = None, after: int = 0, limit: int = 100
) -> tuple[AuditEntry, ...]:
    """Lines with an id above `after`, oldest first."""
    query = select(AuditEntry).where(AuditEntry.id > after).order_by(AuditEntry.id).limit(limit)
    if subject is not None:
        query = query.where(AuditEntry.subject == subject)
    if action is not None:
        query = query.where(AuditEntry.action == action)
    return tuple(session.scalars(query))
