"""How one answer changes what is kept of a market. Pure.

A replay probes every market each five minutes. Live, answers come when somebody has reason to ask, so each is judged
by the gap since the one before: a short gap is a probe as in the replay; over a long gap a machine of ours that lived
through it watched for us; else nobody watched, and the age follows the page's rule for markets that are never probed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np

from holdfast.market.deciding.state import MarketStates, age_without_probes

__all__ = ["HELD_IS_DOUBTED", "PROBE_MIN", "WATCHED_MIN", "Kind", "Memory", "after_answer"]

PROBE_MIN = 5.0  # the period that all figures of the reference page are made with
# Two answers further apart do not tell what was between them. The page's figures hold up to probes 15 minutes apart;
# more would count hours as watched in which a short spell ended, less would lose the slower of our own probes.
WATCHED_MIN = 20.0
# A machine that lives on in a market which has just refused an order proves no capacity: the streak of answers is over
# for everybody else. The page blocks for 1 h.
HELD_IS_DOUBTED = timedelta(hours=1)


class Kind(StrEnum):
    LAUNCH = "launch"
    PROBE = "probe"
    HELD = "held"
    EVICTION = "eviction"


@dataclass(frozen=True)
class Memory:
    """What is kept of one market. `state` is of one market; the times are None until something happened."""

    state: MarketStates
    first_at: datetime | None = None
    probed_at: datetime | None = None
    failed_at: datetime | None = None
    held_at: datetime | None = None

    @property
    def answers(self) -> bool:
        return bool(self.state.answered[0])

    @property
    def is_held(self) -> bool:
        return self.held_at is not None and self.held_at == self.probed_at

    def age_at(self, now: datetime) -> float | None:
        """Streak age in minutes, None while the market does not answer or nobody has asked it."""
        if not self.answers or self.probed_at is None or self.first_at is None:
            return None
        gap = _minutes(now - self.probed_at)
        if gap <= WATCHED_MIN or self.is_held:
            return float(self.state.age_min[0]) + max(0.0, gap)
        return _unwatched_age(self, now)


def after_answer(memory: Memory, kind: Kind, answered: bool | None, at: datetime) -> tuple[Memory, float | None]:
    """What is known after an answer, and the age of the streak that it ended (None: it ended none).

    `answered` None: refused for a reason that is not capacity but blocks the market: the streak is over, no event.
    An answer that is older than the last one, or repeats it within a probe's period, changes nothing.
    """
    if memory.probed_at is not None and at <= memory.probed_at:
        return memory, None
    if kind is Kind.HELD and memory.failed_at is not None and at - memory.failed_at < HELD_IS_DOUBTED:
        return memory, None
    state = memory.state.take([0])
    before = replace(memory, state=state, first_at=memory.first_at or at)
    if answered is None:
        state.failed(0)
        return replace(before, probed_at=at, failed_at=at), None
    if answered:
        return _answered(before, kind, at), None
    return _refused(before, kind, at)


def _answered(memory: Memory, kind: Kind, at: datetime) -> Memory:
    gap, state = _gap(memory, at), memory.state
    holds = kind is Kind.HELD
    if memory.answers and gap is not None and gap < PROBE_MIN and (memory.is_held or not holds):
        return memory
    if memory.is_held and memory.answers and gap is not None:
        state.lived(0, gap, PROBE_MIN)
        holds = True
    elif gap is not None and gap <= WATCHED_MIN:
        state.observe(np.array([True]), gap)
    else:
        _met_again(memory, True, at)
    return replace(memory, probed_at=at, held_at=at if holds else memory.held_at)


def _refused(memory: Memory, kind: Kind, at: datetime) -> tuple[Memory, float | None]:
    gap, state, was = _gap(memory, at), memory.state, memory.age_at(at)
    if memory.is_held and gap is not None and gap > WATCHED_MIN:
        state.lived(0, gap, PROBE_MIN)
        state.observe(np.array([False]), 0.0)
    elif gap is not None and gap <= WATCHED_MIN:
        state.observe(np.array([False]), gap)
    else:
        _met_again(memory, False, at)
        was = was if kind is Kind.EVICTION else None  # it ended some time when nobody looked
    return replace(memory, probed_at=at, failed_at=at), was


def _met_again(memory: Memory, answers: bool, at: datetime) -> None:
    """After a gap that nobody watched: no exposure and no event, only the answer itself and the age by rule."""
    state = memory.state
    state.answered[0] = False  # so that nothing is counted for the gap
    state.observe(np.array([answers]), 0.0)
    state.age_min[0] = _unwatched_age(memory, at) if answers else 0.0


def _unwatched_age(memory: Memory, at: datetime) -> float:
    first = memory.first_at or at
    failed = None if memory.failed_at is None else memory.failed_at.timestamp()
    return age_without_probes(at.timestamp(), first.timestamp(), failed)


def _gap(memory: Memory, at: datetime) -> float | None:
    """Minutes since the last answer that was counted, None before the first."""
    return None if memory.probed_at is None else _minutes(at - memory.probed_at)


def _minutes(span: timedelta) -> float:
    return span.total_seconds() / 60.0
