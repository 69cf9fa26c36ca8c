"""Access tokens: who may use this installation, as what, and in which clouds. Only a digest of each is stored.

A token has 256 random bits, so one SHA-256 is enough: there is nothing to guess that a slow hash would protect.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Index, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from holdfast.core.errors import Conflict, InvalidInput, NotFound
from holdfast.store.base import Base
from holdfast.store.types import Json, Utc

__all__ = ["PREFIX", "TokenRow", "TokenView", "create_token", "digest_of", "find_token", "list_tokens", "revoke_token"]

RESERVED = frozenset({"local", "holdfast", "timer"})  # actors of the audit log that are no tokens

PREFIX = "hft_"  # so that secret scanners, and people, recognise one


class TokenRow(Base):
    """One token. clouds None = all of them. A revoked one keeps its row, because the audit log names it."""

    __tablename__ = "tokens"
    __table_args__ = (Index(None, "digest", unique=True), Index(None, "name"))

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    name: Mapped[str]
    digest: Mapped[str]
    role: Mapped[str]
    clouds: Mapped[Any] = mapped_column(Json, nullable=True)
    created_at: Mapped[datetime] = mapped_column(Utc)
    created_by: Mapped[str]
    revoked_at: Mapped[datetime | None] = mapped_column(Utc)


@dataclass(frozen=True)
class TokenView:
    """A token, for showing: what it is cannot be read."""

    name: str
    role: str
    clouds: tuple[str, ...] | None
    created_at: datetime
    created_by: str
    revoked_at: datetime | None

    @classmethod
    def of(cls, row: TokenRow) -> TokenView:
        clouds = None if row.clouds is None else tuple(row.clouds)
        return cls(row.name, row.role, clouds, row.created_at, row.created_by, row.revoked_at)


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def create_token(
    session: Session, name: str, role: str, now: datetime, *, clouds: Sequence[str] | None = None, by: str
) -> str:
    """Make one and return its text, which cannot be had again. Raises Conflict when a live one has that name."""
    if not name or len(name) > 100 or not all(letter.isalnum() or letter in "-_.@" for letter in name):
        raise InvalidInput(field="name", problem="a token's name has letters, digits, '-', '_', '.' and '@' only")
    if name.lower() in RESERVED:
        raise InvalidInput(field="name", problem=f"'{name}' stands for something else in the audit log")
    if _live(session, name) is not None:
        raise Conflict(problem=f"There is a token {name} already.", way_out="Revoke it first, or choose another name.")
    text = PREFIX + secrets.token_urlsafe(32)
    session.add(
        TokenRow(
            name=name,
            digest=digest_of(text),
            role=role,
            clouds=None if clouds is None else list(clouds),
            created_at=now,
            created_by=by,
        )
    )
    session.flush()
    return text


def find_token(session: Session, text: str) -> TokenView | None:
    """The live token that has this text."""
    row = session.scalar(select(TokenRow).where(TokenRow.digest == digest_of(text), TokenRow.revoked_at.is_(None)))
    return None if row is None else TokenView.of(row)


def list_tokens(session: Session) -> tuple[TokenView, ...]:
    """All, the revoked ones too, oldest first."""
    return tuple(TokenView.of(row) for row in session.scalars(select(TokenRow).order_by(TokenRow.id)))


def revoke_token(session: Session, name: str, now: datetime) -> TokenView:
    """From now on it opens nothing. Raises NotFound."""
    row = _live(session, name)
    if row is None:
        raise NotFound(kind="token", name=name, listed_by="holdfast token list")
    row.revoked_at = now
    session.flush()
    return TokenView.of(row)


def _live(session: Session, name: str) -> TokenRow | None:
    return session.scalar(select(TokenRow).where(TokenRow.name == name, TokenRow.revoked_at.is_(None)))
