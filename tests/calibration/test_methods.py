"""Every method covers what it promises on exchangeable rows, keeps quantiles in order and is stored whole."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxgpt_core.calibration.config import CalibrationConfig, Score
from fxgpt_core.calibration.conformal import ConformalCalibrator
from fxgpt_core.calibration.fitting import fit_calibrator
from fxgpt_core.calibration.intervals import neutral
from fxgpt_core.calibration.walk_forward import fit_final, walk_forward_calibration
from fxgpt_core.common.errors import ModelError
from fxgpt_core.evaluation.scores import crps
from tests.calibration.simulated import exchangeable, hits, market

METHODS: list[dict[str, Any]] = [
    {"method": "split", "score": "quantile"},
    {"method": "split", "score": "spread"},
    {"method": "split", "score": "return"},
    {"method": "split", "raw_weight": 0.0},
    {"method": "mondrian", "groups": "session"},
    {"method": "mondrian", "groups": "volatility", "score": "spread"},
    {"method": "mondrian", "groups": "session_volatility"},
    {"method": "aci"},
    {"method": "dtaci"},
    {"method": "dtaci", "score": "spread"},
]
COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def name(values: dict[str, Any]) -> str:
    return "-".join(str(value) for value in values.values())


@pytest.mark.parametrize("values", METHODS, ids=name)
def test_intervals_cover_as_promised_on_exchangeable_rows(values: dict[str, Any]) -> None:
    config = CalibrationConfig(**values)
    forecast, outcomes = exchangeable(16_000, 3)
    calibrator = fit_calibrator(forecast.take(slice(0, 6000)), outcomes.known_at(forecast.decided_at[6000]), config)
    after, _ = calibrator.follow(forecast, outcomes, 6000)
    assert hits(forecast, outcomes, 0.9).mean() < 0.7
    assert 0.885 <= hits(after, outcomes, 0.9).mean() <= 0.915
    for nominal in COVERAGES:
        assert hits(after, outcomes, nominal).mean() == pytest.approx(nominal, abs=0.02)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(METHODS), st.integers(0, 10_000), st.floats(0.05, 8.0), st.floats(0.05, 20.0))
def test_calibrated_quantiles_never_cross(values: dict[str, Any], seed: int, scale: float, turn: float) -> None:
    rng = np.random.default_rng(seed)
    shocks = rng.standard_t(2, (320, 2))
    shocks[200:] *= turn
    forecast, outcomes = market(shocks, np.exp(rng.normal(-7, 1, (320, 2))), (60, 240), scale)
    config = CalibrationConfig(**values | ({"rate": 0.3} if values["method"] == "aci" else {}))
    calibrator = fit_calibrator(forecast.take(slice(0, 150)), outcomes.known_at(forecast.decided_at[150]), config)
    after, last = calibrator.follow(forecast, outcomes, 150)
    assert np.isfinite(after.quantiles).all()
    assert (np.diff(after.quantiles, axis=-1) >= 0).all()
    np.testing.assert_array_equal(after.quantile(0.5), forecast.quantile(0.5)[150:])
    np.testing.assert_array_equal(after.mean, forecast.mean[150:])
    assert (np.diff(last.apply(forecast.take(slice(-1, None))).quantiles, axis=-1) >= 0).all()


@pytest.mark.parametrize("values", [*METHODS, {"method": "none"}], ids=name)
def test_walk_forward_final_and_stored_form_work_for_every_method(values: dict[str, Any]) -> None:
    config = CalibrationConfig(**values)
    forecast, outcomes = exchangeable(900, 4, (60, 240))
    made, report = walk_forward_calibration(forecast, outcomes, np.repeat([0, 1, 2], 300), config)
    assert len(made) == 600
    assert (made.calibration_version != "").all()
    assert report.folds[1].rows == (300, 297)
    assert report.folds[1].effective_rows[0] > 50
    assert "300 rows" not in report.warnings[0]
    assert "600 rows" in report.warnings[0], "the last fold's size is printed"
    final = fit_final(forecast, outcomes.known_at(forecast.decided_at[-1]), config)
    assert final is not None
    back = ConformalCalibrator.from_dict(json.loads(json.dumps(final.to_dict())))
    last = forecast.take(slice(-1, None))
    np.testing.assert_array_equal(back.apply(last).quantiles, final.apply(last).quantiles)
    assert back.version == final.version


def test_scores_lead_to_the_intervals_that_they_define() -> None:
    forecast, outcomes = exchangeable(500, 5)
    y, median = outcomes.returns[:, 0], forecast.quantile(0.5)[:, 0]
    unit = (forecast.quantile(0.9) - forecast.quantile(0.1))[:, 0]
    for score, distance in (("spread", np.abs(y - median) / unit), ("return", np.abs(y - median))):
        calibrator = fit_calibrator(forecast, outcomes, CalibrationConfig(method="split", score=score, raw_weight=0))
        expected = np.sort(distance)[451 - 1]  # ⌈501 · 0.9⌉ = 451
        reach = expected * (unit if score == "spread" else 1.0)
        later, _ = exchangeable(500, 5)
        made = calibrator._stamped(later, calibrator.offsets[None], np.full(500, "x", dtype=object))
        np.testing.assert_allclose(made.quantile(0.95)[:, 0], median + reach, rtol=1e-9)
        np.testing.assert_allclose(made.quantile(0.05)[:, 0], median - reach, rtol=1e-9)


def test_none_leaves_forecasts_as_they_are() -> None:
    forecast, outcomes = exchangeable(600, 6)
    made, _ = walk_forward_calibration(forecast, outcomes, np.repeat([0, 1], 300), CalibrationConfig(method="none"))
    np.testing.assert_array_equal(made.quantiles, forecast.quantiles[300:])
    np.testing.assert_array_equal(made.std, forecast.std[300:])
    assert made.calibration_version[0].startswith("none-")


def test_calibrators_stored_before_there_were_methods_are_read_as_they_were() -> None:
    forecast, outcomes = exchangeable(300, 7)
    stored = fit_calibrator(forecast, outcomes, CalibrationConfig(method="split")).to_dict()
    assert set(stored) == {
        "symbol", "family", "horizons", "levels", "offsets", "rows", "effective_rows", "known_until",
    }  # fmt: skip
    back = ConformalCalibrator.from_dict(stored)
    assert (back.method, back.score) == ("split", "quantile")
    assert back.version.startswith("cqr-")


def test_groups_get_their_own_correction_and_small_ones_that_of_all() -> None:
    rng = np.random.default_rng(8)
    labels = np.where(np.arange(9000) % 2, "loud", "still")
    labels[:60] = "rare"
    factor = np.where(labels == "loud", 2.0, 1.0)[:, None]
    forecast, outcomes = market(rng.normal(size=(9000, 1)) * factor, np.full((9000, 1), 1e-3))
    past, moment = forecast.take(slice(0, 6000)), forecast.decided_at[6000]
    config = CalibrationConfig(method="mondrian", raw_weight=0)
    calibrator = fit_calibrator(past, outcomes.known_at(moment), config, labels[:6000])
    after, _ = calibrator.follow(forecast, outcomes, 6000, labels)
    found = hits(after, outcomes, 0.9)[:, 0]
    assert found[labels[6000:] == "loud"].mean() == pytest.approx(0.9, abs=0.02)
    assert found[labels[6000:] == "still"].mean() == pytest.approx(0.9, abs=0.02)
    later = forecast.take(slice(6000, 6001))
    rare = calibrator.apply(later, np.array(["rare"]))
    np.testing.assert_array_equal(rare.quantiles, calibrator.apply(later, np.array(["never seen"])).quantiles)
    assert calibrator.groups is not None
    assert calibrator.groups.names == ("loud", "rare", "still")
    np.testing.assert_array_equal(calibrator.groups.offsets[1], calibrator.offsets)
    assert any("at 1h: 1 of 3 groups have fewer than 100" in warning for warning in calibrator.warnings(config))
    with pytest.raises(ModelError, match="pass one label for each of 1 rows"):
        calibrator.apply(later)


@pytest.mark.parametrize("score", ["quantile", "spread", "return"])
def test_corrections_grow_with_what_they_rest_on(score: Score) -> None:
    for rows in (120, 1200, 12_000):
        forecast, outcomes = exchangeable(rows, 9, scale=0.4)
        full, half, none = (
            fit_calibrator(forecast, outcomes, CalibrationConfig(method="split", score=score, raw_weight=weight))
            for weight in (0, 100, 1e6)
        )
        start = neutral(forecast, score)
        share = half.effective_rows[0] / (half.effective_rows[0] + 100)
        np.testing.assert_allclose(half.offsets - start, share * (full.offsets - start), rtol=1e-3, atol=1e-7)
        assert np.abs(none.offsets - start).max() <= 0.02 * np.abs(full.offsets - start).max()


def test_few_effective_rows_do_less_harm_to_fair_forecasts_than_a_full_correction() -> None:
    loss: dict[float, list[float]] = {0.0: [], 100.0: []}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        forecast, outcomes = market(rng.normal(size=(440, 1)), np.full((440, 1), 1e-3))
        for weight, errors in loss.items():
            past = fit_calibrator(
                forecast.take(slice(0, 120)),
                outcomes.known_at(forecast.decided_at[120]),
                CalibrationConfig(method="split", raw_weight=weight),
            )
            made, _ = past.follow(forecast, outcomes, 120)
            truth = outcomes.aligned(made.decided_at, made.horizons).returns
            errors.append(float(crps(truth, made.quantiles).mean()))
    assert np.mean(loss[100.0]) < np.mean(loss[0.0])
