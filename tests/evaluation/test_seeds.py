"""Skill over seeds: mean, deviation, and whether the seed decides anything."""

from __future__ import annotations

import numpy as np
import pytest

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.evaluation.evaluation import evaluate
from fxgpt_core.evaluation.seeds import seed_spread
from tests.evaluation.walks import OUTCOMES, ROWS, forecast

BASELINES = {"wide": forecast("wide", 1.4), "flat": forecast("flat", 1.25)}


def noisy(seed: int) -> Forecast:
    return forecast("noisy", mean=0.2 * np.random.default_rng(seed).normal(size=(ROWS, 2)))


def test_mean_and_deviation_are_those_of_the_skills_and_the_first_is_the_official_one() -> None:
    spread = seed_spread("EURUSD", "noisy", {seed: noisy(seed) for seed in (3, 4, 5)}, BASELINES, OUTCOMES)
    pooled = spread.skills["pooled"]
    assert len(set(pooled)) == 3
    assert not spread.deterministic
    assert spread.mean["pooled"] == pytest.approx(np.mean(pooled))
    assert spread.deviation["pooled"] == pytest.approx(np.std(pooled, ddof=1))
    assert set(spread.skills) == {"pooled", "1h", "4h"}
    every = {**BASELINES, "noisy": noisy(3)}
    official = evaluate("EURUSD", every, every, OUTCOMES, tuple(BASELINES)).pooled_of("noisy").skill
    assert (spread.low, pooled[0], spread.high) == pytest.approx((official.low, official.value, official.high))


def test_a_family_whose_seed_decides_nothing_says_so() -> None:
    spread = seed_spread("EURUSD", "noisy", {3: noisy(3), 4: noisy(3)}, BASELINES, OUTCOMES)
    assert spread.deterministic
    assert spread.deviation["pooled"] == 0.0
    alone = seed_spread("EURUSD", "noisy", {3: noisy(3)}, BASELINES, OUTCOMES)
    assert not alone.deterministic
    assert alone.deviation["pooled"] is None
    with pytest.raises(DataError, match=r"of a seed and of a baseline"):
        seed_spread("EURUSD", "noisy", {3: noisy(3)}, {}, OUTCOMES)
