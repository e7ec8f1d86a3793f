"""What a forecast leaves unexplained is seen, and what it does not leave is not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.tsa.stattools import acf

from fxgpt_core.evaluation.residuals import autocorrelations, normal_scores

LAGS = (1, 2, 3, 5)


def test_values_equal_those_of_statsmodels() -> None:
    rng = np.random.default_rng(0)
    pit = rng.uniform(size=500)
    score = norm.ppf(pit)
    found = autocorrelations(pit, 1, LAGS)
    np.testing.assert_allclose([one.value for one in found], acf(score, nlags=5)[list(LAGS)], rtol=1e-8)
    np.testing.assert_allclose([one.squares for one in found], acf(score**2, nlags=5)[list(LAGS)], rtol=1e-8)
    every_fourth = autocorrelations(pit, 4, (1, 3))
    np.testing.assert_allclose([one.value for one in every_fourth], acf(score, nlags=12)[[4, 12]], rtol=1e-8)


def test_overlapping_labels_of_a_right_forecast_stay_within_the_bounds_19_times_in_20() -> None:
    rng, beyond, total = np.random.default_rng(1), 0, 0
    for _ in range(150):
        step = rng.normal(size=1211)
        label = np.lib.stride_tricks.sliding_window_view(step, 12).sum(axis=1) / np.sqrt(12)
        for one in autocorrelations(norm.cdf(label), 12, LAGS):
            beyond += int(abs(one.value) > one.bound) + int(abs(one.squares) > one.squares_bound)
            total += 2
    assert 0.02 < beyond / total < 0.08


def test_forgotten_volatility_shows_in_the_squares_and_forgotten_trend_in_the_residuals() -> None:
    rng = np.random.default_rng(2)
    volatility = np.exp(np.repeat(0.5 * rng.normal(size=80), 50))
    first = autocorrelations(norm.cdf(volatility * rng.normal(size=4000)), 1, (1,))[0]
    assert first.squares > 2 * first.squares_bound
    assert abs(first.value) < 2 * first.bound
    shock = rng.normal(size=4001)
    assert (trend := autocorrelations(norm.cdf(0.9 * shock[1:] + 0.3 * shock[:-1]), 1, (1,))[0]).value > trend.bound


def test_certain_misses_stay_finite_and_lags_beyond_the_rows_are_left_out() -> None:
    assert np.isfinite(normal_scores(np.array([0.0, 1.0]))).all()
    assert [one.lag for one in autocorrelations(np.linspace(0.1, 0.9, 100), 10, (1, 2, 9, 20))] == [1, 2]
    constant = autocorrelations(np.full(100, 0.5), 1, (1,))[0]
    assert (constant.value, constant.bound) == pytest.approx((0.0, 0.0))
