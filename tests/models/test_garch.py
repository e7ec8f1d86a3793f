"""GARCH: what was drawn is found, and sums of variances ahead are those of the recursion."""

import numpy as np
import pytest

from fxgpt_core.common.errors import ModelError
from fxgpt_core.models.baselines.garch import Garch, fit_garch

TRUE = Garch(omega=2e-9, alpha=0.08, beta=0.90)


def drawn(count: int = 20_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shocks = rng.standard_t(6, count) / np.sqrt(6 / 4)
    variance, returns = np.empty(count + 1), np.empty(count)
    variance[0] = TRUE.long_run
    for t in range(count):
        returns[t] = np.sqrt(variance[t]) * shocks[t]
        variance[t + 1] = TRUE.omega + TRUE.alpha * returns[t] ** 2 + TRUE.beta * variance[t]
    return returns, variance


def test_the_parameters_that_were_drawn_are_found() -> None:
    found = fit_garch(drawn()[0])
    assert found.alpha == pytest.approx(TRUE.alpha, abs=0.02)
    assert found.beta == pytest.approx(TRUE.beta, abs=0.03)
    assert found.long_run == pytest.approx(TRUE.long_run, rel=0.15)


def test_the_filter_is_the_recursion() -> None:
    returns, variance = drawn(500)
    np.testing.assert_allclose(TRUE.filter(returns, TRUE.long_run), variance[1:], rtol=1e-10)


@pytest.mark.parametrize("garch", [TRUE, Garch(2e-9, 0.1, 0.9), Garch(2e-9, 0.12, 0.9)])
@pytest.mark.parametrize("bars", [1, 2, 48])
def test_variance_ahead_is_the_sum_of_the_steps(garch: Garch, bars: int) -> None:
    following = np.array([1e-8, 5e-7])
    total, step = np.zeros(2), following.copy()
    for _ in range(bars):
        total += step
        step = garch.omega + garch.persistence * step
    np.testing.assert_allclose(garch.ahead(following, bars), total, rtol=1e-9)


def test_too_few_returns_are_refused() -> None:
    with pytest.raises(ModelError, match="500"):
        fit_garch(np.zeros(499))
