"""Resampling in blocks agrees with copying rows, with `arch`, and keeps its size under overlap and persistence."""

from __future__ import annotations

import numpy as np
import pytest
from arch.bootstrap import optimal_block_length
from scipy.signal import lfilter

from fxgpt_core.common.dependence import cosines, estimate_mean
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.evaluation.bootstrap import (
    MOST_BLOCKS,
    block_length,
    bootstrap_mean,
    draw_blocks,
    paired_bootstrap,
    politis_white,
)
from fxgpt_core.evaluation.significance import compare


def persistent(rng: np.random.Generator, rows: int, phi: float = 0.99) -> np.ndarray:
    shocks = rng.normal(size=rows)
    shocks[0] /= np.sqrt(1 - phi**2)
    return np.asarray(lfilter([1], [1, -phi], shocks))


def overlapping(rng: np.random.Generator, rows: int) -> np.ndarray:
    return np.convolve(rng.normal(size=rows + 23), np.ones(24), "valid")


@pytest.mark.parametrize("scheme", ["stationary", "circular"])
def test_means_of_blocks_are_means_of_the_rows_that_they_name(scheme: str) -> None:
    series = np.random.default_rng(1).normal(3.0, 1.0, size=(503, 2))
    blocks = draw_blocks(503, 7, 5, 40, scheme)
    rows = blocks.indices()
    assert rows.shape == (40, 503)
    assert (rows.min(), rows.max()) == (0, 502)
    np.testing.assert_allclose(blocks.means(series), series[rows].mean(axis=1), rtol=1e-12)


def test_cosine_coefficients_of_single_rows_are_exact() -> None:
    series = np.random.default_rng(2).normal(size=(300, 2))
    blocks = draw_blocks(300, 1, 5, 10, "circular")
    expected = np.einsum("tr,brc->btc", cosines(300, 4), (series - series.mean(axis=0))[blocks.indices()])
    np.testing.assert_allclose(blocks.cosine_coefficients(series, 4), expected, atol=1e-10)


def test_stationary_blocks_have_the_length_asked_for_and_circular_ones_all_the_same() -> None:
    stationary, circular = draw_blocks(5000, 20, 1, 50), draw_blocks(5000, 20, 1, 50, "circular")
    assert stationary.lengths[stationary.lengths > 0].mean() == pytest.approx(20, rel=0.05)
    assert (circular.lengths == 20).all()
    assert (stationary.lengths.sum(axis=1) == 5000).all()


def test_the_same_seed_draws_the_same_blocks() -> None:
    first, second, other = (draw_blocks(100, 5, seed, 3).starts for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert first.shape != other.shape or (first != other).any()


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("rows", [60, 3000])
def test_optimal_block_length_equals_arch(phi: float, rows: int) -> None:
    series = persistent(np.random.default_rng(rows), rows, phi)
    np.testing.assert_allclose(politis_white(series), optimal_block_length(series).to_numpy()[0], rtol=1e-8)


def test_blocks_are_at_least_as_long_as_labels_overlap() -> None:
    noise = np.random.default_rng(3).normal(size=2000)
    assert block_length(noise) < 10
    assert block_length(noise, 48) == 48
    assert block_length(np.ones(2000)) == 2000 / MOST_BLOCKS
    assert block_length(np.cumsum(noise)[:40]) <= 10


@pytest.mark.parametrize("scheme", ["stationary", "circular"])
def test_interval_is_near_that_of_the_student_distribution(scheme: str) -> None:
    series = 0.3 + overlapping(np.random.default_rng(4), 4000)
    found = bootstrap_mean(series, 1, 24, scheme=scheme, repeats=2000)
    low, high = estimate_mean(series, 24).interval()
    assert found.high - found.low == pytest.approx(high - low, rel=0.15)
    assert found.mean == pytest.approx(series.mean())


def size(kind: str, repeats: int, draws: int) -> float:
    rng = np.random.default_rng(8)
    draw = {"overlap": overlapping, "persistent": persistent}[kind]
    overlap, rows = (24, 2000) if kind == "overlap" else (1, 5000)
    return float(
        np.mean([bootstrap_mean(draw(rng, rows), k, overlap, repeats=draws).p_value <= 0.05 for k in range(repeats)])
    )


@pytest.mark.parametrize("kind", ["overlap", "persistent"])
def test_size_is_near_nominal(kind: str) -> None:
    assert 0.02 <= size(kind, 200, 79) <= 0.085


@pytest.mark.deep
@pytest.mark.parametrize("kind", ["overlap", "persistent"])
def test_size_is_nominal_in_the_long_run(kind: str) -> None:
    assert 0.03 <= size(kind, 6000, 199) <= 0.07


def test_a_paired_bootstrap_of_skill_agrees_with_the_cosine_variance() -> None:
    rng = np.random.default_rng(9)
    reference = rng.gamma(2.0, size=4000) * np.exp(0.5 * persistent(rng, 4000, 0.9))
    for share in (0.97, 1.0, 1.03):
        loss = reference * share + rng.normal(0, 0.2, 4000)
        mine, other = paired_bootstrap(loss, reference, 1), compare(loss, reference)
        assert mine.high - mine.low == pytest.approx(other.high - other.low, rel=0.25)
        assert mine.high + mine.low == pytest.approx(2 * other.value)
        assert mine.p_value == pytest.approx(other.p_value, abs=0.08)
    same = paired_bootstrap(reference, np.nextafter(reference, 0), 1)
    assert (same.low, same.high, same.p_value) == (0.0, 0.0, 1.0)


def test_a_constant_gain_is_certain_and_none_is_none() -> None:
    assert bootstrap_mean(np.zeros(50), 1).p_value == 1.0
    gain = bootstrap_mean(np.full(50, 0.5), 1)
    assert (gain.low, gain.high) == (0.5, 0.5)
    assert gain.p_value < 0.01


def test_impossible_blocks_are_refused() -> None:
    with pytest.raises(BadInputError, match=r"blocks of 0\.5 rows"):
        draw_blocks(100, 0.5, 1)
    with pytest.raises(BadInputError, match="at least 8"):
        bootstrap_mean(np.ones(5), 1)
