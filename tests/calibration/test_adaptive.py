"""The adaptive correction follows a changed market, and only by outcomes that are known."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from fxgpt_core.calibration.config import CalibrationConfig
from fxgpt_core.calibration.fitting import fit_calibrator
from fxgpt_core.calibration.tracker import Tracker
from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.evaluation.scores import crps
from fxgpt_core.features.outcomes import Outcomes
from tests.calibration.simulated import exchangeable, hits, market

ACI, DTACI = CalibrationConfig(method="aci"), CalibrationConfig(method="dtaci")
STATIC, FREE = CalibrationConfig(method="split"), CalibrationConfig(method="dtaci", stretch=1e6)
BREAK, END, PAST = 3000, 4000, 2000


@cache
def broken(seed: int, overlap: int = 1) -> tuple[Forecast, Outcomes]:
    """Return a market whose volatility doubles at row BREAK, which the forecasts do not see.

    A label spans `overlap` hourly rows and shares all but one of their shocks with the next one.
    """
    shocks = np.random.default_rng(seed).normal(size=END + overlap - 1)
    shocks[BREAK:] *= 2
    total = np.convolve(shocks, np.ones(overlap) / np.sqrt(overlap), "valid")[:, None]
    return market(total, np.full((END, 1), 1e-3), (60 * overlap,))


def followed(forecast: Forecast, outcomes: Outcomes, config: CalibrationConfig, past: int = PAST) -> Forecast:
    moment = forecast.decided_at[past]
    calibrator = fit_calibrator(forecast.take(slice(0, past)), outcomes.known_at(moment), config)
    return calibrator.follow(forecast, outcomes, past)[0]


def late_hits(seed: int, overlap: int, config: CalibrationConfig) -> float:
    """Share of 90 % intervals that hold from 500 bars after the break on."""
    forecast, outcomes = broken(seed, overlap)
    late = slice(BREAK - PAST + 500, END - PAST - overlap)
    return float(hits(followed(forecast, outcomes, config), outcomes, 0.9)[late].mean())


@pytest.mark.parametrize("overlap", [1, 4])
@pytest.mark.parametrize("config", [ACI, DTACI], ids=["aci", "dtaci"])
def test_after_a_break_the_adaptive_one_is_back_in_500_bars_and_the_static_one_is_not(
    config: CalibrationConfig, overlap: int
) -> None:
    seeds = range(8 * overlap)
    assert np.mean([late_hits(seed, overlap, STATIC) for seed in seeds[:8]]) < 0.65
    assert np.mean([late_hits(seed, overlap, config) for seed in seeds]) == pytest.approx(0.9, abs=0.02)


def test_an_outcome_changes_nothing_before_it_is_known() -> None:
    forecast, outcomes = exchangeable(700, 1, (60, 240))
    before = followed(forecast, outcomes, DTACI, 400)
    changed = outcomes.returns.copy()
    changed[500] *= 1000  # decided at row 500, known one and four rows later
    after = followed(forecast, replace(outcomes, returns=changed), DTACI, 400)
    same = (before.quantiles == after.quantiles).all(axis=-1)  # (rows, horizons)
    first = same.argmin(axis=0)
    np.testing.assert_array_equal(first, [501 - 400, 504 - 400])
    assert same[: 501 - 400].all()
    assert not same[first[0] :, 0].any()


@pytest.mark.parametrize("times", [1e4, 1e9])
def test_a_price_that_breaks_away_as_never_before_is_one_miss_and_stops_nothing(times: float) -> None:
    """As when a central bank gives up a peg: thousands of times the forecast's spread, within one bar."""
    forecast, outcomes = exchangeable(700, 1, (60, 240))
    broken_away = outcomes.returns.copy()
    broken_away[500] *= times
    calm = followed(forecast, outcomes, DTACI, 400)
    made = followed(forecast, replace(outcomes, returns=broken_away), DTACI, 400)
    assert np.isfinite(made.quantiles).all()
    wider = (made.quantile(0.95) - made.quantile(0.05)) / (calm.quantile(0.95) - calm.quantile(0.05))
    assert wider.max() < 2


def waves(seed: int) -> tuple[Forecast, Outcomes]:
    """Return a market with waves of volatility that climatology does not see, and one jump as never before."""
    rng = np.random.default_rng(seed)
    level = np.repeat(np.exp(rng.normal(0, 0.8, END // 20)), 20)  # a new level every 20 rows
    shocks = (rng.normal(size=END) * level)[:, None]
    shocks[PAST // 2] = 200.0
    return market(shocks, np.full((END, 1), 1e-3))


def test_intervals_stay_within_the_stretch_of_what_split_makes_them() -> None:
    forecast, outcomes = waves(5)
    split, free = followed(forecast, outcomes, STATIC), followed(forecast, outcomes, FREE)
    made = followed(forecast, outcomes, DTACI)
    times, without = (f.quantiles[..., :11] / split.quantiles[..., :11] for f in (made, free))
    assert times.max() <= DTACI.stretch + 1e-9
    assert times.min() >= 1 / DTACI.stretch - 1e-9
    assert without.max() > 10, "what the jump taught the tail is reached by quick rates"


def test_on_a_weak_forecast_the_correction_costs_no_score() -> None:
    gains = []
    for seed in range(4):
        forecast, outcomes = waves(seed)
        truth = outcomes.returns[PAST:, 0]
        losses = [
            crps(truth, followed(forecast, outcomes, config).quantiles[:, 0], forecast.levels).mean()
            for config in (STATIC, DTACI, FREE)
        ]
        gains.append(1 - np.array(losses[1:]) / losses[0])
    bounded, free = np.mean(gains, axis=0)
    assert bounded > 0
    assert free < -0.02


def test_following_equals_learning_bar_by_bar() -> None:
    forecast, outcomes = exchangeable(330, 2, (60, 240))
    moment = forecast.decided_at[300]
    fitted = fit_calibrator(forecast.take(slice(0, 300)), outcomes.known_at(moment), DTACI)
    followed_rows, last = fitted.follow(forecast, outcomes, 300)
    live = fitted
    for row in range(300, 330):
        live = live.learn(forecast.take(slice(0, row)), outcomes.known_at(forecast.decided_at[row]))
        live = type(live).from_dict(json.loads(json.dumps(live.to_dict())))
        made = live.apply(forecast.take(slice(row, row + 1)))
        np.testing.assert_allclose(made.quantiles[0], followed_rows.quantiles[row - 300], rtol=1e-12)
    assert live.version == last.version
    assert live.known_until == last.known_until == forecast.decided_at[329]
    assert live.tracker is not None
    assert live.tracker.outcomes == (329, 326)
    assert len(set(followed_rows.calibration_version)) == 30
    with pytest.raises(DataError, match="looking ahead"):
        live.apply(forecast.take(slice(320, 321)))


def test_the_rate_moves_by_the_papers_rule() -> None:
    knots = np.linspace(3, -1, 41)[None, None]  # scores exceeded at rates 0 to 1
    grid = tuple(np.linspace(0, 1, 41))
    start = Tracker(
        (0.1,),
        grid,
        knots,
        np.full((1, 1, 1), 0.1),
        np.ones((1, 1, 1)),
        np.full((2, 1, 1, 1), 0.1),
        (0.05,),
        (1,),
        (0,),
        500,
    )
    assert start.offsets()[0, 0] == pytest.approx(2.6)  # 3 − 4 · 0.1
    values = np.array([[5.0], [0.0], [5.0], [5.0], [5.0]])
    end, path = start.learn((values,))
    steps = 0.05 * np.cumsum([0.1 - 1, 0.1, 0.1 - 1, 0.1 - 1, 0.1 - 1])
    np.testing.assert_allclose(path[:, 0, 0], [0.1, *(0.1 + steps)])
    assert end.rates[0, 0, 0] < 0
    assert end.offsets()[0, 0] > 3, "a rate below zero reaches beyond every score seen"
    assert end.outcomes == (5,)


def test_overlapping_labels_move_rates_by_their_share_and_are_judged_by_what_forecasts_could_use() -> None:
    forecast, outcomes = market(np.random.default_rng(3).normal(size=(3000, 1)), np.full((3000, 1), 1e-3), (1440,))
    tracker = fit_calibrator(forecast.take(slice(0, 2500)), outcomes, ACI).tracker
    assert tracker is not None
    assert tracker.overlaps == (24,)
    targets = np.asarray(tracker.targets)
    far = tracker.learn((np.full((60, len(targets)), 100.0),))[1][:, 0]
    np.testing.assert_allclose(np.diff(far, axis=0), np.broadcast_to(ACI.rate / 24 * (targets - 1), (60, len(targets))))
    # An outcome between the old and the new bound counts by the bound of its own time.
    moved, _ = tracker.learn((np.full((10, len(targets)), 100.0),))
    between = (tracker.offsets()[0] + moved.offsets()[0]) / 2
    again = moved.learn((between[None],))[1][:, 0]
    np.testing.assert_allclose(np.diff(again, axis=0)[0], ACI.rate / 24 * (targets - 1))


def test_quick_rates_are_not_praised_for_repeating_overlapping_labels() -> None:
    steps = np.random.default_rng(4).normal(size=6023)
    total = np.convolve(steps, np.ones(24) / np.sqrt(24), "valid")[:, None]  # 24-hour returns, hour by hour
    forecast, outcomes = market(total, np.full((6000, 1), 1e-3), (1440,))
    calibrator = fit_calibrator(forecast.take(slice(0, 3000)), outcomes.known_at(forecast.decided_at[3000]), DTACI)
    made, last = calibrator.follow(forecast, outcomes, 3000)
    assert last.tracker is not None
    assert (last.tracker.weights[0] @ np.asarray(last.tracker.steps)).mean() < 0.03
    assert hits(made, outcomes, 0.95).mean() == pytest.approx(0.95, abs=0.02)


def test_mixed_rates_stay_near_nominal_where_nothing_changes() -> None:
    forecast, outcomes = exchangeable(8000, 11)
    made = followed(forecast, outcomes, DTACI)
    windows = hits(made, outcomes, 0.9)[:, 0].reshape(-1, 500).mean(axis=1)
    assert abs(windows - 0.9).max() < 0.05
