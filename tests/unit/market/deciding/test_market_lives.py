"""Life, survival, hazards, forecasts: closed forms against plain numerical integration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.ages import BINS, EDGES_MIN, PRIOR_PER_HOUR, bin_of, lives
from holdfast.market.deciding.forecast import Forecast, forecast_values
from holdfast.market.deciding.hazard import hazards, level, level_of_band
from holdfast.market.deciding.terms import Terms, lambda_of_orientation

hazard_curves = st.lists(st.floats(0.01, 3.0), min_size=BINS, max_size=BINS).map(np.array)
ages = st.floats(0.0, 4000.0)


def survival(h: np.ndarray, age: float, minutes: np.ndarray) -> np.ndarray:
    """S(u) on a fine grid, by adding up the hazard minute fraction by minute fraction."""
    step = minutes[1] - minutes[0]
    rate = h[bin_of(age + minutes[:-1] + step / 2)] / 60.0 * step
    return np.exp(-np.concatenate([[0.0], np.cumsum(rate)]))


def test_a_bin_holds_its_lower_edge():
    assert list(bin_of(np.array([0.0, 19.999, 20.0, 2559.0, 2560.0, 1e6]))) == [0, 0, 1, 7, 8, 8]


@settings(max_examples=30, deadline=None)
@given(h=hazard_curves, age=ages)
def test_expected_life_is_the_integral_of_survival(h: np.ndarray, age: float):
    grid = np.linspace(0.0, 12_000.0, 240_001)
    s = survival(h, age, grid)
    tail = s[-1] * (1 / h[-1])  # the last bin has no end

    expected = np.trapezoid(s, grid) / 60.0 + tail

    assert lives(h, np.float64(age)).now == pytest.approx(expected, rel=1e-3)


@settings(max_examples=30, deadline=None)
@given(h=hazard_curves, age=ages)
def test_reach_is_the_survival_to_the_start_of_each_later_bin(h: np.ndarray, age: float):
    got = lives(h, np.float64(age))

    for b in range(BINS):
        if EDGES_MIN[b] <= age:
            assert got.reach[b] == 0.0
        else:
            grid = np.linspace(0.0, EDGES_MIN[b] - age, 20_001)
            assert got.reach[b] == pytest.approx(survival(h, age, grid)[-1], rel=1e-2, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    h=hazard_curves,
    age=ages,
    price=st.floats(0.05, 0.95),
    gate=st.floats(0.1, 6.0),
    horizon=st.sampled_from([10.0, 60.0, 180.0]),
    error=st.sampled_from([0.0, 0.1, 0.3]),
    stays=st.sampled_from([0, 1]),
)
def test_forecast_values_are_those_of_the_conditional_survival_curve(h, age, price, gate, horizon, error, stays):
    grid = np.linspace(0.0, 12_000.0, 240_001)
    s = survival(h, age, grid)
    at_h = float(np.interp(horizon, grid, s))
    e = error if stays else 1 - error
    pr = (1 - e) * at_h / ((1 - e) * at_h + e * (1 - at_h))
    f = np.where(grid <= horizon, 1 - (1 - pr) * (1 - s) / (1 - at_h), pr * s / at_h)
    rest = np.concatenate([np.cumsum((f[:-1] + f[1:])[::-1])[::-1] / 2 * (grid[1] - grid[0]) / 60.0, [0.0]])
    rest += f[-1] / h[-1]

    told = Forecast(np.array([stays], dtype=np.int8), horizon, error)
    got = forecast_values(h[None], np.array([age]), np.array([price]), gate, told)

    assert got.life_h[0] == pytest.approx(rest[0], rel=2e-3, abs=1e-3)
    best = ((1 - price) * rest - gate * f)[1:].max()
    assert got.later[0] <= best + 2e-2 + 2e-3 * abs(best)


def test_a_forecast_that_knows_nothing_is_the_survival_by_age():
    h, age, price = PRIOR_PER_HOUR[None], np.array([30.0]), np.array([0.3])
    plain = lives(h, age)

    for said in (0, 1, -1):
        told = Forecast(np.array([said], dtype=np.int8), 60.0, 0.5)
        got = forecast_values(h, age, price, 1.0, told)
        assert got.life_h[0] == pytest.approx(plain.now[0])
        by_bins = (plain.reach * (plain.at_bin * 0.7 - 1.0))[plain.reach > 0].max()
        assert got.later[0] >= by_bins - 1e-9


def test_without_evidence_the_hazard_is_the_prior_and_evidence_moves_it():
    nothing = np.zeros((2, BINS))
    assert hazards(nothing, nothing) == pytest.approx(np.tile(PRIOR_PER_HOUR, (2, 1)))

    hours = np.full((1, BINS), 50.0)
    calm, wild = hazards(np.zeros((1, BINS)), hours), hazards(np.full((1, BINS), 80.0), hours)

    assert (calm < PRIOR_PER_HOUR).all()
    assert (wild > PRIOR_PER_HOUR).all()


def test_the_level_starts_at_the_eviction_band():
    nothing = np.zeros((1, BINS))

    assert level_of_band("0-5") == pytest.approx(0.05)
    assert level_of_band(None) == level_of_band("soon") == 1.0
    assert level(nothing, nothing, level_of_band("20+"))[0] == pytest.approx(0.5)


@pytest.mark.parametrize(("x", "expected"), [(0, 3.0), (50, 9.487), (100, 30.0), (None, 10.0)])
def test_orientation_is_lambda(x: int | None, expected: float):
    assert lambda_of_orientation(x) == pytest.approx(expected, rel=1e-3)


def test_a_setting_overrides_the_orientation_and_nonsense_is_refused():
    assert lambda_of_orientation(0, setting=100.0) == 100.0
    with pytest.raises(InvalidInput):
        lambda_of_orientation(101)
    with pytest.raises(InvalidInput):
        lambda_of_orientation(None, setting=0.0)


@pytest.mark.parametrize(
    ("lam", "du", "dp", "percent"),
    [(3, 2, 2, 278), (10, 5, 5, 44), (30, 15, 5, 8.1), (100, 30, 30, 0.9), (10, 15, 15, 16)],
)
def test_break_even_is_that_of_the_table(lam: float, du: int, dp: int, percent: float):
    assert 100 * Terms(lam, du, dp).break_even(0.12) == pytest.approx(percent, rel=0.06)
