"""Write down what is seen of markets: answers to orders, machines that live or are taken, prices, words from outside.

Nothing here may fail what it watches: `quietly` and `inside` log what goes wrong and go on without it. Writers name
their source, so that a step which is repeated after a crash is not counted twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from holdfast.market.deciding.blocks import Meaning, meaning_of
from holdfast.market.deciding.signals import (
    CAPACITY_ANSWER,
    EVICTION_BAND,
    HORIZON_MIN,
    PLACEMENT_SCORE,
    EvictionRecord,
)
from holdfast.market.deciding.state import MarketStates
from holdfast.market.observing.folding import PROBE_MIN, Kind, Memory, after_answer
from holdfast.market.observing.tables import EndRow, LookRow, MarketRow, PriceRow, WordRow
from holdfast.store.database import Database

__all__ = [
    "Market",
    "heard",
    "heard_of_size",
    "inside",
    "launch_answered",
    "looked",
    "machines_live",
    "memory_of",
    "prices_seen",
    "quietly",
    "region_of_location",
]

log = logging.getLogger("holdfast.market")

# How often an unchanged answer is written down again, so that the history shows that somebody looked. The state is
# updated at every probe's period; hourly rows keep a year of fifty markets below half a million rows.
TOLD_EVERY = timedelta(hours=1)
# Words older than this say nothing about an end: placement scores are cached for 30 minutes, bands change by the day.
WORDS_HOLD = timedelta(days=1)


@dataclass(frozen=True)
class Market:
    """Where an order went, or a machine lives. `zone` None = without a zone."""

    cloud: str
    region: str
    size: str
    zone: str | None
    spot: bool

    @property
    def key(self) -> str:
        priority = "spot" if self.spot else "regular"
        return "/".join((self.cloud, self.region, self.size, self.zone or "", priority)).lower()


class Priced(Protocol):
    """A price as clouds tell it (`clouds.protocols.Price`)."""

    @property
    def size(self) -> str: ...
    @property
    def os(self) -> str: ...
    @property
    def spot(self) -> bool: ...
    @property
    def usd_per_hour(self) -> float: ...
    @property
    def read_at(self) -> datetime: ...


@contextmanager
def quietly(what: str) -> Iterator[None]:
    """Log what goes wrong inside, and go on: a history that lacks a line is better than an operation that fails."""
    try:
        yield
    except Exception:
        log.exception("not recorded: %s", what)


def inside(session: Session, what: str, act: Callable[[Session], Any]) -> None:
    """Record within the caller's transaction, so that both stand or fall together, but never fail the caller."""
    with quietly(what), session.begin_nested():
        act(session)


# --- answers ---------------------------------------------------------------------------------------------------------


def launch_answered(database: Database, market: Market, at: datetime, source: str, code: str | None = None) -> None:
    """An order was accepted (code None) or refused with the cloud's code. Own transaction; never raises.

    `source`: the order's idempotency key. The same answer to the same order is written once.
    """
    with quietly(f"the answer of {market.key}"), database.write() as session:
        answered: bool | None = True
        if code is not None:
            capacity = (Meaning.NO_CAPACITY, Meaning.NOT_OFFERED)
            answered = False if meaning_of(code, market.spot).meaning in capacity else None
        looked(session, market, Kind.LAUNCH, at, answered, code=code, source=f"{source}/{code or 'accepted'}")


def looked(
    session: Session,
    market: Market,
    kind: Kind,
    at: datetime,
    answered: bool | None,
    *,
    code: str | None = None,
    source: str | None = None,
    reason: str = "unknown",
    noticed_s: float | None = None,
) -> None:
    """One answer of one market, in the caller's transaction: state, history, and the end of a streak if it was one.

    `reason` and `noticed_s` are an eviction's.
    """
    _look(session, _row(session, market), kind, at, answered, code, source, reason, noticed_s)


def _look(
    session: Session,
    row: MarketRow,
    kind: Kind,
    at: datetime,
    answered: bool | None,
    code: str | None = None,
    source: str | None = None,
    reason: str = "unknown",
    noticed_s: float | None = None,
) -> None:
    if source is not None and session.scalar(select(LookRow.id).where(LookRow.source == source)) is not None:
        return
    before = memory_of(row)
    blocks = answered is not None or (code is not None and meaning_of(code, row.spot).block is not None)
    after, ended = after_answer(before, kind, answered, at) if blocks else (before, None)
    if kind is Kind.HELD and after.probed_at == before.probed_at:
        return  # too soon, or it proves nothing: an order was refused there a short while ago
    if ended is not None or kind is Kind.EVICTION:
        _ended(session, row, kind, at, ended or 0.0, reason, noticed_s)
    if _worth_telling(row, before, kind, answered, at):
        session.add(LookRow(market=row.id, at=at, kind=kind.value, answered=answered, code=code, source=source))
        row.told_at = at
    _keep(row, after)
    if row.spot and kind in (Kind.LAUNCH, Kind.PROBE) and answered is not None:
        # A refusal says something of a machine that lives there; of a market without one it is the end itself.
        age = after.age_at(at) if answered else (before.age_at(at) if before.is_held else None)
        _word(session, row, CAPACITY_ANSWER, "answered" if answered else "refused", at, age)
    session.flush()


def machines_live(session: Session, markets: Iterable[Market], at: datetime) -> None:
    """Machines of ours run in these markets now. Cheap enough for every round of a watch: a market whose last
    answer is younger than a probe's period is not touched.
    """
    wanted = {market.key: market for market in markets}
    if not wanted:
        return
    query = select(MarketRow).where(MarketRow.key.in_(wanted)).order_by(MarketRow.key).with_for_update()
    rows = {row.key: row for row in session.scalars(query)}
    recent = at - timedelta(minutes=PROBE_MIN)
    for key, market in sorted(wanted.items()):
        row = rows.get(key)
        if row is None or row.held_at is None or row.held_at <= recent:
            _look(session, row or _row(session, market), Kind.HELD, at, True)


def _worth_telling(row: MarketRow, before: Memory, kind: Kind, answered: bool | None, at: datetime) -> bool:
    if kind in (Kind.LAUNCH, Kind.EVICTION) or row.told_at is None:
        return True
    return answered != before.answers or at - row.told_at >= TOLD_EVERY


# --- words from outside ----------------------------------------------------------------------------------------------


def heard(session: Session, market: Market, signal: str, said: str, at: datetime) -> None:
    """A signal's word about one market. The same word is written down once for each horizon."""
    row = _row(session, market)
    _word(session, row, signal, said, at, memory_of(row).age_at(at))


def heard_of_size(session: Session, cloud: str, region: str, size: str, signal: str, said: str, at: datetime) -> int:
    """A word about a size in every zone, as eviction bands are. Returns how many known markets it was noted for."""
    query = select(MarketRow).where(
        MarketRow.cloud == cloud, MarketRow.region == region, func.lower(MarketRow.size) == size.lower(), MarketRow.spot
    )
    rows = session.scalars(query).all()
    for row in rows:
        _word(session, row, signal, said, at, memory_of(row).age_at(at))
    return len(rows)


def _word(session: Session, row: MarketRow, signal: str, said: str, at: datetime, age_min: float | None) -> None:
    last = session.scalar(
        select(WordRow).where(WordRow.market == row.id, WordRow.signal == signal).order_by(WordRow.at.desc()).limit(1)
    )
    if last is not None and last.said == said and at - last.at < timedelta(minutes=HORIZON_MIN):
        return
    session.add(WordRow(market=row.id, at=at, signal=signal, said=said, age_min=age_min))
    session.flush()


def _ended(
    session: Session, row: MarketRow, kind: Kind, at: datetime, age_min: float, reason: str, noticed_s: float | None
) -> None:
    """Everything that was said until then, beside the end."""
    told = {
        word.signal: word.said
        for word in session.scalars(
            select(WordRow).where(WordRow.market == row.id, WordRow.at > at - WORDS_HOLD).order_by(WordRow.at)
        )
    }
    price = session.scalar(  # Linux's: which system ran there is not known here, and the discount hardly differs
        select(PriceRow.usd_per_hour)
        .where(PriceRow.key == price_key(row.cloud, row.region, row.size, "linux", row.spot), PriceRow.at <= at)
        .order_by(PriceRow.at.desc())
        .limit(1)
    )
    answer = told.get(CAPACITY_ANSWER)
    record = EvictionRecord(
        market=row.key,
        at=at.isoformat(),
        age_min=age_min,
        price=price,
        reason=reason,
        placement_score=told.get(PLACEMENT_SCORE),
        eviction_band=told.get(EVICTION_BAND),
        capacity_answered=None if answer is None else answer == "answered",
        noticed_s=noticed_s,
    )
    session.add(
        EndRow(
            market=row.id,
            at=at,
            kind="eviction" if kind is Kind.EVICTION else "streak",
            reason=record.reason,
            age_min=record.age_min,
            usd_per_hour=record.price,
            placement_score=record.placement_score,
            eviction_band=record.eviction_band,
            capacity_answered=record.capacity_answered,
            noticed_s=record.noticed_s,
        )
    )


# --- prices ----------------------------------------------------------------------------------------------------------


def prices_seen(database: Database, cloud: str, location: str, prices: Sequence[Priced]) -> None:
    """Prices that somebody has read. Only changes are written. Own transaction; never raises.

    Safe in a plan: it changes nothing but our own history.
    """
    if not prices:
        return
    region = region_of_location(location)
    with quietly(f"the prices of {region}"):
        with database.read() as session:
            known = _last_prices(session, cloud, region)
        fresh = {}
        for price in prices:
            key = price_key(cloud, region, price.size, price.os, price.spot)
            if known.get(key) != price.usd_per_hour:
                fresh[key] = price
        if fresh:
            with database.write() as session:
                session.add_all(
                    PriceRow(
                        key=key,
                        cloud=cloud,
                        region=region,
                        size=price.size,
                        os=price.os.lower(),
                        spot=price.spot,
                        at=price.read_at,
                        usd_per_hour=price.usd_per_hour,
                    )
                    for key, price in fresh.items()
                )


def _last_prices(session: Session, cloud: str, region: str) -> dict[str, float]:
    newest = (
        select(func.max(PriceRow.id))
        .where(PriceRow.cloud == cloud, PriceRow.region == region)
        .group_by(PriceRow.key)
        .scalar_subquery()
    )
    rows = session.execute(select(PriceRow.key, PriceRow.usd_per_hour).where(PriceRow.id.in_(newest)))
    return {row.key: row.usd_per_hour for row in rows}


def price_key(cloud: str, region: str, size: str, system: str, spot: bool) -> str:
    return "/".join((cloud, region, size, system, "spot" if spot else "regular")).lower()


def region_of_location(location: str) -> str:
    """West Europe → westeurope: one name for a region whoever writes it."""
    return location.replace(" ", "").lower()


# --- rows and values -------------------------------------------------------------------------------------------------


def memory_of(row: MarketRow) -> Memory:
    state = MarketStates.unseen(1) if row.state is None else MarketStates.unpack([row.state])
    return Memory(state, row.first_at, row.probed_at, row.failed_at, row.held_at)


def _keep(row: MarketRow, memory: Memory) -> None:
    row.state = memory.state.pack(0) if memory.probed_at is not None else None
    row.first_at, row.probed_at = memory.first_at, memory.probed_at
    row.failed_at, row.held_at = memory.failed_at, memory.held_at


def _row(session: Session, market: Market) -> MarketRow:
    """The market's row, made if there is none, locked until the transaction ends."""
    query = select(MarketRow).where(MarketRow.key == market.key).with_for_update()
    row = session.scalar(query)
    if row is None:
        insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
        values = {
            "key": market.key,
            "cloud": market.cloud,
            "region": market.region,
            "size": market.size,
            "zone": market.zone or "",
            "spot": market.spot,
        }
        session.execute(insert(MarketRow).values(values).on_conflict_do_nothing())
        row = session.scalars(query).one()
    return row
