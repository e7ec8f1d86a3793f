"""What the log of live forecasts adds up to: figures, latencies and failures over rolling windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from fxgpt_core.evaluation.live_figures import live_figures
from fxgpt_core.evaluation.scores import covered, crps, direction_hit
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.lifecycle.registry import ModelVersion
from fxgpt_core.lifecycle.tracking import Track, performance, track_of
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.store.clock import FixedClock
from fxgpt_core.store.database import Database
from fxgpt_core.store.live_log import record_failure
from fxgpt_core.store.migrate import upgrade
from fxgpt_core.store.track import performance_of, save_performance
from tests.lifecycle.live_market import HORIZONS, LAYOUT, SPEC, TRAINED, Desk, Folders, SimulatedBars, market, trained

FIRST, LAST = TRAINED + 20, TRAINED + 80


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    root = tmp_path_factory.mktemp("track")
    url = f"sqlite:///{root / 'fxgpt.db'}"
    upgrade(url)
    registry = Folders(root / "models")
    registry.add("EURUSD", "har", "champion")
    made = Desk(
        Database(url), registry, {"EURUSD": SimulatedBars("EURUSD")}, FixedClock(datetime(2024, 1, 1, tzinfo=UTC))
    )
    with made.loop() as loop:
        for bar in range(FIRST, LAST + 1):
            made.at(bar)
            loop.step()
    yield made
    made.database.close()


def version(desk: Desk) -> ModelVersion:
    return desk.registry.held["EURUSD"][-1]


def track(desk: Desk) -> Track:
    now = desk.clock.now()
    found = track_of(desk.database, version(desk), now - timedelta(days=30), now)
    assert found is not None
    return found


def test_the_figures_are_those_of_the_forecasts_made_in_bulk(desk: Desk) -> None:
    data = build_dataset(market("EURUSD").take(slice(0, LAST + 1)), LAYOUT, HORIZONS, SPEC)
    rows = np.arange(FIRST, LAST + 1)
    made = trained("EURUSD", "har").forecast(data, rows, Provenance("1", data.known_at[-1], "live"))
    truth = Outcomes.from_dataset(data).aligned(made.decided_at, HORIZONS)
    window = performance(track(desk), desk.clock.now(), 24 * 30, 0.9)
    assert window.decisions == len(rows)
    for column, one in enumerate(window.figures):
        known = np.isfinite(truth.returns[:, column])
        y, size = truth.returns[known, column], data.yardstick[rows, column][known]
        quantiles, mean = made.quantiles[known, column], made.mean[known, column]
        assert one.outcomes == known.sum()
        assert one.crps == pytest.approx((crps(y, quantiles) / size).mean())
        assert one.rmse == pytest.approx(np.sqrt(((y - mean) ** 2).mean()))
        assert one.coverage == pytest.approx(np.nanmean(covered(y, quantiles, 0.9)))
        hits = direction_hit(y, mean)
        if np.isfinite(hits).any():
            assert one.accuracy is not None
            assert one.accuracy.value == pytest.approx(np.nanmean(hits))
            assert one.accuracy.low < one.accuracy.value < one.accuracy.high
        assert one.skill is not None
        assert one.skill.low <= one.skill.value <= one.skill.high


def test_the_day_counts_its_own_decisions_latencies_and_failures(desk: Desk) -> None:
    now = desk.clock.now()
    day = performance(track(desk), now, 24, 0.9)
    assert day.decisions < 60
    assert day.error_rate == 0
    assert day.latency is not None
    assert 0 < day.latency[0] <= day.latency[1] <= day.latency[2]
    closes = market("EURUSD").known_at
    record_failure(desk.database, "EURUSD", "1", closes[LAST] + np.timedelta64(1, "s"), now, "as if")
    record_failure(desk.database, "EURUSD", "1", closes[FIRST] + np.timedelta64(1, "s"), now, "as if")
    again = performance(track(desk), now, 24, 0.9)
    assert again.error_rate == pytest.approx(1 / (day.decisions + 1))


def test_performance_is_stored_once_per_moment_window_and_horizon(desk: Desk) -> None:
    now = desk.clock.now()
    rows = performance(track(desk), now, 24, 0.9).rows()
    for _ in range(2):
        save_performance(desk.database, "EURUSD", "1", now, rows)
    stored = performance_of(desk.database, "EURUSD")
    assert [(row.hours, row.horizon) for row in stored] == [(24, horizon) for horizon in HORIZONS]
    assert stored[0].crps == rows[0]["crps"]
    assert stored[0].latency_p95 == rows[0]["latency_p95"]


def test_a_version_that_never_forecast_has_no_record(desk: Desk) -> None:
    other = desk.registry.add("EURUSD", "ewma", "shadow")
    now = desk.clock.now()
    assert track_of(desk.database, other, now - timedelta(days=30), now) is None


def test_trading_the_sign_of_a_forecast_that_is_right_earns_and_of_one_that_is_wrong_loses(desk: Desk) -> None:
    kept = track(desk)
    truth = kept.outcomes.returns
    for sign, expected in ((1.0, 1.0), (-1.0, 0.0)):
        mean = np.where(np.isfinite(truth), sign * truth, 0.0)
        forecast = replace(kept.forecast, mean=mean)
        for one in live_figures(forecast, kept.outcomes, kept.yardstick, 0.9):
            assert one.accuracy is not None
            assert one.accuracy.value == expected
            assert one.sharpe is not None
            assert one.drawdown is not None
            assert np.sign(one.sharpe.value) == sign
            assert (one.drawdown == 0) == (sign > 0)
