"""Scores on random input equal scoringrules, SciPy and scikit-learn to 1e-8."""

from __future__ import annotations

import numpy as np
import pytest
import scoringrules
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, expon, kstest, rv_histogram
from sklearn.metrics import mean_absolute_error, mean_absolute_percentage_error, r2_score, root_mean_squared_error

from fxgpt_core.common.dependence import share_interval
from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import LEVELS
from fxgpt_core.evaluation import reliability, scores
from fxgpt_core.evaluation.point import point_errors
from fxgpt_core.evaluation.samples import energy_score, fair_crps, joint_draws

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=40, deadline=None)
CLOSE = {"rtol": 1e-8, "atol": 1e-10}


def random_quantiles(seed: int, rows: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Return outcomes (rows, 2) and quantiles (rows, 2, levels) of any shape; some outcomes are far out."""
    rng = np.random.default_rng(seed)
    quantiles = np.sort(rng.standard_t(3, size=(rows, 2, len(LEVELS))) * np.exp(rng.normal(size=(rows, 2, 1))), axis=-1)
    return 2 * rng.standard_t(2, size=(rows, 2)), quantiles


@given(seed=seeds)
@few
def test_quantile_and_interval_scores(seed: int) -> None:
    y, quantiles = random_quantiles(seed)
    expected = scoringrules.quantile_score(y[..., None], quantiles, np.asarray(LEVELS))
    np.testing.assert_allclose(scores.pinball(y, quantiles), expected, **CLOSE)
    np.testing.assert_allclose(scores.mean_pinball(y, quantiles), expected.mean(axis=(0, 1)), **CLOSE)
    for coverage in (0.5, 0.9):
        low, high = scores.central(quantiles, coverage)
        expected = scoringrules.interval_score(y, low, high, 1 - coverage)
        np.testing.assert_allclose(scores.interval_score(y, quantiles, coverage), expected, **CLOSE)


@given(seed=seeds)
@few
def test_log_score_and_pit_within_and_beyond_the_levels(seed: int) -> None:
    y, quantiles = random_quantiles(seed, 10)
    log, pit, levels = scores.log_score(y, quantiles), scores.pit(y, quantiles), np.asarray(LEVELS)
    for row in range(len(y)):
        q, at = quantiles[row, 0], y[row, 0]
        if q[0] < at <= q[-1]:
            inside = levels[-1] - levels[0]
            body = rv_histogram((np.diff(levels), q), density=False)
            expected = -np.log(inside) - body.logpdf(at), levels[0] + inside * body.cdf(at)
        elif at > q[-1]:
            scale = (1 - levels[-1]) * (q[-1] - q[-2]) / (levels[-1] - levels[-2])
            tail = expon(scale=scale)
            expected = -np.log(1 - levels[-1]) - tail.logpdf(at - q[-1]), 1 - (1 - levels[-1]) * tail.sf(at - q[-1])
        else:
            scale = levels[0] * (q[1] - q[0]) / (levels[1] - levels[0])
            tail = expon(scale=scale)
            expected = -np.log(levels[0]) - tail.logpdf(q[0] - at), levels[0] * tail.sf(q[0] - at)
        if np.diff(q).min() > 1e-6 * (q[-1] - q[0]):
            assert log[row, 0] == pytest.approx(expected[0], rel=1e-8, abs=1e-8)
        assert pit[row, 0] == pytest.approx(expected[1], abs=1e-8)


@given(seed=seeds, draws=st.integers(2, 30))
@few
def test_fair_scores_of_samples(seed: int, draws: int) -> None:
    rng = np.random.default_rng(seed)
    samples, y = rng.standard_t(3, size=(20, draws, 3)), rng.standard_t(3, size=(20, 3))
    expected = scoringrules.crps_ensemble(y, samples, m_axis=1, estimator="fair")
    np.testing.assert_allclose(fair_crps(y, samples), expected, **CLOSE)
    expected = scoringrules.es_ensemble(y, samples, m_axis=1, v_axis=2, estimator="fair")
    np.testing.assert_allclose(energy_score(y, samples), expected, **CLOSE)


@given(seed=seeds)
@few
def test_point_errors_distance_and_interval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, mean, price = rng.normal(0, 0.01, 50), rng.normal(0, 0.01, 50), rng.uniform(0.5, 200, 50)
    found = point_errors(y, mean)
    assert found.rmse == pytest.approx(root_mean_squared_error(y, mean), rel=1e-8)
    assert found.mae == pytest.approx(mean_absolute_error(y, mean), rel=1e-8)
    assert found.r2 == pytest.approx(r2_score(y, mean), rel=1e-8)
    prices = price * np.exp(y), price * np.exp(mean)
    assert found.mape == pytest.approx(mean_absolute_percentage_error(*prices), rel=1e-8)
    pit = rng.uniform(size=60) ** 1.3
    expected = kstest(pit, "uniform")
    assert reliability.ks_distance(pit) == pytest.approx(expected.statistic, abs=1e-12)
    assert reliability.ks_p_value(expected.statistic, 60) == pytest.approx(
        kstest(pit, "uniform", method="asymp").pvalue, abs=0.02
    )
    hits = int(rng.integers(0, 101))
    wilson = binomtest(hits, 100).proportion_ci(0.95, "wilson")
    # with known variance Student's quantile is the normal one
    np.testing.assert_allclose(share_interval(hits / 100, 100, 0.95, terms=10**9), wilson, atol=1e-8)


def test_scores_of_unknown_outcomes_are_unknown() -> None:
    y, quantiles = random_quantiles(1)
    y[3, 1] = np.nan
    assert np.isnan(scores.log_score(y, quantiles)[3, 1])
    assert np.isnan(scores.interval_score(y, quantiles, 0.9)[3, 1])
    assert np.isnan(fair_crps(y, np.zeros((30, 4, 2)))[3, 1])


def test_log_score_prefers_the_true_spread_and_survives_point_masses() -> None:
    from scipy.stats import norm

    y = np.random.default_rng(2).normal(size=(4000, 1))
    means = {s: scores.log_score(y, np.broadcast_to(s * norm.ppf(LEVELS), (4000, 1, 23))).mean() for s in (0.8, 1, 1.2)}
    assert min(means, key=lambda s: means[s]) == 1
    assert means[1] == pytest.approx(norm.entropy(), abs=0.03)
    assert np.isfinite(scores.log_score(y, np.zeros((4000, 1, 23)))).all()


def test_taking_off_the_sampling_excess_makes_quantiles_of_few_draws_fair() -> None:
    from scipy.stats import norm

    rng = np.random.default_rng(3)
    y, draws = rng.normal(size=(20_000, 1)), 50
    exact = scores.crps(y, np.broadcast_to(norm.ppf(LEVELS), (20_000, 1, 23))).mean()
    quantiles = np.quantile(rng.normal(size=(20_000, draws)), LEVELS, axis=1).T[:, None]
    plain = scores.crps(y, quantiles).mean()
    fair = plain - scores.sampling_excess(quantiles, draws).mean()
    assert plain > exact * 1.01
    assert fair == pytest.approx(exact, rel=2.5e-3)
    with pytest.raises(DataError, match="1 draws"):
        scores.sampling_excess(quantiles, 1)


def test_few_shifts_give_the_energy_score_of_all_pairs_on_average() -> None:
    rng = np.random.default_rng(4)
    samples, y = rng.normal(size=(3000, 20, 3)), rng.normal(size=(3000, 3))
    assert energy_score(y, samples, shifts=2).mean() == pytest.approx(energy_score(y, samples).mean(), rel=3e-3)


def test_joint_draws_keep_margins_and_borrow_dependence() -> None:
    rng = np.random.default_rng(5)
    past = rng.normal(size=(400, 1)) @ np.ones((1, 2)) + 0.1 * rng.normal(size=(400, 2))
    _, quantiles = random_quantiles(6)
    joint = joint_draws(quantiles, past)
    assert joint.shape == (30, 400, 2)
    middle = LEVELS.index(0.5)
    np.testing.assert_allclose(np.median(joint, axis=1), quantiles[..., middle], atol=0.15)
    ranks = joint[0].argsort(axis=0).argsort(axis=0)
    assert np.corrcoef(ranks.T)[0, 1] > 0.95
    with pytest.raises(DataError, match="known at every horizon"):
        joint_draws(quantiles, np.full((5, 2), np.nan))


def test_energy_score_prefers_the_true_dependence() -> None:
    rng = np.random.default_rng(6)
    together = np.repeat(rng.normal(size=(5000, 1)), 2, axis=1)
    apart, joined = rng.normal(size=(5000, 40, 2)), np.repeat(rng.normal(size=(5000, 40, 1)), 2, axis=2)
    assert energy_score(together, joined).mean() < energy_score(together, apart).mean()


def test_histogram_is_flat_for_the_truth_and_sharpness_is_the_width() -> None:
    from scipy.stats import norm

    flat = reliability.pit_histogram(np.linspace(0, 1, 1000), 10)
    assert flat == pytest.approx((0.1,) * 10, abs=2e-3)
    widths = reliability.sharpness(np.broadcast_to(norm.ppf(LEVELS), (5, 23)), (0.5, 0.9))
    assert widths == pytest.approx((2 * norm.ppf(0.75), 2 * norm.ppf(0.95)))


def test_point_errors_of_nothing_are_refused_and_of_standing_prices_have_no_share() -> None:
    with pytest.raises(DataError, match="of 3 given 1"):
        point_errors(np.array([1.0, np.nan, 2.0]), np.zeros(3))
    still = point_errors(np.zeros(5), np.zeros(5))
    assert (still.r2, still.r2_zero, still.mape) == (None, None, 0.0)
