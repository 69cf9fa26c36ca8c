"""What a replay's VM knows at each probe tick: the same state as live, driven by the trace.

Markets are probed whether or not the VM is in them, so what is known does not depend on what the VM does. That is why
one pass over the ticks serves every policy, and why a policy can be asked for all ticks at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from holdfast.market.deciding.ages import BINS
from holdfast.market.deciding.context import ContextStates
from holdfast.market.deciding.forecast import Forecast
from holdfast.market.deciding.knowledge import Knowledge
from holdfast.market.deciding.replay.pool import Pool
from holdfast.market.deciding.state import Forgetting, MarketStates

__all__ = ["knowledge_by_tick", "tick_minutes"]

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
    forecast_error: float | None = None,
    forecast_horizon_min: float = 60.0,
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
            _observe_chunk(
                pool, chunk, answers, states, context, probe_min, forgetting, forecast_error, forecast_horizon_min
            ),
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
    forecast_error: float | None,
    forecast_horizon_min: float,
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
    forecast = None
    if pool.stays is not None and forecast_error is not None:
        forecast = Forecast(pool.stays[minutes], forecast_horizon_min, forecast_error)
    return Knowledge(answers, pool.price[minutes], share, age_min, events, exposure_h, per_hour, forecast=forecast)
