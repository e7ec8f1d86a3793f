"""A family that learns its training rows by heart loses skill out of sample, and the evaluation says how much."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from fxgpt_core.common.errors import DataError
from fxgpt_core.evaluation.config import EvaluationConfig
from fxgpt_core.evaluation.degradation import InSample, degradations, score_in_sample, training_rows
from fxgpt_core.evaluation.evaluation import evaluate
from fxgpt_core.evaluation.result import Evaluation
from fxgpt_core.evaluation.scores import crps
from fxgpt_core.evaluation.split_config import WalkForwardConfig
from fxgpt_core.evaluation.splits import walk_forward
from tests.evaluation.split_data import make_dataset
from tests.evaluation.walks import OUTCOMES, forecast

EVERY = {"wide": forecast("wide", 1.4), "flat": forecast("flat", 1.25), "sharp": forecast("sharp", 0.5)}


def inside(**crps: float) -> dict[str, dict[str, InSample]]:
    """Two folds of 300 and 100 rows; the second has half the CRPS, as in a calmer market."""
    return {
        name: {"a": InSample(300, (value, 2 * value)), "b": InSample(100, (value / 2, value))}
        for name, value in crps.items()
    }


INSIDE = inside(wide=1.1, flat=1.0, sharp=0.8)
BASELINES = ("wide", "flat")
RESULT = evaluate(
    "EURUSD", EVERY, EVERY, OUTCOMES, BASELINES, EvaluationConfig(groups=(), repeats=100), in_sample=INSIDE
)


def test_the_gap_is_skill_on_training_rows_less_skill_on_test_rows_over_the_same_baseline() -> None:
    result = RESULT
    assert [(one.family, one.horizon) for one in result.degradation] == [
        (name, horizon) for name in EVERY for horizon in (60, 240)
    ]
    short, long = result.degradations("sharp")
    for one in (short, long):
        assert (one.baseline, one.rows) == ("flat", 400)
        assert one.in_sample == pytest.approx(0.2)
        scores = [result.of(name, one.horizon).raw_crps for name in ("sharp", "flat")]
        assert one.out_of_sample == pytest.approx(1 - scores[0] / scores[1])
        assert one.out_of_sample < 0, "too sharp for what it has not seen"
        assert one.gap == pytest.approx(one.in_sample - one.out_of_sample)
    assert all(one.gap == 0 for one in result.degradations("flat"))
    assert Evaluation.from_dict(result.to_dict()) == result


def test_only_folds_that_both_have_on_the_same_rows_count_and_none_says_nothing() -> None:
    other = {**INSIDE["sharp"], "b": InSample(90, (0.1, 0.1))}  # not the baseline's rows
    found = degradations(RESULT.scores, {**INSIDE, "sharp": other}, BASELINES)
    assert [one.rows for one in found if one.family == "sharp"] == [300, 300]
    without = {name: folds for name, folds in INSIDE.items() if name != "sharp"}
    assert {one.family for one in degradations(RESULT.scores, without, BASELINES)} == {"wide", "flat"}
    assert degradations(RESULT.scores, {}, BASELINES) == ()


def test_training_rows_train_at_every_horizon_and_are_scored_in_log_returns() -> None:
    dataset = make_dataset(bars=1500)
    split = walk_forward(dataset, WalkForwardConfig(min_train_rows=1))[0]
    rows = training_rows(dataset, split, 50)
    assert len(rows) == 50
    assert split.train[rows].all()
    assert not split.test[rows].any()
    np.testing.assert_array_equal(training_rows(dataset, split, 10**6), np.flatnonzero(split.train.all(axis=1)))
    assert len(training_rows(dataset, replace(split, train=np.zeros_like(split.train)))) == 0

    @dataclass
    class Made:
        quantiles: np.ndarray
        levels: tuple[float, ...] = EVERY["wide"].levels

    made = Made(np.zeros((50, 3, 23)))
    expected = crps(dataset.targets[rows] * dataset.yardstick[rows], made.quantiles).mean(axis=0)
    found = score_in_sample(dataset, rows, made)  # type: ignore[arg-type]
    assert found.rows == 50
    np.testing.assert_allclose(found.crps, expected)
    assert InSample.from_dict(found.to_dict()) == found


def test_a_forecast_of_training_rows_says_so_or_is_refused() -> None:
    known_later = {"trained_until": np.full(len(OUTCOMES.decided_at), OUTCOMES.decided_at[-1])}
    with pytest.raises(DataError, match="the model saw the future"):
        replace(EVERY["wide"], **known_later)
    replace(EVERY["wide"], **known_later, origin=np.full(len(OUTCOMES.decided_at), "in_sample"))
