"""The model confidence set holds the best with the confidence asked for and agrees with `arch` where that is right."""

from __future__ import annotations

import numpy as np
import pytest
from arch.bootstrap import MCS
from scipy.signal import lfilter

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.evaluation.confidence_set import model_confidence_set

MODELS = 5


def named(losses: np.ndarray) -> dict[str, np.ndarray]:
    return {f"m{column}": losses[:, column] for column in range(losses.shape[1])}


@pytest.mark.parametrize(("statistic", "method"), [("max", "max"), ("range", "R")])
def test_p_values_are_near_those_of_arch_on_independent_rows(statistic: str, method: str) -> None:
    rng = np.random.default_rng(3)
    losses = rng.normal(size=(2000, MODELS)) + 5 * rng.normal(size=(2000, 1))
    losses += np.array([0.0, 0.0, 0.04, 0.1, 0.3])
    # many cosine terms: the fixed-smoothing distribution comes near the normal one of arch
    mine = model_confidence_set(named(losses), 1, statistic=statistic, repeats=1000, terms=64)
    theirs = MCS(losses, 0.05, reps=1000, block_size=10, method=method, seed=2)
    theirs.compute()
    for column, value in theirs.pvalues["Pvalue"].items():
        assert mine.p_values[f"m{column}"] == pytest.approx(value, abs=0.12)
    assert next(iter(mine.p_values)) == "m4" not in mine.members


def test_much_worse_models_leave_first_and_the_best_stays() -> None:
    rng = np.random.default_rng(4)
    losses = rng.normal(size=(3000, 4)) + np.array([0.0, 0.3, 0.6, 0.01])
    found = model_confidence_set(named(losses), 1)
    assert list(found.p_values)[:2] == ["m2", "m1"]
    assert found.members == ("m0", "m3")
    assert max(found.p_values.values()) == 1.0
    values = list(found.p_values.values())
    assert values == sorted(values)


def test_equal_losses_stay_together() -> None:
    loss = np.random.default_rng(5).normal(size=500)
    for statistic in ("max", "range"):
        for same in (loss, loss * (1 + 1e-15), loss.astype(np.float32).astype(np.float64)):
            found = model_confidence_set({"a": loss, "b": same, "c": loss + 1}, 1, statistic=statistic)
            assert set(found.members) == {"a", "b"}


def false_eliminations(kind: str, statistic: str, repeats: int, draws: int) -> float:
    """Return how often five equally good models are not all kept."""
    rng = np.random.default_rng(6)
    count = 0
    for seed in range(repeats):
        if kind == "overlap":
            overlap, steps = 24, np.cumsum(rng.normal(size=(2024, MODELS)), axis=0)
            losses = steps[24:] - steps[:-24]
        else:
            overlap, shocks = 1, rng.normal(size=(5000, MODELS))
            shocks[0] /= np.sqrt(1 - 0.99**2)
            losses = lfilter([1], [1, -0.99], shocks, axis=0)
        found = model_confidence_set(named(losses), seed, overlap, statistic=statistic, repeats=draws)
        count += len(found.members) < MODELS
    return count / repeats


@pytest.mark.parametrize("kind", ["overlap", "persistent"])
def test_size_is_near_nominal(kind: str) -> None:
    assert 0.02 <= false_eliminations(kind, "max", 150, 80) <= 0.085


@pytest.mark.deep
@pytest.mark.parametrize("statistic", ["max", "range"])
@pytest.mark.parametrize("kind", ["overlap", "persistent"])
def test_size_is_nominal_in_the_long_run(kind: str, statistic: str) -> None:
    assert 0.03 <= false_eliminations(kind, statistic, 4000, 200) <= 0.07


def test_losses_on_other_rows_or_unknown_ones_are_refused() -> None:
    loss = np.arange(20.0)
    with pytest.raises(BadInputError, match="same rows"):
        model_confidence_set({"a": loss, "b": loss[1:]}, 1)
    with pytest.raises(BadInputError, match="Losses of b"):
        model_confidence_set({"a": loss, "b": np.where(loss == 3, np.nan, loss)}, 1)
