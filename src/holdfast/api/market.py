"""/v1/market: what was seen of markets, what outside signals are worth, and words of theirs to be written down."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from holdfast.api.access import Caller, Operator, TheHouse, Viewer
from holdfast.core.clock import parse_utc
from holdfast.core.errors import InvalidInput
from holdfast.core.units import parse_duration
from holdfast.market.observing.exporting import recorded_history
from holdfast.market.observing.history import FORMAT
from holdfast.market.observing.measuring import measured_signals
from holdfast.market.observing.recording import Market, heard, heard_of_size, region_of_location
from holdfast.market.observing.tables import MarketRow
from holdfast.store.audit import audit
from holdfast.wiring import House

__all__ = ["router"]

router = APIRouter(prefix="/v1/market", tags=["market"])


@router.get("/history", operation_id="marketHistory")
def market_history(
    house: TheHouse,
    caller: Viewer,
    cloud: str | None = None,
    region: str | None = None,
    since: str | None = None,
    until: str | None = None,
    os: str = "linux",
) -> dict[str, Any]:
    """Answers, prices and words of spot markets in [since, until), as `market replay --traces` reads them.

    `since` and `until`: RFC 3339, a day (its begin in UTC), or a span back from now such as 30d.
    """
    system = os.lower()
    if system not in ("linux", "windows"):
        raise InvalidInput(field="os", problem=f"'{os}' is neither linux nor windows")
    begin, end = _moment(house, since, "since"), _moment(house, until, "until")
    if begin is not None and end is not None and begin >= end:
        raise InvalidInput(field="since", problem="must be before until")
    rows: list[dict[str, Any]] = []
    told = _cloud_of(house, caller, cloud)
    if told is not None:
        place = None if region is None else region_of_location(region)
        with house.database.read() as session:
            rows = recorded_history(session, told, region=place, since=begin, until=end, system=system)
    return {"format": FORMAT, "version": 1, "rows": rows}


@router.get("/signals", operation_id="marketSignals")
def market_signals(house: TheHouse, caller: Viewer) -> list[dict[str, Any]]:
    """How often each outside signal was wrong, beyond what age tells, and whether it has earned its use."""
    with house.database.read() as session:
        return [report.to_json() for report in measured_signals(session, caller.clouds)]


class Word(BaseModel):
    """What a signal said of a size, in one zone or in all that are known."""

    model_config = ConfigDict(extra="forbid")

    region: str = Field(min_length=1)
    size: str = Field(min_length=1)
    zone: str | None = None
    signal: str = Field(min_length=1, max_length=20)
    said: str = Field(min_length=1, max_length=20)


class Words(BaseModel):
    model_config = ConfigDict(extra="forbid")

    cloud: str
    words: list[Word] = Field(max_length=1000)


@router.post("/words", operation_id="tellMarketWords")
def tell_market_words(body: Words, house: TheHouse, caller: Operator) -> dict[str, Any]:
    """Write down placement scores, eviction bands or any other signal, to be measured and, once earned, used."""
    caller.require_cloud(body.cloud)
    house.clouds.get(body.cloud)
    now, noted = house.clock.now(), 0
    with house.database.write() as session:
        for word in body.words:
            region = region_of_location(word.region)
            if word.zone is None:
                noted += heard_of_size(session, body.cloud, region, word.size, word.signal, word.said, now)
            else:
                heard(session, Market(body.cloud, region, word.size, word.zone, True), word.signal, word.said, now)
                noted += 1
        audit(session, now, caller.name, "market.words", subject=body.cloud, words=len(body.words))
    return {"noted": noted}


def _cloud_of(house: House, caller: Caller, cloud: str | None) -> str | None:
    """The cloud whose history is meant; zones are named by each subscription for itself, so clouds are not mixed."""
    if cloud is not None:
        caller.require_cloud(cloud)
        return cloud
    with house.database.read() as session:
        found = sorted(name for name in set(session.scalars(select(MarketRow.cloud))) if caller.sees(name))
    if len(found) > 1:
        raise InvalidInput(field="cloud", problem=f"several clouds have a history: {', '.join(found)}; name one")
    return found[0] if found else None


def _moment(house: House, text: str | None, field: str) -> datetime | None:
    if text is None:
        return None
    try:
        if len(text) == len("2026-01-01"):
            return datetime.combine(date.fromisoformat(text), time(), UTC)
        if "T" in text:
            return parse_utc(text)
        return house.clock.now() - parse_duration(text, field)
    except (ValueError, OverflowError, InvalidInput) as exc:
        problem = f"'{text}' is neither a time such as 2026-01-31T12:00:00Z, nor a day, nor a span such as 30d"
        raise InvalidInput(field=field, problem=problem) from exc
