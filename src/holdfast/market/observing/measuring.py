"""How often each signal from outside was right, beyond what age tells: words beside what then happened."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from holdfast.market.deciding.signals import (
    EARNS_BELOW,
    HORIZON_MIN,
    SIGNALS,
    Observation,
    SignalScore,
    said_by,
)
from holdfast.market.observing.folding import WATCHED_MIN, Kind
from holdfast.market.observing.tables import EndRow, LookRow, MarketRow, WordRow

__all__ = ["Course", "SignalReport", "measured_signals", "outcomes_of"]


@dataclass(frozen=True)
class Course:
    """What is known of one market's course: when it was lost, and when it answered. Ascending times.

    `lived`: answers of a machine of ours that ran there, which prove all the time since the answer before.
    """

    lost: Sequence[datetime] = ()
    answered: Sequence[datetime] = ()
    lived: Sequence[datetime] = ()

    def stayed(self, since: datetime, horizon: timedelta) -> bool | None:
        """Whether the market stayed up from `since` for the horizon. None: nobody knows (yet)."""
        end = since + horizon
        first = bisect_right(self.lost, since)
        if first < len(self.lost) and self.lost[first] <= end:
            return False
        at = bisect_left(self.answered, end)
        if at == len(self.answered):
            return None
        seen = self.answered[at]
        if first < len(self.lost) and self.lost[first] <= seen:
            return None  # lost after the horizon, seen up only after that: when it was lost first is not known
        close = seen - end <= timedelta(minutes=WATCHED_MIN)
        return True if close or seen in self.lived else None


@dataclass
class SignalReport:
    """One signal: how many of its words could be judged, and what came of them."""

    signal: str
    horizon_min: float = HORIZON_MIN
    words: int = 0
    score: SignalScore = field(default_factory=SignalScore)

    def to_json(self) -> dict[str, Any]:
        table = self.score.counts.sum(axis=0)
        return {
            "signal": self.signal,
            "horizon_minutes": self.horizon_min,
            "words": self.words,
            "judged": int(table.sum()),
            "said_stays_stayed": int(table[1, 1]),
            "said_stays_dropped": int(table[0, 1]),
            "said_drops_stayed": int(table[1, 0]),
            "said_drops_dropped": int(table[0, 0]),
            "error_rate": round(self.score.error_rate, 4),
            "earns_below": EARNS_BELOW,
            "earned": self.score.earned,
        }


def outcomes_of(
    market: str, words: Sequence[tuple[datetime, str, str, float | None]], course: Course, horizon_min: float
) -> Iterator[Observation]:
    """Words (time, signal, said, streak age) of one market with what happened; those that nobody can judge are left
    out: words about a market that did not answer, words that say nothing, and horizons that nobody watched.
    """
    for at, signal, said, age_min in words:
        told = said_by(signal, said)
        if told is None or age_min is None:
            continue
        stayed = course.stayed(at, timedelta(minutes=horizon_min))
        if stayed is not None:
            yield Observation(market, signal, at.isoformat(), horizon_min, age_min, told, stayed)


def measured_signals(session: Session, clouds: Sequence[str] | None = None) -> list[SignalReport]:
    """Every signal that was ever heard, and the three of ours; `clouds` None = all."""
    query = select(MarketRow.id, MarketRow.key, MarketRow.probed_at, MarketRow.held_at, MarketRow.state).where(
        MarketRow.spot
    )
    if clouds is not None:
        query = query.where(MarketRow.cloud.in_(clouds))
    reports = {name: SignalReport(name) for name in SIGNALS}
    for row in session.execute(query):
        words = [
            (word.at, word.signal, word.said, word.age_min)
            for word in session.scalars(select(WordRow).where(WordRow.market == row.id).order_by(WordRow.at))
        ]
        for _, signal, _, _ in words:
            reports.setdefault(signal, SignalReport(signal)).words += 1
        if words:
            course = _course(session, row.id, row.held_at, row.probed_at)
            for outcome in outcomes_of(row.key, words, course, HORIZON_MIN):
                reports[outcome.signal].score.add(outcome)
    return list(reports.values())


def _course(session: Session, market: int, held_at: datetime | None, probed_at: datetime | None) -> Course:
    """Held machines are written into the history by the hour, and their last sign of life into the market's row."""
    times: dict[str, list[datetime]] = defaultdict(list)
    looks = select(LookRow.at, LookRow.kind, LookRow.answered).where(LookRow.market == market).order_by(LookRow.at)
    for at, kind, answered in session.execute(looks):
        if answered:
            times["answered"].append(at)
            if kind == Kind.HELD.value:
                times["lived"].append(at)
        elif answered is False and kind != Kind.EVICTION.value:
            times["lost"].append(at)
    times["lost"] += session.scalars(select(EndRow.at).where(EndRow.market == market))
    if held_at is not None and held_at == probed_at:
        times["answered"].append(held_at)
        times["lived"].append(held_at)
    return Course(*(sorted(set(times[name])) for name in ("lost", "answered", "lived")))
