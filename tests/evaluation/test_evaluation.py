"""An evaluation compares on the same rows, finds what is there and warns of what is too good."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import LEVELS, Forecast
from fxgpt_core.evaluation.config import EvaluationConfig
from fxgpt_core.evaluation.evaluation import evaluate
from fxgpt_core.evaluation.groups import Labels
from fxgpt_core.evaluation.result import Evaluation
from tests.evaluation.walks import OUTCOMES, ROWS, TIMES, forecast

BASELINES = ("wide", "flat")
PLAIN = EvaluationConfig(groups=(), repeats=100)  # for tests that look at neither breakdowns nor resampled p-values
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
    assert true.best.bootstrap is not None
    assert 0 < true.best.bootstrap.low < true.best.value < true.best.bootstrap.high < 0.03
    assert true.best.bootstrap.p_value < 0.01
    assert RESULT.pooled_of("true").bootstrap.p_value < 0.01 < 0.99 < RESULT.pooled_of("wide").bootstrap.p_value
    assert RESULT.pooled_of("true").p_value < 0.01
    assert RESULT.pooled_of("flat").relative_crps == pytest.approx(1.0)


def test_skill_is_given_against_every_baseline_by_horizon_and_pooled() -> None:
    true, pooled = RESULT.of("true", 60), RESULT.pooled_of("true")
    assert [skill.baseline for skill in true.skills] == [skill.baseline for skill in pooled.skills] == list(BASELINES)
    assert true.against("flat") == true.best
    assert true.against("wide").value > true.against("flat").value
    assert pooled.against("flat").value == pytest.approx(pooled.skill.value)  # it is best at both horizons
    wide = pooled.against("wide")
    assert pooled.skill.value < wide.low < wide.value < wide.high
    assert wide.p_value < 0.001
    assert RESULT.pooled_of("wide").against("wide") is None
    reverse = RESULT.pooled_of("wide").against("flat")
    assert reverse.high < 0 < 0.99 < reverse.p_value
    with pytest.raises(DataError, match=r"against garch was not evaluated: known are wide, flat"):
        pooled.against("garch")


def test_knowing_the_future_raises_the_leakage_alarm_by_skill_and_by_direction() -> None:
    flags = RESULT.flags("leaky")
    assert len([flag for flag in flags if "skill" in flag]) == 2
    assert len([flag for flag in flags if "direction" in flag]) == 2
    skill, direction = RESULT.of("leaky", 60).alarms
    assert (skill.kind, skill.low, skill.limit) == ("skill", RESULT.of("leaky", 60).best.low, 0.05)
    assert (direction.kind, direction.low) == ("direction", RESULT.of("leaky", 60).direction.low)


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
    leaky = RESULT.of("leaky", 60)
    assert 0.9 < leaky.direction.low < leaky.direction.value
    assert 100 < leaky.direction_effective_rows <= leaky.direction_rows


def test_all_families_are_scored_on_shared_rows_only() -> None:
    short = forecast("true").take(slice(1000, None))
    every = {"wide": forecast("wide", 1.4), "flat": forecast("flat", 1.25), "true": forecast("true")}
    result = evaluate("EURUSD", every, {**every, "true": short}, OUTCOMES, BASELINES, PLAIN)
    assert result.rows == ROWS - 1000
    assert {entry.rows for entry in result.scores if entry.horizon == 60} == {ROWS - 1001}


def test_the_confidence_set_holds_the_truth_and_leaves_out_what_is_clearly_worse() -> None:
    every = {name: forecast(name, scale) for name, scale in (("true", 1.0), ("near", 1.01), ("flat", 1.6))}
    config = EvaluationConfig(groups=(), repeats=300)
    result = evaluate("EURUSD", every, every, OUTCOMES, ("flat",), config)
    assert "true" in result.confidence_set(60)
    assert "flat" not in result.confidence_set(60)
    assert result.of("flat", 60).confidence_p < 0.05
    assert max(result.of(name, 60).confidence_p for name in every) == 1.0
    again = evaluate("EURUSD", every, every, OUTCOMES, ("flat",), config)
    assert again == result


def test_log_score_histogram_and_point_errors_say_the_same_as_the_rest() -> None:
    true, wide, leaky = (RESULT.of(name, 60) for name in ("true", "wide", "leaky"))
    assert true.log_score < wide.log_score
    assert true.log_score == pytest.approx(norm.entropy(scale=1e-3), abs=0.05)
    assert sum(wide.pit_histogram) == pytest.approx(1)
    assert max(wide.pit_histogram) > 1.3 / len(wide.pit_histogram)
    assert len(true.pinball) == len(LEVELS)
    assert true.r2_zero == 0.0
    assert leaky.r2_zero > 0.5
    assert leaky.mape < true.mape == pytest.approx(true.mae, rel=0.01)


def test_draws_change_no_score_but_what_they_cost_is_told() -> None:
    every = {"wide": forecast("wide", 1.4), "flat": forecast("flat", 1.25), "true": forecast("true")}
    result = evaluate("EURUSD", every, every, OUTCOMES, BASELINES, PLAIN, draws={"true": 100})
    true = result.of("true", 60)
    assert true.crps == RESULT.of("true", 60).crps
    assert true.draws == 100
    assert true.sampling_excess == pytest.approx(1e-3 / np.sqrt(np.pi) / 100, rel=0.02)  # ∫ F (1 − F) / draws
    assert (result.of("flat", 60).draws, result.of("flat", 60).sampling_excess) == (None, None)


def test_scores_are_broken_down_by_hour_session_volatility_and_what_is_passed_in() -> None:
    regime = Labels(TIMES, np.where(np.arange(ROWS) < ROWS // 2, "calm", "wild"))
    every = {"flat": forecast("flat", 1.25), "true": forecast("true")}
    releases = TIMES[100::50]
    result = evaluate("EURUSD", every, every, OUTCOMES, ("flat",), labels={"regime": regime}, releases=releases)
    assert {g.by for g in result.groups} == {"hour", "session", "volatility", "regime", "release"}
    for by in ("hour", "session", "regime", "release"):
        parts = result.grouped(by, "true", 60)
        assert sum(g.rows for g in parts) == result.of("true", 60).rows
        mean = sum(g.rows * g.crps for g in parts) / result.of("true", 60).rows
        assert mean == pytest.approx(result.of("true", 60).crps.value)
    assert [g.label for g in result.grouped("regime", "true", 60)] == ["calm", "wild"]
    assert all(g.skill is None for g in result.grouped("hour", "flat", 60))
    assert evaluate("EURUSD", every, every, OUTCOMES, ("flat",), EvaluationConfig(groups=())).groups == ()


def test_energy_across_horizons_is_best_for_the_truth_where_the_past_is_known() -> None:
    every = {"flat": forecast("flat", 1.5), "true": forecast("true"), "wide": forecast("wide", 2.0)}
    late = {name: f.take(slice(500, None)) for name, f in every.items()}
    result = evaluate("EURUSD", late, late, OUTCOMES, ("flat", "wide"), PLAIN)
    energy = {name: result.pooled_of(name).relative_energy for name in every}
    assert energy["flat"] == 1.0
    assert energy["true"] < 1.0 < energy["wide"]
    assert RESULT.pooled_of("true").relative_energy is None  # nothing was known before the first decision


def test_a_family_that_fell_behind_in_the_newest_days_is_seen_beside_all_history() -> None:
    late = TIMES[-1] - np.timedelta64(28, "D") < TIMES
    mean = np.where(late[:, None], 0.0, LEAK)  # it knew the future until four weeks ago
    turned = replace(forecast("turned", mean=mean), std=forecast("turned").std)
    config = PLAIN.model_copy(update={"recent_days": 21.0})
    every = {"wide": forecast("wide", 1.4), "true": forecast("true"), "turned": turned, "late": forecast("late", 2.0)}
    result = evaluate("EURUSD", every, every, OUTCOMES, ("wide",), config)
    assert result.pooled_of("turned").relative_crps < 0.95 * result.pooled_of("true").relative_crps
    level = result.lately("turned", "true")
    assert level is not None
    assert level.gain.value == pytest.approx(0.0, abs=1e-12)
    better = result.lately("true", "late")
    assert better is not None
    assert better.p_value < 0.01
    assert 0 < better.gain.low < better.gain.value < better.gain.high
    assert 21 * 24 - 5 <= better.rows <= 21 * 24
    assert better.effective_rows <= better.rows / 4 + 1  # the longest label lasts four bars
    assert result.lately("late", "true").p_value > 0.99
    known = OUTCOMES.decided_at[np.isfinite(OUTCOMES.returns).all(axis=1)]
    assert np.datetime64(result.recent_until) == known[-1]
    assert np.datetime64(result.recent_since) == known[-1] - np.timedelta64(21 * 24 - 1, "h")
    short = evaluate("EURUSD", every, every, OUTCOMES, ("wide",), PLAIN.model_copy(update={"recent_days": 0.2}))
    assert (short.recent, short.recent_since) == ((), "")


def test_results_of_earlier_versions_can_still_be_read() -> None:
    values = RESULT.to_dict()
    for name in ("groups", "consistency", "levels", "recent", "recent_since", "recent_until"):
        del values[name]
    for entry in values["pooled"]:
        del entry["skills"], entry["bootstrap"]
    for entry in values["scores"]:
        for skill in (*entry["skills"], *filter(None, [entry["best"]])):
            skill.pop("bootstrap", None)
        for name in ("log_score", "pinball", "pit_histogram", "mape", "r2", "r2_zero", "confidence_p",
                     "in_confidence_set", "alarms", "residuals", "direction_effective_rows", "draws",
                     "sampling_excess"):  # fmt: skip
            del entry[name]
        for column in entry["coverage"]:
            del column["interval_score"]
    old = Evaluation.from_dict(values)
    assert old.confidence_set(60) == ()
    assert old.lately("true", "wide") is None
    assert old.of("true", 60).crps == RESULT.of("true", 60).crps


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
    exact = replace(every["wide"], quantiles=np.zeros_like(every["wide"].quantiles))
    standing = replace(OUTCOMES, returns=OUTCOMES.returns * 0)
    with pytest.raises(DataError, match=r"wide misses nothing at 1h over \d+ decisions.*look whether prices move"):
        evaluate("EURUSD", {**every, "wide": exact}, {**every, "wide": exact}, standing, BASELINES)
    few = {name: f.take(slice(ROWS - 10, None)) for name, f in every.items()}
    with pytest.raises(DataError, match="share 6 decisions"):
        evaluate("EURUSD", few, few, OUTCOMES, BASELINES)
