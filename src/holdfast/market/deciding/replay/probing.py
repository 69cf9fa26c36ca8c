"""What a replay's VM knows at each probe tick: the same state as live, driven by the trace.

Markets are probed whether or not the VM is in them, so what is known does not depend on what the VM does. That is why
one pass over the ticks serves every policy, and why a policy can be asked for all ticks at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from holdfast.market.deciding.ages import BINS, Floats
from holdfast.market.deciding.context import ContextStates
from holdfast.market.deciding.forecast import Forecast
from holdfast.market.deciding.knowledge import Knowledge
from holdfast.market.deciding.replay.pool import Pool
from holdfast.market.deciding.signals import SignalScore
from holdfast.market.deciding.state import Forgetting, MarketStates

__all__ = ["ForecastUse", "knowledge_by_tick", "tick_minutes"]


class ForecastUse:
    """How a trace's forecast column is used: with a given error rate, or with the one measured so far.

    Measured: each forecast is compared, a horizon later, with the probes since; before that nothing is believed (.5).
    One object serves one pass over one pool.
    """

    def __init__(self, horizon_min: float, error_rate: float | None = None) -> None:
        self.horizon_min = horizon_min
        self._given = error_rate
        self._score = SignalScore()
        self._open: deque[tuple[NDArray[np.int8], Floats, NDArray[np.bool_]]] = deque()

    def error_rates(
        self, stays: NDArray[np.int8], answers: NDArray[np.bool_], age_min: Floats, probe_min: int
    ) -> Floats | float:
        """Of a chunk [ticks, N]: the rate to be used at each tick, [ticks, 1]."""
        if self._given is not None:
            return self._given
        wait = max(1, round(self.horizon_min / probe_min))
        rates = np.empty((len(stays), 1))
        for k in range(len(stays)):
            for _, _, held in self._open:
                held &= answers[k]
            if len(self._open) >= wait:
                said, ages, held = self._open.popleft()
                for m in np.flatnonzero(said >= 0):
                    self._score.observe(float(ages[m]), bool(said[m]), bool(held[m]))
            self._open.append((np.where(answers[k], stays[k], -1).astype(np.int8), age_min[k], answers[k].copy()))
            rates[k, 0] = self._score.error_rate if self._score.earned else 0.5
        return rates


# Ticks that are kept at once. Larger needs more memory (ticks × markets × bins × 16 bytes), smaller more Python.
CHUNK_TICKS = 2048


def tick_minutes(pool: Pool, probe_min: int) -> NDArray[np.int64]:
    """The minutes at which all markets are probed: 0, probe, 2·probe …"""
    return np.arange(0, pool.minutes, probe_min, dtype=np.int64)


def knowledge_by_tick(
    pool: Pool,
    probe_min: int,
    with_context: bool = True,
    forgetting: Forgetting | None = None,
    forecast: ForecastUse | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[tuple[slice, Knowledge]]:
    """Chunks of ticks with what is known at each, in order of time. `progress` is told the ticks done so far."""
    minutes = tick_minutes(pool, probe_min)
    states = MarketStates.unseen(pool.size)
    context = ContextStates(pool.regions, float(probe_min)) if with_context else None
    for begin in range(0, len(minutes), CHUNK_TICKS):
        chunk = minutes[begin : begin + CHUNK_TICKS]
        answers = pool.available[chunk] != 0
        yield (
            slice(begin, begin + len(chunk)),
            _observe_chunk(pool, chunk, answers, states, context, probe_min, forgetting, forecast),
        )
        if progress is not None:
            progress(begin + len(chunk))


def _observe_chunk(
    pool: Pool,
    minutes: NDArray[np.int64],
    answers: NDArray[np.bool_],
    states: MarketStates,
    context: ContextStates | None,
    probe_min: int,
    forgetting: Forgetting | None,
    forecast: ForecastUse | None,
) -> Knowledge:
    ticks, count = answers.shape
    events = np.empty((ticks, count, BINS))
    exposure_h = np.empty((ticks, count, BINS))
    share, age_min = np.empty((ticks, count)), np.empty((ticks, count))
    per_hour = np.empty((ticks, count)) if context is not None else None
    for k in range(ticks):
        states.observe(answers[k], float(probe_min), forgetting)
        events[k], exposure_h[k], share[k], age_min[k] = states.events, states.exposure_h, states.share, states.age_min
        if context is not None and per_hour is not None:
            context.observe(answers[k], states.age_min)
            per_hour[k] = context.per_hour
    said = None
    if pool.stays is not None and forecast is not None:
        stays = pool.stays[minutes]
        said = Forecast(stays, forecast.horizon_min, forecast.error_rates(stays, answers, age_min, probe_min))
    return Knowledge(answers, pool.price[minutes], share, age_min, events, exposure_h, per_hour, forecast=said)
