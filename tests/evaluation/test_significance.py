"""Tests of superior skill keep their size when labels overlap and errors persist."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import t

from fxgpt_core.common.dependence import (
    MeanEstimate,
    cosine_terms,
    estimate_mean,
    long_run_variance,
    overlap_correction,
    share_interval,
)
from fxgpt_core.evaluation.significance import compare, diebold_mariano, harvey_leybourne_newbold

Draw = Callable[[np.random.Generator, int], np.ndarray]


def independent(rng: np.random.Generator, rows: int) -> np.ndarray:
    return rng.normal(size=rows)


def overlapping(rng: np.random.Generator, rows: int) -> np.ndarray:
    return np.convolve(rng.normal(size=rows + 23), np.ones(24), "valid")


def persistent(rng: np.random.Generator, rows: int) -> np.ndarray:
    shocks = rng.normal(size=rows)
    shocks[0] /= np.sqrt(1 - 0.99**2)
    return np.asarray(lfilter([1], [1, -0.99], shocks))


Test = Callable[[np.ndarray, np.ndarray, int], MeanEstimate]


def rejections(draw: Draw, overlap: int, repeats: int, rows: int = 5000, test: Test = diebold_mariano) -> float:
    rng = np.random.default_rng(11)
    return float(np.mean([test(draw(rng, rows), np.zeros(rows), overlap).p_value() < 0.05 for _ in range(repeats)]))


@pytest.mark.parametrize(("draw", "overlap"), [(independent, 1), (overlapping, 24), (persistent, 1)])
def test_size_is_near_nominal(draw: Draw, overlap: int) -> None:
    assert 0.02 <= rejections(draw, overlap, 400) <= 0.09


@pytest.mark.deep
@pytest.mark.parametrize(("draw", "overlap"), [(independent, 1), (overlapping, 24), (persistent, 1)])
def test_size_is_nominal_in_the_long_run(draw: Draw, overlap: int) -> None:
    assert 0.03 <= rejections(draw, overlap, 20_000) <= 0.07


@pytest.mark.deep
@pytest.mark.parametrize(("rows", "overlap"), [(200, 24), (500, 48), (100, 1)])
def test_size_is_nominal_in_small_samples(rows: int, overlap: int) -> None:
    def draw(rng: np.random.Generator, rows: int) -> np.ndarray:
        return np.convolve(rng.normal(size=rows + overlap - 1), np.ones(overlap), "valid")

    assert 0.04 <= rejections(draw, overlap, 10_000, rows) <= 0.06


def test_h_minus_one_lags_reject_too_often_where_differences_persist() -> None:
    assert rejections(persistent, 1, 200, test=harvey_leybourne_newbold) > 0.5


def test_textbook_test_is_the_published_formula() -> None:
    rng = np.random.default_rng(6)
    loss, reference = rng.gamma(2, size=(2, 60))
    d, h, n = reference - loss, 3, 60
    gamma = [sum((d[i] - d.mean()) * (d[i - k] - d.mean()) for i in range(k, n)) / n for k in range(h)]
    plain = d.mean() / np.sqrt((gamma[0] + 2 * gamma[1] + 2 * gamma[2]) / n)
    expected = plain * np.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    test = harvey_leybourne_newbold(loss, reference, h)
    assert test.mean / test.error == pytest.approx(expected, rel=1e-12)
    assert test.p_value() == pytest.approx(2 * t.sf(abs(expected), n - 1), rel=1e-10)


def test_overlap_correction_makes_the_estimate_right_on_average() -> None:
    rng = np.random.default_rng(7)
    rows, overlap = 200, 24
    series = [np.convolve(rng.normal(size=rows + overlap - 1), np.ones(overlap), "valid") for _ in range(4000)]
    estimated = np.mean([estimate_mean(s, overlap).error ** 2 for s in series])
    true = np.var([s.mean() for s in series])
    assert estimated == pytest.approx(true, rel=0.06)
    assert overlap_correction(rows, overlap, 4) > 1.1
    assert overlap_correction(5000, 1, 8) == 1.0


def test_p_values_of_both_sides_and_of_one_agree() -> None:
    test = MeanEstimate(0.3, 0.2, 100, 50.0, 8)
    assert test.p_value() == pytest.approx(2 * test.p_value_positive())
    assert MeanEstimate(0.0, 0.0, 100, 50.0, 8).p_value() == 1.0


def test_ignoring_dependence_would_reject_far_too_often() -> None:
    rng = np.random.default_rng(2)
    series = [overlapping(rng, 2000) for _ in range(200)]
    naive = np.mean([abs(s.mean()) / (s.std() / np.sqrt(len(s))) > 1.96 for s in series])
    assert naive > 0.5


def test_long_run_variance_is_the_variance_of_the_mean() -> None:
    rng = np.random.default_rng(3)
    series = [overlapping(rng, 1000) for _ in range(600)]
    of_means = 1000 * np.var([s.mean() for s in series])
    assert np.mean([long_run_variance(s) for s in series]) == pytest.approx(of_means, rel=0.2)


def test_effective_rows_are_all_of_independent_ones_and_few_of_overlapping_ones() -> None:
    rng = np.random.default_rng(4)
    few = [estimate_mean(overlapping(rng, 4800), 24).effective_rows for _ in range(50)]
    all_of_them = [estimate_mean(independent(rng, 4800)).effective_rows for _ in range(50)]
    assert max(few) <= 200
    assert np.median(few) > 100
    assert np.median(all_of_them) > 3000


def test_terms_shrink_where_few_labels_fit_side_by_side() -> None:
    assert cosine_terms(5000, 24) == 8
    assert cosine_terms(200, 24) == 4
    assert cosine_terms(50, 24) == 2


def test_real_gain_is_found_and_none_is_claimed_against_itself() -> None:
    rng = np.random.default_rng(5)
    reference = rng.gamma(2.0, size=4000)
    better = compare(reference * 0.97 + rng.normal(0, 0.05, 4000), reference)
    assert better.p_value < 0.001
    assert better.low < 0.03 < better.high
    itself = compare(reference, reference)
    assert (itself.value, itself.p_value) == (0.0, 1.0)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_rounding_is_no_skill_however_surely_it_points_one_way(kind: type) -> None:
    reference = np.random.default_rng(5).gamma(2.0, size=4000)
    rounded = np.nextafter(reference.astype(kind), kind(0)).astype(np.float64)
    assert diebold_mariano(rounded, reference).p_value_positive() < 0.001
    assert (compare(rounded, reference).value, compare(rounded, reference).p_value) == (0.0, 1.0)
    assert compare(reference * (1 - 1e-5), reference).p_value < 0.001


def test_share_interval_stays_open_where_every_row_hits() -> None:
    low, high = share_interval(1.0, 50.0, 0.95)
    assert low < 0.95
    assert high == pytest.approx(1.0)


def test_a_handful_of_rows_has_no_error_estimate() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        estimate_mean(np.ones(3))
