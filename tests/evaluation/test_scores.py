"""Scores agree with scoringrules and with closed forms, and are fooled by nothing."""

from __future__ import annotations

import numpy as np
import pytest
import scoringrules
from scipy.stats import kstest, norm

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import LEVELS
from fxgpt_core.evaluation import scores

RNG = np.random.default_rng(3)
Y = RNG.normal(size=(4000, 2))


def normal_quantiles(scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    return np.broadcast_to(norm.ppf(LEVELS, loc=shift, scale=scale), (*Y.shape, len(LEVELS)))


def test_pinball_equals_scoringrules_at_every_level() -> None:
    quantiles = normal_quantiles(1.3, 0.2)
    expected = scoringrules.quantile_score(Y[..., None], quantiles, np.asarray(LEVELS))
    np.testing.assert_allclose(scores.pinball(Y, quantiles), expected, atol=1e-12)


def test_crps_is_the_weighted_sum_of_pinball() -> None:
    quantiles = normal_quantiles(0.7)
    expected = 2 * (scores.crps_weights() * scores.pinball(Y, quantiles)).sum(-1)
    np.testing.assert_allclose(scores.crps(Y, quantiles), expected, rtol=1e-12)


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.5])
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_crps_is_near_the_analytic_one_of_a_normal_forecast(scale: float, shift: float) -> None:
    approximate = scores.crps(Y, normal_quantiles(scale, shift)).mean()
    assert approximate == pytest.approx(scoringrules.crps_normal(Y, shift, scale).mean(), rel=5e-3)


def test_crps_prefers_the_true_distribution() -> None:
    true = scores.crps(Y, normal_quantiles()).mean()
    for scale, shift in ((0.85, 0.0), (1.15, 0.0), (1.0, 0.2)):
        assert scores.crps(Y, normal_quantiles(scale, shift)).mean() > true


def test_pit_is_the_distribution_function_within_and_beyond_the_levels() -> None:
    values = scores.pit(Y, normal_quantiles())
    np.testing.assert_allclose(values, norm.cdf(Y), atol=4e-3)
    assert kstest(values[:, 0], "uniform").pvalue > 0.01
    far = scores.pit(np.array([[-50.0, 50.0]]), normal_quantiles()[:1])
    assert far[0, 0] < 1e-6
    assert far[0, 1] > 1 - 1e-6


def test_coverage_and_width_of_a_normal_forecast() -> None:
    quantiles = normal_quantiles()
    for coverage in (0.5, 0.8, 0.9, 0.95):
        assert scores.covered(Y, quantiles, coverage).mean() == pytest.approx(coverage, abs=0.02)
        np.testing.assert_allclose(scores.width(quantiles, coverage), 2 * norm.ppf((1 + coverage) / 2))


def test_an_interval_beyond_the_levels_is_refused() -> None:
    with pytest.raises(DataError, match="outside the stored levels"):
        scores.covered(Y, normal_quantiles(), 0.999)


def test_direction_ignores_forecasts_without_one_and_prices_that_stood_still() -> None:
    hits = scores.direction_hit(np.array([[1.0, -1.0, 0.0, np.nan]]), np.array([[2.0, 0.1, 1.0, 1.0]]))
    np.testing.assert_array_equal(hits, [[1.0, 0.0, np.nan, np.nan]])
    assert np.isnan(scores.direction_hit(Y, np.zeros_like(Y))).all()


def test_unknown_outcomes_stay_unknown() -> None:
    y = np.full((3, 2), np.nan)
    quantiles = normal_quantiles()[:3]
    for values in (scores.crps(y, quantiles), scores.pit(y, quantiles), scores.covered(y, quantiles, 0.9)):
        assert np.isnan(values).all()
