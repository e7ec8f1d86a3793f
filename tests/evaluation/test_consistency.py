"""Contradictions between horizons are counted where forecasts speak, and compared with what happened."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from fxgpt_core.common.forecast import LEVELS, Forecast, from_standardised
from fxgpt_core.evaluation.config import EvaluationConfig
from fxgpt_core.evaluation.consistency import contradictions
from fxgpt_core.evaluation.result import Consistency
from fxgpt_core.features.outcomes import Outcomes

ROWS, HORIZONS = 400, (60, 120, 240)
TIMES = np.datetime64("2020-01-06", "ns") + np.arange(ROWS) * np.timedelta64(3600 * 10**9, "ns")
ENDS = TIMES[:, None] + np.array(HORIZONS) * np.timedelta64(60 * 10**9, "ns")
RETURNS = 1e-3 * np.random.default_rng(0).normal(size=(ROWS, 3))
TRUTH = Outcomes("EURUSD", TIMES, HORIZONS, RETURNS, ENDS)


def forecast(mean: np.ndarray, scale: np.ndarray) -> Forecast:
    scale = np.broadcast_to(scale, mean.shape)
    return from_standardised(
        symbol="EURUSD", family="any", horizons=HORIZONS, decided_at=TIMES, made_at=TIMES[-1], trained_until=TIMES[0],
        model_version="v1", yardstick=np.full(mean.shape, 1e-3), mean=mean, std=scale,
        quantiles=mean[..., None] + scale[..., None] * norm.ppf(LEVELS),
    )  # fmt: skip


def of(found: tuple[Consistency, ...], shorter: int, longer: int) -> Consistency:
    return next(one for one in found if (one.shorter, one.longer) == (shorter, longer))


def test_opposite_means_are_counted_and_sure_ones_apart() -> None:
    mean = np.tile([0.02, 0.02, 0.02], (ROWS, 1))
    mean[:100, 1] = -0.02  # against the shortest in a quarter of the rows
    mean[:40, :2] *= 20  # a tenth of them surely
    found = contradictions("any", forecast(mean, np.array([1.0, 1.4, 2.0])), TRUTH, EvaluationConfig())
    first = of(found, 60, 120)
    assert first.opposed.value == pytest.approx(0.25)
    assert first.confident.value == pytest.approx(0.1)
    assert first.opposed.low < 0.25 < first.opposed.high
    assert of(found, 60, 240).opposed.value == 0.0
    assert of(found, 120, 240).confident.value == 0.0  # the longest one is never sure
    happened = np.sign(RETURNS[:, 0]) != np.sign(RETURNS[:, 1])
    assert first.outcomes == pytest.approx(happened.mean())
    assert len(found) == 3


def test_intervals_that_shrink_with_time_are_contradictions_too_and_walks_have_no_direction() -> None:
    scale = np.tile([1.0, 1.4, 2.0], (ROWS, 1))
    scale[::4, 1] = 0.9
    found = contradictions("any", forecast(np.zeros((ROWS, 3)), scale), TRUTH, EvaluationConfig())
    assert of(found, 60, 120).narrower.value == pytest.approx(0.25)
    assert of(found, 120, 240).narrower.value == 0.0
    assert all(one.opposed is None and one.confident is None and one.outcomes is None for one in found)
