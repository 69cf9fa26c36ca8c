"""What we have seen of markets: events and exposure by age bin, share of answers, streak age. Updated by probes.

`MarketStates` holds many markets side by side, because one update serves all markets of a region, or of ten thousand
nodes, at the price of a few array operations. `pack` and `unpack` are the stored form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.ages import BINS, EDGES_MIN, Floats, bin_of

__all__ = ["Forgetting", "MarketStates", "age_without_probes"]

Bools = NDArray[np.bool_]
_FORMAT = 1


@dataclass(frozen=True)
class Forgetting:
    """Optional: old evidence fades. Multiplies E and X by exp(−period / evidence) at each probe, days."""

    evidence_days: float = 3.0
    share_days: float = 5.0


@dataclass
class MarketStates:
    """N markets. `events` and `exposure_h` are [N, BINS]; the others [N].

    `answered` is the answer to the last probe; `probes` counts the probes since each market was first seen. With
    forgetting, `answers / probes` is an exponential mean.
    """

    events: Floats
    exposure_h: Floats
    answers: Floats
    probes: Floats
    age_min: Floats
    answered: Bools

    @classmethod
    def unseen(cls, count: int) -> MarketStates:
        return cls(
            np.zeros((count, BINS)),
            np.zeros((count, BINS)),
            np.zeros(count),
            np.zeros(count),
            np.zeros(count),
            np.zeros(count, dtype=bool),
        )

    def __len__(self) -> int:
        return len(self.age_min)

    @property
    def share(self) -> Floats:
        """Long-run availability: answered probes by probes since first seen; 0 before the first."""
        return np.divide(self.answers, self.probes, out=np.zeros_like(self.answers), where=self.probes > 0)

    def observe(self, answers: Bools, period_min: float, forgetting: Forgetting | None = None) -> None:
        """Take the answers of one probe of every market, `period_min` after the one before.

        A market that answered the previous probe was exposed for the period, in the bin of its age then; if it does
        not answer now, that bin had an event. The first probe of a market sets its age to 0.
        """
        was = np.flatnonzero(self.answered)
        if forgetting is not None:
            keep = np.exp(-period_min / (1440.0 * forgetting.evidence_days))
            self.events *= keep
            self.exposure_h *= keep
            share_keep = np.exp(-period_min / (1440.0 * forgetting.share_days))
            self.answers *= share_keep
            self.probes *= share_keep
        bins = bin_of(self.age_min[was])
        self.exposure_h[was, bins] += period_min / 60.0
        self.events[was, bins] += ~answers[was]
        first = self.probes == 0
        self.age_min = np.where(answers & ~first, self.age_min + period_min, 0.0)
        self.answers += answers
        self.probes += 1.0
        self.answered = answers.copy()

    def failed(self, market: int) -> None:
        """A refused order or an error block: the streak is over (reference 7). Events are counted by probes only."""
        self.age_min[market] = 0.0
        self.answered[market] = False

    def lived(self, market: int, minutes: float, probe_min: float) -> None:
        """A machine of ours was there all the time since the last look: exposure in every bin that its age passed.

        It counts as the answered probes, `probe_min` apart, that nobody needed to make.
        """
        begin, end = self.age_min[market], self.age_min[market] + minutes
        upper = np.append(EDGES_MIN[1:], np.inf)
        self.exposure_h[market] += np.clip(np.minimum(upper, end) - np.maximum(EDGES_MIN, begin), 0.0, None) / 60.0
        self.age_min[market] = end
        self.answers[market] += minutes / probe_min
        self.probes[market] += minutes / probe_min
        self.answered[market] = True

    def take(self, markets: Sequence[int]) -> MarketStates:
        """The states of some of the markets, copied."""
        chosen = np.asarray(markets, dtype=np.intp)
        return MarketStates(
            self.events[chosen],
            self.exposure_h[chosen],
            self.answers[chosen],
            self.probes[chosen],
            self.age_min[chosen],
            self.answered[chosen],
        )

    def pack(self, market: int) -> bytes:
        """One market as 86 bytes: format, last answer, then events, exposure, answers, probes, age as float32."""
        numbers = np.concatenate(
            [
                self.events[market],
                self.exposure_h[market],
                [self.answers[market], self.probes[market], self.age_min[market]],
            ]
        ).astype("<f4")
        return bytes([_FORMAT, int(self.answered[market])]) + numbers.tobytes()

    @classmethod
    def unpack(cls, stored: Sequence[bytes]) -> MarketStates:
        """The inverse of `pack` for many markets. Raises InvalidInput for another format."""
        count, length = 2 * BINS + 3, 2 + 4 * (2 * BINS + 3)
        for record in stored:
            if len(record) != length or record[0] != _FORMAT:
                raise InvalidInput(field="market state", problem=f"not a market state of format {_FORMAT}")
        raw = np.frombuffer(b"".join(r[2:] for r in stored), dtype="<f4").astype(np.float64).reshape(-1, count)
        return cls(
            raw[:, :BINS].copy(),
            raw[:, BINS : 2 * BINS].copy(),
            raw[:, 2 * BINS].copy(),
            raw[:, 2 * BINS + 1].copy(),
            raw[:, 2 * BINS + 2].copy(),
            np.array([bool(r[1]) for r in stored], dtype=bool),
        )


def age_without_probes(now_s: float, first_looked_s: float, last_failure_s: float | None) -> float:
    """Streak age in minutes of a market that is never probed: since the last failure we saw, at most since we looked.

    All times in seconds of one clock. A market that never failed is as old as our attention, not older.
    """
    since = first_looked_s if last_failure_s is None else max(first_looked_s, last_failure_s)
    return max(0.0, (now_s - since) / 60.0)
