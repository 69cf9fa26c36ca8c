"""The recorded history in the documented format of `history.py`, so that `market replay` runs on what was seen.

A row for each answer of a spot market, with the prices of that time and what each signal said then as a forecast
column (1 stays, 0 drops, empty). The format knows up and down only: where a market that had answered was not asked for
two hours, and no machine of ours lived there, it counts as down until somebody asks again. Silence must not flatter.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from holdfast.core.clock import format_utc
from holdfast.market.deciding.signals import HORIZON_MIN, said_by
from holdfast.market.observing.folding import Kind
from holdfast.market.observing.recording import price_key
from holdfast.market.observing.tables import LookRow, MarketRow, PriceRow, WordRow

__all__ = ["recorded_history"]

# Twice the hour in which the answer of a living machine is written down again: one late round is no silence.
SILENT_AFTER = timedelta(hours=2)


@dataclass(frozen=True)
class _Steps:
    """Values that hold from their time on. `first_holds`: before its time too, as in a replay."""

    times: list[datetime] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def at(self, moment: datetime, *, first_holds: bool = False, longest: timedelta | None = None) -> Any:
        index = bisect_right(self.times, moment) - 1
        if index < 0:
            return self.values[0] if first_holds and self.values else None
        if longest is not None and moment - self.times[index] > longest:
            return None
        return self.values[index]


def recorded_history(
    session: Session,
    cloud: str,
    *,
    region: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    system: str = "linux",
) -> list[dict[str, Any]]:
    """Rows of [since, until), by market and time. A market whose price nobody knows has rows with empty prices.

    The answer that held at `since` is told as the first row of the span.
    """
    query = select(MarketRow).where(MarketRow.cloud == cloud, MarketRow.spot).order_by(MarketRow.key)
    if region is not None:
        query = query.where(MarketRow.region == region)
    markets = session.scalars(query).all()
    prices = _prices(session, cloud, region, system)
    rows: list[dict[str, Any]] = []
    for market in markets:
        words = _words(session, market.id)
        for at, up in _answers(session, market, since, until):
            spot = prices[price_key(cloud, market.region, market.size, system, True)].at(at, first_holds=True)
            full = prices[price_key(cloud, market.region, market.size, system, False)].at(at, first_holds=True)
            rows.append(
                {
                    "time": format_utc(at),
                    "region": market.region,
                    "size": market.size,
                    "zone": market.zone,
                    "available": int(up),
                    "price": round(spot / full, 6) if spot is not None and full else "",
                    "spot_price": "" if spot is None else spot,
                    "on_demand_price": "" if full is None else full,
                    **{signal: _said(signal, told, at) for signal, told in words.items()},
                }
            )
    return _same_columns(rows)


def _answers(
    session: Session, market: MarketRow, since: datetime | None, until: datetime | None
) -> Iterator[tuple[datetime, bool]]:
    """Times and answers within the span, with what silence means put in."""
    looks: list[tuple[datetime, str, bool]] = [
        (at, kind, bool(answered))
        for at, kind, answered in session.execute(
            select(LookRow.at, LookRow.kind, LookRow.answered)
            .where(LookRow.market == market.id, LookRow.answered.is_not(None))
            .order_by(LookRow.at, LookRow.id)
        )
    ]
    if market.held_at is not None and looks and market.held_at > looks[-1][0]:
        looks.append((market.held_at, Kind.HELD.value, True))
    told: list[tuple[datetime, bool]] = []
    for i, (at, _, up) in enumerate(looks):
        told.append((at, up))
        later = looks[i + 1] if i + 1 < len(looks) else None
        lived_on = later is not None and later[1] in (Kind.HELD.value, Kind.EVICTION.value)
        if up and later is not None and not lived_on and later[0] - at > SILENT_AFTER:
            told.append((at + SILENT_AFTER, False))
    begun: tuple[datetime, bool] | None = None
    for at, up in told:
        if since is not None and at < since:
            begun = (since, up)
            continue
        if until is not None and at >= until:
            break
        if begun is not None:
            if begun[0] < at:
                yield begun
            begun = None
        yield at, up
    if begun is not None:
        yield begun


def _words(session: Session, market: int) -> dict[str, _Steps]:
    found: dict[str, _Steps] = defaultdict(_Steps)
    query = select(WordRow.signal, WordRow.at, WordRow.said).where(WordRow.market == market).order_by(WordRow.at)
    for signal, at, said in session.execute(query):
        found[signal].times.append(at)
        found[signal].values.append(said)
    return found


def _said(signal: str, told: _Steps, at: datetime) -> int | str:
    meant = said_by(signal, told.at(at, longest=timedelta(minutes=HORIZON_MIN)))
    return "" if meant is None else int(meant)


def _prices(session: Session, cloud: str, region: str | None, system: str) -> dict[str, _Steps]:
    query = select(PriceRow.key, PriceRow.at, PriceRow.usd_per_hour).where(
        PriceRow.cloud == cloud, PriceRow.os == system
    )
    if region is not None:
        query = query.where(PriceRow.region == region)
    found: dict[str, _Steps] = defaultdict(_Steps)
    for key, at, price in session.execute(query.order_by(PriceRow.at, PriceRow.id)):
        found[key].times.append(at)
        found[key].values.append(price)
    return found


def _same_columns(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A signal that spoke of one market is a column of all."""
    columns = {name: None for row in rows for name in row}
    return [{name: row.get(name, "") for name in columns} for row in rows]
