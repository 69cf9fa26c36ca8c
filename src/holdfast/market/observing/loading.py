"""What a decision starts from: recorded states, answers, eviction bands and words from outside of some markets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from holdfast.market.deciding.blocks import Block, block_of, blocks_after
from holdfast.market.deciding.candidates import Candidate, Place
from holdfast.market.deciding.forecast import Forecast
from holdfast.market.deciding.signals import EVICTION_BAND, HORIZON_MIN, forecast_of, said_by
from holdfast.market.deciding.sizes import PriceBook, Qualified, Quota, Size
from holdfast.market.deciding.state import MarketStates
from holdfast.market.observing.folding import Kind
from holdfast.market.observing.measuring import SignalReport
from holdfast.market.observing.recording import Market, memory_of
from holdfast.market.observing.tables import LookRow, MarketRow, WordRow

__all__ = ["Seen", "blocks_now", "candidates_of", "load_seen"]

# An answer that is older is no answer: the page's probes are at most this far apart where they still decide well.
ANSWER_HOLDS = timedelta(hours=1)
BAND_HOLDS = timedelta(days=28)  # what Azure's bands look back on
LONGEST_BLOCK = timedelta(hours=23)


@dataclass(frozen=True)
class Seen:
    """Side by side, in the order that was asked for. `answers` None: nobody has asked within the hour."""

    states: MarketStates
    answers: tuple[bool | None, ...]
    bands: tuple[str | None, ...]
    said: dict[str, tuple[bool | None, ...]]

    def forecast(self, reports: Sequence[SignalReport]) -> Forecast | None:
        """The words of the best signal that has earned its use and says something now; None while none has."""
        earned = sorted((r for r in reports if r.score.earned), key=lambda r: r.score.error_rate)
        for report in earned:
            words = self.said.get(report.signal)
            if words is not None and any(word is not None for word in words):
                return forecast_of(words, report.horizon_min, report.score)
        return None


def load_seen(session: Session, markets: Sequence[Market], now: datetime) -> Seen:
    """States as of now. A market that nobody asked has the state of an unseen one; one that is not watched has the age
    by rule. Reads only.
    """
    wanted = {market.key for market in markets}
    rows = {row.key: row for row in session.scalars(select(MarketRow).where(MarketRow.key.in_(wanted)))}
    states = MarketStates.unseen(len(markets))
    answers: list[bool | None] = []
    words = _last_words(session, {row.id: key for key, row in rows.items()}, now)
    for i, market in enumerate(markets):
        row = rows.get(market.key)
        if row is None or row.probed_at is None:
            answers.append(None)
            continue
        memory = memory_of(row)
        age = memory.age_at(now)
        states.events[i], states.exposure_h[i] = memory.state.events[0], memory.state.exposure_h[0]
        states.answers[i], states.probes[i] = memory.state.answers[0], memory.state.probes[0]
        states.age_min[i], states.answered[i] = age or 0.0, memory.answers
        answers.append(memory.answers if now - row.probed_at <= ANSWER_HOLDS else None)
    return Seen(
        states,
        tuple(answers),
        tuple(_fresh(words.get((m.key, EVICTION_BAND)), now, BAND_HOLDS) for m in markets),
        {
            signal: tuple(
                said_by(signal, _fresh(words.get((m.key, signal)), now, timedelta(minutes=HORIZON_MIN)))
                for m in markets
            )
            for signal in sorted({signal for _, signal in words})
        },
    )


def blocks_now(session: Session, cloud: str, region: str, sizes: Sequence[Size], now: datetime) -> tuple[Block, ...]:
    """What recent refusals forbid to order now, families included where `sizes` tells them."""
    known = {size.name.lower(): size for size in sizes}
    query = (
        select(LookRow.at, LookRow.code, MarketRow.size, MarketRow.zone, MarketRow.spot)
        .join(MarketRow, MarketRow.id == LookRow.market)
        .where(MarketRow.cloud == cloud, MarketRow.region == region, LookRow.kind == Kind.LAUNCH.value)
        .where(LookRow.code.is_not(None), LookRow.at > now - LONGEST_BLOCK)
    )
    blocks: list[Block] = []
    for at, code, name, zone, spot in session.execute(query):
        size = known.get(name.lower())
        blocks += blocks_after(
            code or "",
            size=name,
            family=size.family if size is not None else "",
            vcpus=size.vcpus if size is not None else 0,
            zone=zone or None,
            spot=spot,
            now=at,
        )
    return tuple(block for block in blocks if block.until > now)


def candidates_of(
    markets: Sequence[Market],
    sizes: Sequence[Qualified],
    seen: Seen,
    prices: PriceBook,
    quota: Quota,
    blocks: Sequence[Block],
    now: datetime,
) -> list[Candidate]:
    """The markets of a node as `decision.decide` wants them, in the order of `markets` and of `seen`. Pure.

    `sizes` are those that passed the size rules. A size that is not among them raises KeyError.
    """
    by_name = {qualified.size.name.lower(): qualified.size for qualified in sizes}
    found = []
    for market, answers, band in zip(markets, seen.answers, seen.bands, strict=True):
        size = by_name[market.size.lower()]
        block = block_of(
            blocks,
            size=size.name,
            family=size.family,
            vcpus=size.vcpus,
            zone=market.zone,
            spot=market.spot,
            now=now,
        )
        short = quota.spot_free is not None and quota.spot_free < size.vcpus
        found.append(
            Candidate(
                Place(size.name, market.zone),
                prices.spot_per_hour(size.name),
                answers,
                eviction_band=band,
                blocked=None if block is None else f"{block.reason} until {block.until:%H:%M}",
                no_headroom=f"{size.vcpus} vCPUs of {quota.spot_free} that the spot quota has left" if short else None,
            )
        )
    return found


def _last_words(session: Session, keys: dict[int, str], now: datetime) -> dict[tuple[str, str], tuple[datetime, str]]:
    query = (
        select(WordRow.market, WordRow.signal, WordRow.at, WordRow.said)
        .where(WordRow.market.in_(keys), WordRow.at > now - BAND_HOLDS, WordRow.at <= now)
        .order_by(WordRow.at)
    )
    return {(keys[market], signal): (at, said) for market, signal, at, said in session.execute(query)}


def _fresh(word: tuple[datetime, str] | None, now: datetime, holds: timedelta) -> str | None:
    return word[1] if word is not None and now - word[0] <= holds else None
