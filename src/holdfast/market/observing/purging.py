"""Forget what was seen of markets long ago. The compact states stay while anything else is known of their market."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from holdfast.engine import Call, Reconciler
from holdfast.market.observing.tables import EndRow, LookRow, MarketRow, PriceRow, WordRow

__all__ = ["KEPT_FOR", "PURGE", "purge"]

# A year, so that seasons can be seen, and a month to look at it. At the pace of `recording.TOLD_EVERY` fifty markets
# that are held all the time are 480,000 rows, about 60 MB.
KEPT_FOR = timedelta(days=400)
EVERY_S = 24 * 3600.0


def purge(session: Session, before: datetime) -> None:
    """Delete rows older than `before`. Of each price the newest stays, however old: it is the one that still holds."""
    for table in (LookRow, WordRow, EndRow):
        session.execute(delete(table).where(table.at < before))
    newest = select(func.max(PriceRow.id)).group_by(PriceRow.key).scalar_subquery()
    session.execute(delete(PriceRow).where(PriceRow.at < before, PriceRow.id.not_in(newest)))
    known = [MarketRow.id.not_in(select(table.market).scalar_subquery()) for table in (LookRow, WordRow, EndRow)]
    session.execute(delete(MarketRow).where(*known, func.coalesce(MarketRow.probed_at, before) <= before))


def _act(call: Call[Any]) -> None:
    call.write(partial(purge, before=call.clock.now() - KEPT_FOR))


PURGE = Reconciler("purge market history", EVERY_S, _act)
