"""From samples at their own times to the 1-minute grid of a pool."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.ages import Floats

__all__ = ["held", "minute_availability"]


def minute_availability(at_s: NDArray[np.float64], up: NDArray[np.bool_], minutes: int) -> NDArray[np.uint8]:
    """Samples (seconds from the start, ascending) on a grid of `minutes`.

    A sample is held until the next one; where several fall into one minute, the market is up only if all are up.
    Minutes before the first sample are down: nobody saw the market answer.
    """
    if len(at_s) != len(up) or not len(up):
        raise InvalidInput(field="samples", problem="a series needs samples, each with a time and an answer")
    minute = np.floor_divide(at_s, 60.0).astype(np.int64)
    if (np.diff(minute) < 0).any():
        raise InvalidInput(field="samples", problem="the samples of a series must be in order of time")
    first_of_minute = np.flatnonzero(np.diff(minute, prepend=minute[0] - 1) > 0)
    all_up = np.minimum.reduceat(up.astype(np.uint8), first_of_minute)
    last_seen = np.searchsorted(minute[first_of_minute], np.arange(minutes), side="right") - 1
    return np.where(last_seen >= 0, all_up[np.maximum(last_seen, 0)], 0).astype(np.uint8)


def held(at_s: NDArray[np.float64], values: Floats, minutes: int, period_s: float | None = None) -> Floats:
    """Values that hold from their time to the next, at the begin of each minute; the first holds before its time too.

    With `period_s` the series repeats from its start.
    """
    wanted = np.arange(minutes) * 60.0
    if period_s is not None and period_s > 0:
        wanted = np.mod(wanted, period_s)
    index = np.searchsorted(at_s, wanted, side="right") - 1
    return np.asarray(values[np.maximum(index, 0)], dtype=np.float64)
