"""The live log on SQLite and PostgreSQL: outcomes once, failures once, nothing awaited twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from fxgpt_core.common.forecast import LEVELS, Forecast
from fxgpt_core.store.clock import to_datetime64
from fxgpt_core.store.database import Database
from fxgpt_core.store.forecast_log import LoggedForecast, delete_forecasts, oldest_forecasts, save_forecasts
from fxgpt_core.store.live_log import (
    Realised,
    awaited,
    failures_between,
    forget_outcomes,
    last_logged,
    record_failure,
    record_outcomes,
)
from fxgpt_core.store.track import performance_of, save_performance, track_rows

AT = datetime(2024, 3, 1, 12, tzinfo=UTC)
HORIZONS = (60, 240)


def forecast(version: str, at: datetime = AT) -> Forecast:
    moment = np.array([to_datetime64(at)])
    text = {name: np.array([value], dtype=object) for name, value in (("v", f"EURUSD/{version}"), ("o", "live"))}
    return Forecast(
        symbol="EURUSD", family=f"family{version}", horizons=HORIZONS, decided_at=moment, made_at=moment,
        trained_until=moment - np.timedelta64(1, "D"), model_version=text["v"],
        calibration_version=np.array(["c"], dtype=object), origin=text["o"], mean=np.zeros((1, 2)),
        std=np.ones((1, 2)), quantiles=np.broadcast_to(np.asarray(LEVELS) - 0.5, (1, 2, len(LEVELS))).copy(),
    )  # fmt: skip


def realised(at: datetime = AT, horizon: int = 60) -> Realised:
    return Realised(to_datetime64(at), horizon, to_datetime64(at + timedelta(minutes=horizon)), 0.001, 0.002)


def test_two_versions_are_logged_together_and_joined_to_one_outcome(database: Database) -> None:
    entries = [LoggedForecast(forecast("1"), 2.0), LoggedForecast(forecast("2"), 3.0, served=False, novelty=0.5)]
    assert save_forecasts(database, entries) == 4
    assert save_forecasts(database, entries) == 0
    assert last_logged(database, "EURUSD", "1") == to_datetime64(AT)
    assert last_logged(database, "EURUSD", "3") is None
    since = AT - timedelta(days=1)
    assert awaited(database, "EURUSD", since) == [(to_datetime64(AT), 60), (to_datetime64(AT), 240)]
    assert record_outcomes(database, "EURUSD", [realised()]) == 1
    assert record_outcomes(database, "EURUSD", [realised()]) == 0
    assert awaited(database, "EURUSD", since) == [(to_datetime64(AT), 240)]
    rows = track_rows(database, "EURUSD", "2", since, AT)
    assert [(row.horizon, row.log_return, row.latency_ms) for row in rows] == [(60, 0.001, 3.0), (240, None, 3.0)]
    assert rows[0].quantiles["0.5"] == 0
    assert track_rows(database, "EURUSD", "2", AT, AT + timedelta(days=1)) == []


def test_a_failure_counts_once_and_moves_the_log_on(database: Database) -> None:
    save_forecasts(database, [LoggedForecast(forecast("1"), 2.0)])
    later = to_datetime64(AT + timedelta(hours=1))
    assert record_failure(database, "EURUSD", "1", later, AT, "broken")
    assert not record_failure(database, "EURUSD", "1", later, AT, "broken again")
    assert last_logged(database, "EURUSD", "1") == later
    assert failures_between(database, "EURUSD", "1", AT, AT + timedelta(hours=1)) == [later]
    assert failures_between(database, "EURUSD", "1", AT + timedelta(hours=1), AT + timedelta(hours=2)) == []


def test_outcomes_stay_as_long_as_a_forecast_asks_for_them(database: Database) -> None:
    save_forecasts(database, [LoggedForecast(forecast("1"), 2.0)])
    record_outcomes(database, "EURUSD", [realised(), realised(AT - timedelta(hours=5))])
    assert forget_outcomes(database, AT + timedelta(days=1)) == 1
    delete_forecasts(database, [row.id for row in oldest_forecasts(database, AT + timedelta(days=1), 10)])
    assert forget_outcomes(database, AT) == 0
    assert forget_outcomes(database, AT + timedelta(days=1)) == 1


def test_performance_is_replaced_for_the_same_moment(database: Database) -> None:
    save_forecasts(database, [LoggedForecast(forecast("1"), 2.0)])
    for crps in (0.5, 0.6):
        row = {"hours": 24, "horizon": 60, "outcomes": 9, "crps": crps}
        save_performance(database, "EURUSD", "1", AT, [row])
    (stored,) = performance_of(database, "EURUSD")
    assert (stored.crps, stored.accuracy, stored.until) == (0.6, None, AT)
