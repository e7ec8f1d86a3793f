"""An evaluation compares on the same rows, finds what is there and warns of what is too good."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import LEVELS, Forecast, from_standardised
from fxgpt_core.evaluation.config import EvaluationConfig
from fxgpt_core.evaluation.evaluation import evaluate
from fxgpt_core.evaluation.result import Evaluation
from fxgpt_core.features.outcomes import Outcomes

HORIZONS = (60, 240)
ROWS = 3000
T0 = np.datetime64("2020-01-06T00:00", "ns")
HOUR = np.timedelta64(3600 * 10**9, "ns")
TIMES = T0 + np.arange(ROWS) * HOUR
BASELINES = ("wide", "flat")


def forecast(family: str, scale: float = 1.0, mean: np.ndarray | None = None) -> Forecast:
    centre = np.zeros((ROWS, 2)) if mean is None else mean
    return from_standardised(
        symbol="EURUSD",
        family=family,
        horizons=HORIZONS,
        decided_at=TIMES,
        made_at=TIMES[-1],
        trained_until=T0,
        model_version="v1",
        yardstick=np.full((ROWS, 2), 1e-3),
        mean=centre,
        std=np.full((ROWS, 2), scale),
        quantiles=centre[..., None] + scale * norm.ppf(LEVELS),
    )


def outcomes(seed: int = 1) -> Outcomes:
    rng = np.random.default_rng(seed)
    hourly = rng.normal(size=ROWS + 4)
    steps = np.stack([hourly[i : i + ROWS] for i in range(4)], axis=1)  # (rows, 4): the next four hours
    returns = 1e-3 * np.column_stack([steps[:, 0], steps.sum(axis=1) / 2])
    label_end = np.column_stack([TIMES + HOUR, TIMES + 4 * HOUR])
    late = label_end > TIMES[-1]
    return Outcomes(
        "EURUSD",
        TIMES,
        HORIZONS,
        np.where(late, np.nan, returns),
        np.where(late, np.datetime64("NaT", "ns"), label_end),
    )


OUTCOMES = outcomes()
LEAK = 0.4 * np.nan_to_num(OUTCOMES.returns / 1e-3)


def run(**families: Forecast) -> Evaluation:
    every = {"wide": forecast("wide", 1.4), "flat": forecast("flat", 1.25), **families}
    return evaluate("EURUSD", every, every, OUTCOMES, BASELINES)


RESULT = run(true=forecast("true"), leaky=forecast("leaky", mean=LEAK))


def test_the_true_distribution_beats_wrong_ones_with_confidence_but_raises_no_alarm() -> None:
    true = RESULT.of("true", 60)
    assert true.best is not None
    assert true.best.baseline == "flat" == RESULT.best_baseline(60)
    assert 0 < true.best.low < true.best.value < true.best.high < 0.03
    assert true.best.p_value < 0.01
    assert true.flags == ()
    assert RESULT.pooled_of("true").p_value < 0.01
    assert RESULT.pooled_of("flat").relative_crps == pytest.approx(1.0)


def test_knowing_the_future_raises_the_leakage_alarm_by_skill_and_by_direction() -> None:
    flags = RESULT.flags("leaky")
    assert len([flag for flag in flags if "skill" in flag]) == 2
    assert len([flag for flag in flags if "direction" in flag]) == 2


def test_effective_rows_never_exceed_the_labels_that_do_not_overlap() -> None:
    assert RESULT.of("true", 240).effective_rows <= ROWS / 4
    assert RESULT.of("true", 60).rows == ROWS - 1
    assert RESULT.of("true", 240).rows == ROWS - 4


def test_coverage_interval_holds_nominal_for_the_truth_and_excludes_it_for_the_wide_forecast() -> None:
    for column in RESULT.of("true", 60).coverage:
        assert column.calibrated.low < column.nominal < column.calibrated.high
    wide = RESULT.of("wide", 60).covered(0.9)
    assert wide.calibrated.low > 0.9
    assert wide.width == pytest.approx(1.4e-3 * 2 * norm.ppf(0.95))
    assert RESULT.of("wide", 60).pit_ks > 2 * RESULT.of("true", 60).pit_ks


def test_a_forecast_without_direction_has_no_directional_accuracy() -> None:
    assert RESULT.of("flat", 60).direction is None
    assert RESULT.of("leaky", 60).direction is not None


def test_all_families_are_scored_on_shared_rows_only() -> None:
    short = forecast("true").take(slice(1000, None))
    every = {"wide": forecast("wide", 1.4), "flat": forecast("flat", 1.25), "true": forecast("true")}
    result = evaluate("EURUSD", every, {**every, "true": short}, OUTCOMES, BASELINES)
    assert result.rows == ROWS - 1000
    assert {entry.rows for entry in result.scores if entry.horizon == 60} == {ROWS - 1001}


def test_json_round_trip() -> None:
    assert Evaluation.from_dict(json.loads(json.dumps(RESULT.to_dict(), allow_nan=False))) == RESULT


def test_weights_fall_linearly_by_default_and_must_match_the_horizons() -> None:
    assert EvaluationConfig().weights(4) == pytest.approx((0.4, 0.3, 0.2, 0.1))
    every = {"wide": forecast("wide"), "flat": forecast("flat")}
    with pytest.raises(DataError, match="3 entries for 2 horizons"):
        evaluate("EURUSD", every, every, OUTCOMES, BASELINES, EvaluationConfig(horizon_weights=(1, 1, 1)))


def test_what_cannot_be_compared_is_refused() -> None:
    every = {"wide": forecast("wide"), "flat": forecast("flat")}
    with pytest.raises(DataError, match="baselines"):
        evaluate("EURUSD", every, every, OUTCOMES, ("garch",))
    with pytest.raises(DataError, match="same families"):
        evaluate("EURUSD", every, {"wide": every["wide"]}, OUTCOMES, ("wide",))
    with pytest.raises(DataError, match="cannot be compared"):
        evaluate("EURUSD", {**every, "x": replace(every["wide"], symbol="GBPUSD")}, {**every, "x": every["wide"]},
                 OUTCOMES, BASELINES)  # fmt: skip
    few = {name: f.take(slice(ROWS - 10, None)) for name, f in every.items()}
    with pytest.raises(DataError, match="share 6 decisions"):
        evaluate("EURUSD", few, few, OUTCOMES, BASELINES)
