"""What is remembered of markets. Rows are small: a market is named once, everything else points to it.

`MarketRow` carries the compact state that decisions start from; the other tables are the history that can be exported,
replayed and measured, and that is purged by age (`purging.py`).
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from holdfast.store.base import Base
from holdfast.store.types import Utc

__all__ = ["EndRow", "LookRow", "MarketRow", "PriceRow", "WordRow"]


class MarketRow(Base):
    """One market: where, which size, which zone ('' = none), spot or on-demand. `key` is those five in lower case.

    `state` is `MarketStates.pack` as of `probed_at`; None before the first answer that says something of capacity.
    `held_at`: when a machine of ours was last seen alive there. `told_at`: the last answer that became a `LookRow`.
    """

    __tablename__ = "markets"
    __table_args__ = (Index(None, "cloud", "region"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    key: Mapped[str] = mapped_column(unique=True)
    cloud: Mapped[str]
    region: Mapped[str]
    size: Mapped[str]
    zone: Mapped[str]
    spot: Mapped[bool]
    state: Mapped[bytes | None] = mapped_column(LargeBinary)
    first_at: Mapped[datetime | None] = mapped_column(Utc)
    probed_at: Mapped[datetime | None] = mapped_column(Utc)
    failed_at: Mapped[datetime | None] = mapped_column(Utc)
    held_at: Mapped[datetime | None] = mapped_column(Utc)
    told_at: Mapped[datetime | None] = mapped_column(Utc)


class LookRow(Base):
    """What a market answered. `kind`: launch, probe, held (a machine of ours lives there) or eviction.

    `answered` None: the answer says nothing of capacity (quota, a maximum price). `code` is the cloud's, of a refusal.
    `source` names who looked (an operation's step, a node's loss), so that a repeated step is not counted twice.
    """

    __tablename__ = "market_looks"
    __table_args__ = (Index(None, "market", "at"), Index(None, "at"))

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    market: Mapped[int] = mapped_column(ForeignKey("markets.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(Utc)
    kind: Mapped[str] = mapped_column(String(8))
    answered: Mapped[bool | None]
    code: Mapped[str | None]
    source: Mapped[str | None] = mapped_column(unique=True)


class WordRow(Base):
    """What a signal from outside said of a market, and how old its streak was then (None: it did not answer)."""

    __tablename__ = "market_words"
    __table_args__ = (Index(None, "market", "signal", "at"), Index(None, "at"))

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    market: Mapped[int] = mapped_column(ForeignKey("markets.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(Utc)
    signal: Mapped[str] = mapped_column(String(20))
    said: Mapped[str] = mapped_column(String(20))
    age_min: Mapped[float | None]


class EndRow(Base):
    """The end of a streak, with what everybody had said until then: `signals.EvictionRecord` as a row.

    `kind`: eviction (a machine of ours was taken) or streak (a market that answered refused).
    """

    __tablename__ = "market_ends"
    __table_args__ = (Index(None, "market", "at"), Index(None, "at"))

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    market: Mapped[int] = mapped_column(ForeignKey("markets.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(Utc)
    kind: Mapped[str] = mapped_column(String(8))
    reason: Mapped[str] = mapped_column(String(10))
    age_min: Mapped[float]
    usd_per_hour: Mapped[float | None]
    placement_score: Mapped[str | None] = mapped_column(String(20))
    eviction_band: Mapped[str | None] = mapped_column(String(20))
    capacity_answered: Mapped[bool | None]
    noticed_s: Mapped[float | None]


class PriceRow(Base):
    """A price per hour from this time on, until the next row of the same size: only changes are written down.

    Prices hold for a region, not for a zone. `key` is cloud, region, size, system and priority in lower case.
    """

    __tablename__ = "market_prices"
    __table_args__ = (Index(None, "key", "at"), Index(None, "cloud", "region"))

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    key: Mapped[str]
    cloud: Mapped[str]
    region: Mapped[str]
    size: Mapped[str]
    os: Mapped[str] = mapped_column(String(8))
    spot: Mapped[bool]
    at: Mapped[datetime] = mapped_column(Utc)
    usd_per_hour: Mapped[float]
