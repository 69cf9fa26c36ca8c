"""The ledger: every resource that an operation made, keeps or may delete, with the way back to it.

Rows are written before the effect they speak of: a planned resource before it is created, an original before anything
happens to it. Clean-up, undo and the sweep of orphans read nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from holdfast.clouds.documents import Document, same_ref
from holdfast.core.errors import InternalError
from holdfast.store.base import Base
from holdfast.store.types import Json, Utc

__all__ = ["Entry", "Fate", "LedgerRow", "Origin", "Part", "entries", "entry", "planned", "record", "seen", "settle"]


class Part(StrEnum):
    """What kind of part of a machine a resource is. Clean-up goes in this order: a machine before what it holds."""

    MACHINE = "machine"
    NIC = "nic"
    PUBLIC_IP = "public-ip"
    DISK = "disk"
    SNAPSHOT = "snapshot"


class Origin(StrEnum):
    ORIGINAL = "original"  # was there before us
    MADE = "made"  # created by the operation


class Fate(StrEnum):
    """What shall become of a resource, and what has."""

    PLANNED = "planned"  # may exist: its creation has been announced
    PRESENT = "present"  # exists, belongs to the running operation
    IN_USE = "in use"  # handed to the node: no clean-up may touch it
    RETAINED = "retained"  # kept for undo until the retention ends
    RETURNED = "returned"  # an original that was given back
    GONE = "gone"


class LedgerRow(Base):
    """One resource of one operation. `role` is unique in the operation: os-disk, nic-0, original/data-disk-1 …"""

    __tablename__ = "ledger"
    __table_args__ = (Index(None, "operation", "role", unique=True), Index(None, "subject"), Index(None, "ref"))

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    operation: Mapped[str]
    subject: Mapped[str]  # what the rows of several operations belong to: an import id
    role: Mapped[str]
    part: Mapped[str]
    origin: Mapped[str]
    cloud: Mapped[str]
    ref: Mapped[str]
    identity: Mapped[str | None]
    fate: Mapped[str]
    document: Mapped[Any] = mapped_column(Json)  # originals: as read. Made: as it is to be created
    kept_until: Mapped[datetime | None] = mapped_column(Utc)


@dataclass(frozen=True)
class Entry:
    """A ledger row as a value."""

    operation: str
    subject: str
    role: str
    part: Part
    origin: Origin
    cloud: str
    ref: str
    identity: str | None
    fate: Fate
    document: Document


def planned(
    session: Session, operation: str, subject: str, cloud: str, role: str, part: Part, document: Document
) -> None:
    """A resource that will be created. Announced before its creation; announcing twice changes nothing."""
    _add(session, operation, subject, cloud, role, part, Origin.MADE, Fate.PLANNED, document)


def record(
    session: Session, operation: str, subject: str, cloud: str, role: str, part: Part, document: Document
) -> None:
    """An original, as it was described, before anything happens to it."""
    _add(session, operation, subject, cloud, role, part, Origin.ORIGINAL, Fate.PRESENT, document)


def seen(session: Session, operation: str, role: str, identity: str | None) -> None:
    """The planned resource exists now and this is its identity."""
    _change(session, operation, role, {"identity": identity, "fate": Fate.PRESENT.value})


def settle(
    session: Session, operation: str, roles: Iterable[str], fate: Fate, kept_until: datetime | None = None
) -> None:
    """Give these rows their fate; kept_until is set for RETAINED and cleared for every other."""
    for role in roles:
        _change(session, operation, role, {"fate": fate.value, "kept_until": kept_until})


def entries(
    session: Session,
    *,
    subject: str | None = None,
    operation: str | None = None,
    fates: Sequence[Fate] | None = None,
    origin: Origin | None = None,
) -> tuple[Entry, ...]:
    """Rows in the order in which they were written."""
    query = select(LedgerRow).order_by(LedgerRow.id)
    if subject is not None:
        query = query.where(LedgerRow.subject == subject)
    if operation is not None:
        query = query.where(LedgerRow.operation == operation)
    if fates is not None:
        query = query.where(LedgerRow.fate.in_([fate.value for fate in fates]))
    if origin is not None:
        query = query.where(LedgerRow.origin == origin.value)
    return tuple(_as_entry(row) for row in session.scalars(query))


def entry(session: Session, operation: str, role: str) -> Entry:
    """One row. Its absence is a defect: nothing may happen to a resource that is not in the ledger."""
    row = session.scalar(select(LedgerRow).where(LedgerRow.operation == operation, LedgerRow.role == role))
    if row is None:
        raise InternalError(problem=f"{role} of {operation} is not in the ledger")
    return _as_entry(row)


def _add(
    session: Session,
    operation: str,
    subject: str,
    cloud: str,
    role: str,
    part: Part,
    origin: Origin,
    fate: Fate,
    document: Document,
) -> None:
    row = session.scalar(select(LedgerRow).where(LedgerRow.operation == operation, LedgerRow.role == role))
    if row is not None:
        if not same_ref(row.ref, document.ref):
            raise InternalError(problem=f"{role} of {operation} is {row.ref} in the ledger, not {document.ref}")
        return
    session.add(
        LedgerRow(
            operation=operation,
            subject=subject,
            role=role,
            part=part.value,
            origin=origin.value,
            cloud=cloud,
            ref=document.ref,
            identity=document.identity,
            fate=fate.value,
            document=_document_to_json(document),
        )
    )
    session.flush()


def _change(session: Session, operation: str, role: str, values: dict[str, Any]) -> None:
    changed = session.execute(
        update(LedgerRow).where(LedgerRow.operation == operation, LedgerRow.role == role).values(**values)
    )
    if changed.rowcount == 0:  # type: ignore[attr-defined]
        raise InternalError(problem=f"{role} of {operation} is not in the ledger")


def _as_entry(row: LedgerRow) -> Entry:
    return Entry(
        operation=row.operation,
        subject=row.subject,
        role=row.role,
        part=Part(row.part),
        origin=Origin(row.origin),
        cloud=row.cloud,
        ref=row.ref,
        identity=row.identity,
        fate=Fate(row.fate),
        document=_document_from_json(row.document),
    )


def _document_to_json(document: Document) -> dict[str, Any]:
    out = asdict(document)
    out["read_at"] = document.read_at.isoformat() if document.read_at else None
    return out


def _document_from_json(told: dict[str, Any]) -> Document:
    read_at = datetime.fromisoformat(told["read_at"]) if told.get("read_at") else None
    return Document(**{**told, "read_at": read_at})
