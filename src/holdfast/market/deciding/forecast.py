"""A signal from outside as a conditional survival curve, not as a factor on the hazard.

A forecast says for each market: it stays up for the next H minutes, or it drops. It is right with probability 1 − e.
With S(u) the survival that age gives, the forecast turns it into f(u); a factor on the hazard would misprice the part
of the spell beyond H, which is where the money is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holdfast.market.deciding.ages import BINS, EDGES_MIN, Floats, bin_of

__all__ = ["Forecast", "ForecastValues", "forecast_values"]


@dataclass(frozen=True)
class Forecast:
    """`stays`: 1 stays for the horizon, 0 drops within it, −1 nothing said; shape [..., N].

    `error_rate` in 0..0.5, one number or of a shape that broadcasts to [..., N].
    """

    stays: NDArray[np.int8]
    horizon_min: float
    error_rate: Floats | float


@dataclass(frozen=True)
class ForecastValues:
    """Hours: expected life ∫f, and the best later start: max over u of (1−p)·∫u..∞ f − K·f(u)."""

    life_h: Floats
    later: Floats


def forecast_values(
    hazard_per_hour: Floats, age_min: Floats, price: Floats, gate_h: float, forecast: Forecast
) -> ForecastValues:
    """Exact over the bin edges and the horizon, where f has a kink.

    Between two neighbouring break points the hazard is constant, so (1−p)·∫u..∞ f − K·f(u) is monotone between them
    on either side of the horizon; the maximum over u is taken at the break points after now.
    """
    h, age = hazard_per_hour, age_min[..., None]
    horizon = forecast.horizon_min
    # Break points of u: starts of later bins, and the horizon. Bins that are over give u = 0 and no width.
    starts = np.maximum(EDGES_MIN - age, 0.0)
    points = np.sort(np.concatenate([starts, np.full((*age_min.shape, 1), horizon)], axis=-1), axis=-1)
    widths = np.diff(points, axis=-1) / 60.0
    at = bin_of(age + points)
    rate = np.take_along_axis(h, np.clip(at, 0, BINS - 1), -1)
    steps = rate[..., :-1] * widths
    survival = np.exp(-np.concatenate([np.zeros((*age_min.shape, 1)), np.cumsum(steps, axis=-1)], axis=-1))
    area = np.concatenate(
        [survival[..., :-1] * -np.expm1(-steps) / rate[..., :-1], survival[..., -1:] / rate[..., -1:]], axis=-1
    )  # ∫S from this point to the next; the last to infinity

    within = points < horizon
    at_horizon = np.exp(-_cumulated(h, age_min, horizon))[..., None]
    wrong = np.broadcast_to(np.asarray(forecast.error_rate, dtype=np.float64), forecast.stays.shape)
    e = np.where(forecast.stays == 0, 1.0 - wrong, wrong)[..., None]
    stay, drop = (1.0 - e) * at_horizon, e * (1.0 - at_horizon)
    pr = stay / np.maximum(stay + drop, 1e-300)
    said = (forecast.stays >= 0)[..., None]
    pr = np.where(said, pr, at_horizon)  # nothing said: f = S

    lost = np.maximum(1.0 - at_horizon, 1e-300)
    scale = (1.0 - pr) / lost
    width_or_zero = np.concatenate([widths, np.zeros((*age_min.shape, 1))], axis=-1)
    area_f = np.where(within, (1.0 - scale) * width_or_zero + scale * area, pr * area / np.maximum(at_horizon, 1e-300))
    value_f = np.where(within, 1.0 - scale * (1.0 - survival), pr * survival / np.maximum(at_horizon, 1e-300))
    rest = np.cumsum(area_f[..., ::-1], axis=-1)[..., ::-1]  # ∫f from each point on
    worth = (1.0 - price)[..., None] * rest - gate_h * value_f
    later = np.where(points > 0, worth, -np.inf).max(axis=-1)
    return ForecastValues(np.asarray(rest[..., 0]), np.asarray(later))


def _cumulated(h: Floats, age_min: Floats, ahead_min: float) -> Floats:
    """∫ of the hazard from this age on for `ahead_min` minutes."""
    lower = np.maximum(EDGES_MIN, age_min[..., None])
    upper = np.minimum(np.append(EDGES_MIN[1:], np.inf), (age_min + ahead_min)[..., None])
    return np.asarray((h * np.maximum(upper - lower, 0.0) / 60.0).sum(-1))
