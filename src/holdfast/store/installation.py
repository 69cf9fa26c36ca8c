"""Who this home is: the installation id and the epoch, which stand in the owner tag of all that we manage."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from holdfast.core.ids import InstallationId, new_installation_id
from holdfast.core.tags import Owner
from holdfast.store.base import Base
from holdfast.store.types import Utc

__all__ = ["Installation", "ensure_installation", "grow_epoch"]

_ONLY_ROW = 1


class Installation(Base):
    """The single row that names this home."""

    __tablename__ = "installation"

    row: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[str]
    epoch: Mapped[int]  # grows with every restore; a higher or foreign one on a resource stops us
    created_at: Mapped[datetime] = mapped_column(Utc)

    @property
    def owner(self) -> Owner:
        return Owner(InstallationId(self.id), self.epoch)


def ensure_installation(session: Session, now: datetime) -> Installation:
    """The row, made with a fresh id and epoch 1 in an empty database. Needs a write session."""
    found = session.get(Installation, _ONLY_ROW)
    if found is None:
        found = Installation(row=_ONLY_ROW, id=new_installation_id(), epoch=1, created_at=now)
        session.add(found)
        session.flush()
    return found


def grow_epoch(session: Session) -> Installation:
    """After a restore: from now on what the lost copy of this home does is foreign to us."""
    found = session.scalars(select(Installation).where(Installation.row == _ONLY_ROW).with_for_update()).one()
    found.epoch += 1
    session.flush()
    return found
