"""What we know of each import, and the queries that everything shown to people is read from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Index, String, cast, select
from sqlalchemy.orm import Mapped, Session, defer, mapped_column

from holdfast.core.errors import NotFound
from holdfast.imports.plan import ImportPlan, load_recorded
from holdfast.imports.states import ImportState
from holdfast.store.base import Base
from holdfast.store.types import Json, Utc

__all__ = ["LIGHT", "ImportRow", "Launched", "plan_of", "recorded_plan", "the_import", "the_imports"]


class ImportRow(Base):
    """One import. `plan` is recorded before the first write to the cloud; everything after reads it from here."""

    __tablename__ = "imports"
    __table_args__ = (Index(None, "state"), Index(None, "cloud", "machine"), Index(None, "created_at"))

    id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    cloud: Mapped[str]
    machine: Mapped[str]  # lower case: ids compare case-blind
    vm_name: Mapped[str]
    resource_group: Mapped[str]
    node_id: Mapped[str]
    operation: Mapped[str]  # the import itself: key of the ledger
    working: Mapped[str]  # the operation that works on it now, or did last
    plan: Mapped[Any] = mapped_column(Json, nullable=True)
    plan_digest: Mapped[str | None]
    unsupported: Mapped[Any] = mapped_column(Json, nullable=True)  # sizes that do not qualify, and why
    warnings: Mapped[Any] = mapped_column(Json)
    error: Mapped[Any] = mapped_column(Json, nullable=True)
    attention: Mapped[str | None]  # what a person should see to: why clean-up is suspended
    successor: Mapped[Any] = mapped_column(Json, nullable=True)
    created_at: Mapped[datetime] = mapped_column(Utc)
    updated_at: Mapped[datetime] = mapped_column(Utc)
    imported_at: Mapped[datetime | None] = mapped_column(Utc)
    retained_until: Mapped[datetime | None] = mapped_column(Utc)
    closed_at: Mapped[datetime | None] = mapped_column(Utc)


LIGHT = (defer(ImportRow.plan), defer(ImportRow.unsupported))  # some 100 KB each: no list and no poll needs them


@dataclass(frozen=True)
class Launched:
    """The successor as it was launched."""

    ref: str
    identity: str | None
    name: str
    size: str
    zone: str | None
    spot: bool
    launched_at: datetime


def the_import(session: Session, import_id: str, *, light: bool = False) -> ImportRow:
    """light: without the two long columns, which are read from the database where they are asked for after all. Raises
    NotFound."""
    row = session.get(ImportRow, import_id, options=LIGHT if light else ())
    if row is None:
        raise NotFound(kind="import", name=import_id, listed_by="holdfast import list")
    return row


def the_imports(session: Session, states: Sequence[ImportState] | None = None) -> list[ImportRow]:
    """Newest last."""
    query = select(ImportRow).order_by(ImportRow.created_at, ImportRow.id)
    if states is not None:
        query = query.where(ImportRow.state.in_([state.value for state in states]))
    return list(session.scalars(query))


def recorded_plan(session: Session, import_id: str) -> ImportPlan:
    """The recorded plan alone. Every step reads it and it is some 100 KB, so equal texts are parsed once. It must not
    be changed in place. Raises NotFound."""
    text = session.scalar(select(cast(ImportRow.plan, String)).where(ImportRow.id == import_id))
    if text is None:
        raise NotFound(kind="plan of import", name=import_id)
    return _parsed(text)


@lru_cache(maxsize=64)
def _parsed(text: str) -> ImportPlan:
    return load_recorded(json.loads(text))


def plan_of(row: ImportRow) -> ImportPlan:
    """The recorded plan. It exists from the first step on."""
    if row.plan is None:
        raise NotFound(kind="plan of import", name=row.id)
    return load_recorded(row.plan)
