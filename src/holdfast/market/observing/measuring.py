"""How often each signal from outside was right, beyond what age tells: words beside what then happened."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
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


# Machines that live are written down by the hour; twice that is not silent yet.
LIVES_FOR = timedelta(hours=2)


@dataclass(frozen=True)
class Course:
    """What is known of one market's course, ascending times: orders that were refused or accepted, evictions of our
    machines, and signs of life of them (`lived`), which prove all the time since the sign before.
    """

    refused: Sequence[datetime] = ()
    evicted: Sequence[datetime] = ()
    accepted: Sequence[datetime] = ()
    lived: Sequence[datetime] = ()

    def stayed(self, since: datetime, horizon: timedelta) -> bool | None:
        """Whether the market stayed for the horizon. None: nobody knows (yet).

        Where a machine of ours lived, its fate is the answer: a refused order beside it is a word about it and not
        its end. Elsewhere a refused order is.
        """
        end = since + horizon
        holds = self._holds_machine(since)
        lost = self.evicted if holds else sorted((*self.refused, *self.evicted))
        seen = self.lived if holds else sorted((*self.accepted, *self.lived))
        first = bisect_right(lost, since)
        if first < len(lost) and lost[first] <= end:
            return False
        at = bisect_left(seen, end)
        if at == len(seen) or (first < len(lost) and lost[first] <= seen[at]):
            return None  # not seen since, or lost later: what it was at the horizon's end is not known
        close = seen[at] - end <= timedelta(minutes=WATCHED_MIN)
        return True if close or seen[at] in self.lived else None

    def _holds_machine(self, moment: datetime) -> bool:
        last = bisect_right(self.lived, moment) - 1
        if last < 0 or moment - self.lived[last] > LIVES_FOR:
            return False
        gone = bisect_right(self.evicted, self.lived[last])
        return gone == len(self.evicted) or self.evicted[gone] > moment


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
    query = select(MarketRow.id, MarketRow.key, MarketRow.held_at).where(MarketRow.spot)
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
            course = _course(session, row.id, row.held_at)
            for outcome in outcomes_of(row.key, words, course, HORIZON_MIN):
                reports[outcome.signal].score.add(outcome)
    return list(reports.values())


def _course(session: Session, market: int, held_at: datetime | None) -> Course:
    """Held machines are written into the history by the hour, and their last sign of life into the market's row."""
    refused, accepted, lived = [], [], []
    looks = select(LookRow.at, LookRow.kind, LookRow.answered).where(LookRow.market == market).order_by(LookRow.at)
    for at, kind, answered in session.execute(looks):
        if kind == Kind.HELD.value:
            lived.append(at)
        elif answered:
            accepted.append(at)
        elif answered is False and kind != Kind.EVICTION.value:
            refused.append(at)
    evictions = select(EndRow.at).where(EndRow.market == market, EndRow.kind == Kind.EVICTION.value).order_by(EndRow.at)
    if held_at is not None and (not lived or held_at > lived[-1]):
        lived.append(held_at)
    return Course(refused, session.scalars(evictions).all(), accepted, lived)
