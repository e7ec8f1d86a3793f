"""The probability of backtest overfitting tells luck from skill and equals a plain loop over all choices."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import rankdata

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.evaluation.overfitting import probability_of_overfitting


def test_equals_a_plain_loop() -> None:
    returns = np.random.default_rng(1).normal(size=(124, 7))
    found = probability_of_overfitting(returns, 6)
    cut = np.split(returns[4:], 6)
    logits = []
    for chosen in combinations(range(6), 3):
        inside = np.concatenate([cut[i] for i in chosen])
        outside = np.concatenate([cut[i] for i in range(6) if i not in chosen])
        best = (inside.mean(axis=0) / inside.std(axis=0, ddof=1)).argmax()
        share = rankdata(outside.mean(axis=0) / outside.std(axis=0, ddof=1))[best] / 8
        logits.append(np.log(share / (1 - share)))
    np.testing.assert_allclose(found.logits, logits, atol=1e-12)
    assert found.probability == np.mean(np.asarray(logits) <= 0)


def test_luck_is_found_overfit_and_skill_is_not() -> None:
    rng = np.random.default_rng(2)
    luck = [probability_of_overfitting(rng.normal(size=(640, 20)), 8).probability for _ in range(40)]
    assert 0.4 < np.mean(luck) < 0.75
    skilled = rng.normal(size=(640, 20))
    skilled[:, 3] += 0.4
    found = probability_of_overfitting(skilled)
    assert found.probability < 0.01
    assert found.loss_probability < 0.01
    assert len(found.logits) == 12_870


def test_trials_that_never_trade_have_a_ratio_of_zero() -> None:
    returns = np.zeros((64, 3))
    returns[:, 0] = np.random.default_rng(3).normal(0.5, 1, size=64)
    found = probability_of_overfitting(returns, 4)
    assert np.isfinite(found.logits).all()
    assert found.probability == 0.0


def test_what_cannot_be_cut_is_refused() -> None:
    for shape, blocks in (((100, 1), 4), ((100, 3), 5), ((10, 3), 8)):
        with pytest.raises(BadInputError, match="even"):
            probability_of_overfitting(np.zeros(shape), blocks)
    with pytest.raises(BadInputError, match="finite"):
        probability_of_overfitting(np.full((40, 3), np.nan), 4)
