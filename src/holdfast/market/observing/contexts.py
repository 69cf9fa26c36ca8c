"""The context factor of a live decision: the last day of answers, read back from the history.

A replay keeps the last 24 hours of every market in memory. Live they are in the history, where a change is written at
once and an unchanged answer by the hour; so the answers of each probe can be put together again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from holdfast.market.deciding.ages import Floats
from holdfast.market.deciding.context import UPTIME_MIN, ContextStates
from holdfast.market.observing.folding import PROBE_MIN
from holdfast.market.observing.recording import Market
from holdfast.market.observing.tables import LookRow, MarketRow

__all__ = ["context_now"]

# As in `exporting.SILENT_AFTER`: an answer is told each hour, and one late round is no silence.
_SILENT_AFTER = timedelta(hours=2)


def context_now(session: Session, markets: Sequence[Market], now: datetime) -> Floats:
    """Evictions per hour by recent drops of each market and of its siblings, [N], for `decision.decide`; 0, which
    changes nothing, for markets that were not watched for the whole last day. Siblings are the watched ones among
    `markets`.
    """
    period = timedelta(minutes=PROBE_MIN)
    count = round(UPTIME_MIN / PROBE_MIN)
    ticks = [now - period * (count - 1 - k) for k in range(count)]
    query = select(MarketRow).where(MarketRow.key.in_({market.key for market in markets}))
    rows = {row.key: row for row in session.scalars(query)}
    answers, ages, watched = [], [], []
    for i, market in enumerate(markets):
        row = rows.get(market.key)
        seen = None if row is None else _answers(session, row, ticks)
        if seen is not None:
            answers.append(seen[0])
            ages.append(seen[1])
            watched.append(i)
    found = np.zeros(len(markets))
    if watched:
        context = ContextStates([f"{markets[i].cloud}/{markets[i].region}" for i in watched], PROBE_MIN)
        for answered, age_min in zip(np.array(answers).T, np.array(ages).T, strict=True):
            context.observe(answered, age_min)
        found[watched] = context.per_hour
    return found


def _answers(session: Session, row: MarketRow, ticks: Sequence[datetime]) -> tuple[list[bool], list[float]] | None:
    """Answer and streak age at each tick; None where there is a silence in between."""
    begin = ticks[0]
    query = select(LookRow.at, LookRow.answered).where(LookRow.market == row.id, LookRow.answered.is_not(None))
    before = session.execute(query.where(LookRow.at <= begin).order_by(LookRow.at.desc()).limit(1)).first()
    if before is None:
        return None
    within = session.execute(query.where(LookRow.at > begin, LookRow.at <= ticks[-1]).order_by(LookRow.at))
    looks: list[tuple[datetime, bool]] = [(before.at, bool(before.answered)), *((at, bool(up)) for at, up in within)]
    signs = [at for at, _ in looks]
    if row.probed_at is not None and signs[-1] < row.probed_at <= ticks[-1]:
        signs.append(row.probed_at)  # looks that changed nothing are not in the history
    gaps = [later - sooner for sooner, later in zip(signs, [*signs[1:], ticks[-1]], strict=True)]
    if max(gaps) > _SILENT_AFTER:
        return None
    age = _age_at(session, row, begin) if looks[0][1] else 0.0
    times = [at for at, _ in looks]
    answered = [looks[bisect_right(times, tick) - 1][1] for tick in ticks]
    ages = []
    for k, up in enumerate(answered):
        age = (age + PROBE_MIN if k else age) if up else 0.0
        ages.append(age)
    return answered, ages


def _age_at(session: Session, row: MarketRow, begin: datetime) -> float:
    """Minutes since the last refusal before `begin`, at most since the first look. A refusal that is repeated is told
    by the hour only, so it is dated by the first answer after it, which is told at once.
    """
    looks = select(LookRow.at).where(LookRow.market == row.id, LookRow.at <= begin)
    failed = session.scalar(looks.where(LookRow.answered.is_(False)).order_by(LookRow.at.desc()).limit(1))
    if failed is None:
        return (begin - (row.first_at or begin)).total_seconds() / 60.0
    back = session.scalar(looks.where(LookRow.answered.is_(True), LookRow.at > failed).order_by(LookRow.at).limit(1))
    return (begin - (back or begin)).total_seconds() / 60.0 + PROBE_MIN
