"""Conformal intervals cover what they promise, cross nowhere and never look ahead."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from fxgpt_core.calibration.config import CalibrationConfig
from fxgpt_core.calibration.conformal import ConformalCalibrator
from fxgpt_core.calibration.fitting import fit_calibrator
from fxgpt_core.calibration.walk_forward import fit_final, walk_forward_calibration
from fxgpt_core.common.errors import DataError, ModelError
from fxgpt_core.common.forecast import LEVELS, Forecast, from_standardised
from fxgpt_core.features.outcomes import Outcomes

HORIZONS = (60, 240)
T0 = np.datetime64("2020-01-06T00:00", "ns")
HOUR = np.timedelta64(3600 * 10**9, "ns")
CONFIG = CalibrationConfig(method="split", raw_weight=0)  # in full, however little it rests on
SPLIT = CalibrationConfig(method="split")


def times(rows: int) -> np.ndarray:
    return np.asarray(T0 + np.arange(rows) * HOUR)


def make(rows: int, scale: float = 0.6, seed: int = 1, tails: bool = False) -> tuple[Forecast, Outcomes]:
    """Outcomes with changing volatility; forecasts know it up to `scale`."""
    rng = np.random.default_rng(seed)
    volatility = 1e-3 * np.exp(rng.normal(0, 0.5, (rows, 2)))
    shocks = rng.standard_t(3, (rows, 2)) if tails else rng.normal(size=(rows, 2))
    decided_at = times(rows)
    forecast = from_standardised(
        symbol="EURUSD",
        family="test",
        horizons=HORIZONS,
        decided_at=decided_at,
        made_at=decided_at[-1],
        trained_until=T0,
        model_version="v1",
        yardstick=volatility,
        mean=np.zeros((rows, 2)),
        std=np.full((rows, 2), scale),
        quantiles=np.broadcast_to(scale * norm.ppf(LEVELS), (rows, 2, len(LEVELS))),
    )
    label_end = decided_at[:, None] + np.asarray(HORIZONS) * np.timedelta64(60 * 10**9, "ns")
    return forecast, Outcomes("EURUSD", decided_at, HORIZONS, shocks * volatility, label_end)


def coverage(forecast: Forecast, outcomes: Outcomes, nominal: float) -> np.ndarray:
    y = outcomes.aligned(forecast.decided_at, HORIZONS).returns
    low, high = forecast.quantile((1 - nominal) / 2), forecast.quantile((1 + nominal) / 2)
    return np.asarray(((y >= low) & (y <= high)).mean(axis=0))


def split(forecast: Forecast, outcomes: Outcomes, at: int) -> tuple[ConformalCalibrator, Forecast]:
    moment = forecast.decided_at[at]
    calibrator = fit_calibrator(forecast.take(slice(0, at)), outcomes.known_at(moment), CONFIG)
    return calibrator, forecast.take(slice(at, None))


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("tails", [False, True])
def test_all_central_intervals_cover_as_promised_on_exchangeable_rows(scale: float, tails: bool) -> None:
    forecast, outcomes = make(30_000, scale, tails=tails)
    calibrator, later = split(forecast, outcomes, 15_000)
    after = calibrator.apply(later)
    for nominal in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98):
        np.testing.assert_allclose(coverage(after, outcomes, nominal), nominal, atol=0.015)


def test_small_calibration_sets_cover_on_average_by_the_finite_sample_rank() -> None:
    reached = []
    for seed in range(150):
        forecast, outcomes = make(400, seed=seed)
        calibrator, later = split(forecast, outcomes, 110)
        reached.append(coverage(calibrator.apply(later), outcomes, 0.9))
    assert 0.895 <= np.mean(reached) <= 0.915


def test_offsets_are_the_exact_order_statistic() -> None:
    forecast, outcomes = make(199)
    calibrator = fit_calibrator(forecast, outcomes, CONFIG)
    spread = (forecast.quantile(0.9) - forecast.quantile(0.1))[:, 0]
    y = outcomes.returns[:, 0]
    score = np.maximum(forecast.quantile(0.05)[:, 0] - y, y - forecast.quantile(0.95)[:, 0]) / spread
    assert calibrator.offsets[0, LEVELS.index(0.05)] == pytest.approx(np.sort(score)[180 - 1])  # ⌈200 · 0.9⌉ = 180


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 5.0), st.booleans())
def test_quantiles_never_cross_and_median_and_mean_stay(seed: int, scale: float, tails: bool) -> None:
    forecast, outcomes = make(300, scale, seed, tails)
    calibrator, later = split(forecast, outcomes, 150)
    after = calibrator.apply(later)
    assert (np.diff(after.quantiles, axis=-1) >= 0).all()
    np.testing.assert_array_equal(after.quantile(0.5), later.quantile(0.5))
    np.testing.assert_array_equal(after.mean, later.mean)


def test_corrections_that_would_cross_widen_the_outer_interval() -> None:
    forecast, outcomes = make(300)
    calibrator, later = split(forecast, outcomes, 150)
    offsets = np.zeros_like(calibrator.offsets)
    inner, outer = LEVELS.index(0.25), LEVELS.index(0.1)
    offsets[:, inner] = 5.0  # far beyond all outer bounds
    offsets[:, outer] = -9.0  # pulled beyond the median
    after = replace(calibrator, offsets=offsets).apply(later)
    np.testing.assert_array_equal(after.quantiles[..., outer], after.quantiles[..., inner])
    np.testing.assert_array_equal(after.quantile(0.9), after.quantile(0.75))
    assert (after.quantile(0.75) > later.quantile(0.9)).all()


def test_std_follows_the_corrected_width() -> None:
    forecast, outcomes = make(20_000, scale=0.5)
    calibrator, later = split(forecast, outcomes, 10_000)
    np.testing.assert_allclose(calibrator.apply(later).std / later.std, 2.0, rtol=0.06)


def test_round_trip_keeps_corrections_and_version() -> None:
    forecast, outcomes = make(500)
    calibrator, later = split(forecast, outcomes, 300)
    back = ConformalCalibrator.from_dict(json.loads(json.dumps(calibrator.to_dict())))
    assert back.version == calibrator.version
    np.testing.assert_array_equal(back.apply(later).quantiles, calibrator.apply(later).quantiles)
    assert set(back.apply(later).calibration_version) == {calibrator.version}


def test_look_ahead_double_calibration_and_strangers_are_refused() -> None:
    forecast, outcomes = make(500)
    calibrator, later = split(forecast, outcomes, 300)
    with pytest.raises(DataError, match="looking ahead"):
        calibrator.apply(forecast)
    with pytest.raises(ModelError, match="calibrated already"):
        calibrator.apply(calibrator.apply(later))
    with pytest.raises(ModelError, match="does not fit"):
        calibrator.apply(replace(later, family="other"))
    with pytest.raises(DataError, match="fewer than min_rows = 100"):
        fit_calibrator(forecast.take(slice(0, 50)), outcomes, CONFIG)


def test_walk_forward_uses_only_outcomes_known_when_the_fold_began() -> None:
    forecast, outcomes = make(1500)
    folds = np.repeat([0, 1, 2], 500)
    calibrated, report = walk_forward_calibration(forecast, outcomes, folds, SPLIT)
    assert report.dropped == 500
    assert len(calibrated) == 1000
    assert [fold.calibrated for fold in report.folds] == [0, 500, 500]
    assert report.folds[1].rows == (500, 497)  # the last three 4-hour labels of fold 0 were still alive
    assert report.folds[2].rows == (1000, 997)
    # What happens later changes nothing earlier.
    later = outcomes.returns.copy()
    later[500:] *= 100
    changed, _ = walk_forward_calibration(forecast, replace(outcomes, returns=later), folds, SPLIT)
    np.testing.assert_array_equal(changed.quantiles[:500], calibrated.quantiles[:500])
    assert not np.allclose(changed.quantiles[500:], calibrated.quantiles[500:])


def test_walk_forward_repairs_coverage_and_warns_of_few_rows() -> None:
    forecast, outcomes = make(6000)
    calibrated, report = walk_forward_calibration(forecast, outcomes, np.repeat(np.arange(6), 1000), CONFIG)
    assert (coverage(forecast, outcomes, 0.9) < 0.75).all()
    np.testing.assert_allclose(coverage(calibrated, outcomes, 0.9), 0.9, atol=0.015)
    assert report.warnings == ()
    _, small = walk_forward_calibration(*make(600), np.repeat([0, 1], 300))
    assert len(small.warnings) == 2
    assert "300 rows" in small.warnings[0]


def test_too_little_history_calibrates_nothing_and_says_so() -> None:
    forecast, outcomes = make(150)
    with pytest.raises(DataError, match="no fold has 100 known outcomes"):
        walk_forward_calibration(forecast, outcomes, np.repeat([0, 1], 75))
    assert fit_final(forecast.take(slice(0, 90)), outcomes) is None
    assert fit_final(forecast, outcomes) is not None
    with pytest.raises(DataError, match="must not decrease"):
        walk_forward_calibration(forecast, outcomes, np.repeat([1, 0], 75))
