"""Signals from outside (placement scores, eviction bands, capacity answers): how far can they be believed?

Each is written down beside what then happened. Its error rate is measured within bins of streak age, so that a signal
which only repeats what age tells scores .5, as one that knows nothing. It is used, through the conditional survival
curve of `forecast`, once its error rate is low enough to earn it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from holdfast.market.deciding.ages import BINS, Floats, bin_of
from holdfast.market.deciding.forecast import Forecast

__all__ = [
    "CAPACITY_ANSWER",
    "EARNS_BELOW",
    "EVICTION_BAND",
    "HORIZON_MIN",
    "PLACEMENT_SCORE",
    "SIGNALS",
    "EvictionRecord",
    "Observation",
    "SignalScore",
    "forecast_of",
    "said_by",
    "said_by_band",
    "said_by_placement_score",
]

PLACEMENT_SCORE, EVICTION_BAND, CAPACITY_ANSWER = "placement-score", "eviction-band", "capacity-answer"
SIGNALS = (PLACEMENT_SCORE, EVICTION_BAND, CAPACITY_ANSWER)

# What a word from outside is taken to be about, and the horizon of `market replay --forecast`. The published study of
# capacity answers is as good at 60 minutes as at once, nearly; a longer one gains more at high λ and is known later.
HORIZON_MIN = 60.0
# Known to the tuning set: at .2 a forecast gains .015 of J/J*, at .5 nothing. Above .4 it would mostly add noise.
EARNS_BELOW = 0.40
# Pseudo-counts of "knows nothing" in each row of each bin: a lucky signal needs some twenty outcomes to be believed.
PRIOR_ROW = 10.0


@dataclass(frozen=True)
class EvictionRecord:
    """What everybody said when a market was lost; written down from the first day, because no public history exists.

    None = not asked or not answered. `reason`: capacity | price | unknown.
    """

    market: str
    at: str
    age_min: float
    price: float | None
    reason: str = "unknown"
    placement_score: str | None = None  # High | Medium | Low
    eviction_band: str | None = None  # 0-5 … 20+
    capacity_answered: bool | None = None  # the last order or probe before the eviction
    noticed_s: float | None = None  # seconds of notice

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True)
class Observation:
    """One signal beside what happened: what it said about the next `horizon_min`, and the truth."""

    market: str
    signal: str  # placement-score | eviction-band | capacity-answer | a column of a recorded history
    said_at: str
    horizon_min: float
    age_min: float
    said_stays: bool
    stayed: bool

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass
class SignalScore:
    """Counts [BINS, happened, said] of one signal and horizon; 0 = drops, 1 = stays."""

    counts: Floats = field(default_factory=lambda: np.zeros((BINS, 2, 2)))

    def observe(self, age_min: float, said_stays: bool, stayed: bool) -> None:
        age_bin = int(bin_of(np.array([age_min]))[0])
        row: Floats = self.counts[age_bin]
        row[1 if stayed else 0][1 if said_stays else 0] += 1.0

    def add(self, other: Observation) -> None:
        self.observe(other.age_min, other.said_stays, other.stayed)

    @property
    def error_rate(self) -> float:
        """In 0..1: the mean of "said stays, dropped" and "said drops, stayed", within each bin, bins weighted by
        their rarer outcome. .5 before anything was seen; above .5 the signal is worse than nothing.
        """
        happened = self.counts.sum(axis=2)
        wrong = np.stack([self.counts[:, 0, 1], self.counts[:, 1, 0]], axis=1)
        rates = (wrong + PRIOR_ROW / 2.0) / (happened + PRIOR_ROW)
        weight = happened.min(axis=1)
        if not weight.sum() > 0:
            return 0.5
        return float((rates.mean(axis=1) * weight).sum() / weight.sum())

    @property
    def earned(self) -> bool:
        return self.error_rate < EARNS_BELOW


def said_by_placement_score(score: str | None) -> bool | None:
    """High: stays. Low: drops. Medium and everything else (DataNotFound, RestrictedSku) say nothing."""
    return {"high": True, "low": False}.get((score or "").lower())


def said_by_band(band: str | None) -> bool | None:
    """The two lowest eviction bands say stays, the highest says drops, the middle nothing."""
    return {"0-5": True, "5-10": True, "20+": False}.get(band or "")


def said_by(signal: str, said: str | None) -> bool | None:
    """What a recorded word means for the next hour: True stays, False drops, None nothing.

    A capacity answer is `answered` or `refused`. A signal that is not ours may say `stays` or `drops` (or 1, 0).
    """
    if signal == PLACEMENT_SCORE:
        return said_by_placement_score(said)
    if signal == EVICTION_BAND:
        return said_by_band(said)
    return {"answered": True, "stays": True, "1": True, "refused": False, "drops": False, "0": False}.get(said or "")


def forecast_of(said: Sequence[bool | None], horizon_min: float, score: SignalScore) -> Forecast | None:
    """A signal's words about N markets as a forecast; None while it has not earned to be believed."""
    if not score.earned:
        return None
    stays = np.array([-1 if s is None else int(s) for s in said], dtype=np.int8)
    return Forecast(stays, horizon_min, score.error_rate)
