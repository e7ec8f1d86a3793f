"""Sharpe ratios are deflated as published, and dependent returns count for less."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.evaluation.sharpe import (
    deflated_sharpe,
    expected_maximum,
    minimum_track_record,
    probabilistic_sharpe,
    sharpe_ratio,
)


def test_published_example_of_the_deflated_ratio() -> None:
    ratio, variance = 2.5 / np.sqrt(250), 0.5 / 250  # annualised 2.5, variance of the trials 1/2
    assert expected_maximum(variance, 100) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe(ratio, variance, 100, 1250, -3, 10) == pytest.approx(0.9004, abs=5e-5)
    assert deflated_sharpe(ratio, variance, 46, 1250, -3, 10) == pytest.approx(0.9505, abs=5e-5)


@pytest.mark.parametrize(("per_year", "skew", "kurtosis", "years"),
                         [(252, 0, 3, 2.73), (52, 0, 3, 2.83), (12, 0, 3, 3.24), (12, -0.72, 5.78, 4.99)])  # fmt: skip
def test_published_track_record_lengths(per_year: int, skew: float, kurtosis: float, years: float) -> None:
    """Bailey & López de Prado (2012): an annual Sharpe ratio of 2 against 1."""
    scale = np.sqrt(per_year)
    assert minimum_track_record(2 / scale, 1 / scale, skew, kurtosis) / per_year == pytest.approx(years, abs=5e-3)
    assert minimum_track_record(0.1, 0.1) == float("inf")


def test_expected_maximum_is_that_of_simulated_trials() -> None:
    best = np.random.default_rng(1).normal(0, 0.2, size=(20_000, 50)).max(axis=1).mean()
    assert expected_maximum(0.04, 50) == pytest.approx(best, rel=0.02)
    assert expected_maximum(0.04, 1) == 0.0


def test_probability_is_uniform_without_skill_also_for_dependent_returns() -> None:
    rng = np.random.default_rng(2)
    returns = [lfilter([1], [1, -0.8], rng.normal(size=1000)) for _ in range(300)]
    naive = [probabilistic_sharpe(float(r.mean() / r.std(ddof=1)), 0.0, 1000) for r in returns]
    honest = [sharpe_ratio(r).probability_above() for r in returns]
    assert np.mean(np.asarray(naive) > 0.95) > 0.2
    assert 0.02 < np.mean(np.asarray(honest) > 0.95) < 0.11  # the effective number is estimated too


def test_moments_and_effective_rows_of_a_known_series() -> None:
    returns = np.random.default_rng(3).normal(0.1, 1.0, size=5000)
    found = sharpe_ratio(returns)
    assert found.value == pytest.approx(returns.mean() / returns.std(ddof=1))
    assert found.kurtosis == pytest.approx(3, abs=0.25)
    assert 1500 < found.effective_rows <= 5000
    assert found.deflated([found.value]) == found.probability_above()
    assert found.deflated([0.0, 0.05, found.value]) < found.probability_above()
    assert found.rows_needed() == pytest.approx(
        minimum_track_record(found.value, 0, found.skewness, found.kurtosis) * 5000 / found.effective_rows
    )


def test_what_has_no_ratio_is_refused() -> None:
    with pytest.raises(BadInputError, match="vary"):
        sharpe_ratio(np.ones(100))
    with pytest.raises(BadInputError, match="at least one trial"):
        expected_maximum(0.1, 0)
