"""Rows of the operational database on both kinds of server: idempotent, aware times, keys enforced."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from fxgpt_core.common.errors import StoreError
from fxgpt_core.common.forecast import LEVELS, Forecast
from fxgpt_core.store.audit import (
    finish_retraining,
    last_retraining,
    recent_decisions,
    record_decision,
    record_promotion,
    record_retraining,
)
from fxgpt_core.store.database import Database
from fxgpt_core.store.forecast_log import save_forecast
from fxgpt_core.store.models import Checkpoint, LiveForecast, Model, RetrainingEvent, TrainingRun
from fxgpt_core.store.trainings import Fitted, begin_training, fail_training, last_training, record_training, trainings

NOON = datetime(2024, 3, 8, 12, tzinfo=UTC)


def train(database: Database, version: str = "1", **changes: Any) -> TrainingRun:
    values: dict[str, Any] = {
        "symbol": "EURUSD",
        "family": "ridge",
        "mlflow_version": version,
        "trained_until": np.datetime64("2024-03-08T11:00", "ns"),
        "started_at": NOON,
        "fitted": Fitted(1.5),
        "dagster_run_id": "run",
        "config": {"alpha": 0.001},
    }
    return record_training(database, **{**values, **changes})


def live(version: str = "EURUSD/1", family: str = "ridge") -> Forecast:
    quantiles = np.tile(np.linspace(-0.01, 0.01, len(LEVELS)), (1, 2, 1))
    moment = np.array(["2024-03-08T12:00"], dtype="datetime64[ns]")
    names = {"model_version": version, "calibration_version": "c1", "origin": "live"}
    return Forecast(
        symbol="EURUSD",
        family=family,
        horizons=(60, 240),
        decided_at=moment,
        made_at=moment + np.timedelta64(3, "s"),
        trained_until=moment - np.timedelta64(1, "h"),
        mean=np.zeros((1, 2)),
        std=np.full((1, 2), 0.001),
        quantiles=quantiles,
        **{key: np.array([value], dtype=object) for key, value in names.items()},
    )


def count(database: Database, table: type[Any]) -> int:
    with database.reading() as session:
        return int(session.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


def test_training_is_indexed_once_and_found_again(database: Database) -> None:
    assert last_training(database, "EURUSD") is None
    train(database)
    train(database, fitted=Fitted(9.0))  # repeated after a crash
    assert (count(database, Model), count(database, TrainingRun)) == (1, 1)
    train(database, "2", started_at=NOON + timedelta(hours=1), family="sssd")
    last = last_training(database, "EURUSD")
    assert last is not None
    assert last.model is not None
    assert (last.model.mlflow_version, last.model.family) == ("2", "sssd")
    assert last.model.trained_until == datetime(2024, 3, 8, 11, tzinfo=UTC)
    older = last_training(database, "EURUSD", "ridge")
    assert older is not None
    assert older.model is not None
    assert (older.seconds, older.model.config) == (1.5, {"alpha": 0.001})
    assert last_training(database, "GBPUSD") is None


def test_a_training_is_one_row_from_its_start_to_its_version(database: Database) -> None:
    key = {"symbol": "EURUSD", "family": "sssd", "name": "f1"}

    def begin(hours: int) -> None:
        begin_training(
            database, **key, started_at=NOON + timedelta(hours=hours), data_start=NOON - timedelta(days=500),
            data_end=NOON, device="cuda", hyperparameters={"width": 64}, dagster_run_id=f"run {hours}",
        )  # fmt: skip

    begin(0)  # and its process was killed
    begin(1)
    fail_training(database, "EURUSD", "sssd", "f1", "ModelError: not finite", 12.5)
    (row,) = trainings(database, "EURUSD")
    assert (row.status, row.error, row.seconds, row.model) == ("failed", "ModelError: not finite", 12.5, None)
    assert last_training(database, "EURUSD") is None
    begin(2)
    fitted = Fitted(60.0, 7, 0.4, 0.5, {"validation_crps": 0.5})
    for _ in range(2):
        train(database, "4", family="sssd", name="f1", fitted=fitted, path="models:/fxgpt.EURUSD/4", size=123)
    begin(3)  # too late: it is done
    (row,) = trainings(database, "EURUSD")
    assert row.model is not None
    assert (row.status, row.error, row.model.mlflow_version) == ("done", "", "4")
    assert (row.best_epoch, row.train_loss, row.validation_loss, row.device) == (7, 0.4, 0.5, "cuda")
    assert row.data_start == NOON - timedelta(days=500)
    with database.reading() as session:
        (kept,) = session.scalars(sa.select(Checkpoint))
    assert (kept.path, kept.epoch, kept.bytes, kept.is_best) == ("models:/fxgpt.EURUSD/4", 7, 123, True)
    assert kept.metrics == {"validation_crps": 0.5}


def test_version_that_changed_its_family_is_refused(database: Database) -> None:
    train(database)
    with pytest.raises(StoreError, match=r"indexed as ridge, not sssd"):
        train(database, family="sssd")


def test_retraining_of_one_cause_is_recorded_once(database: Database) -> None:
    event, new = record_retraining(database, symbol="EURUSD", cause="drift:1", at=NOON)
    again, second = record_retraining(database, symbol="EURUSD", cause="drift:1", at=NOON + timedelta(days=1))
    assert (new, second) == (True, False)
    assert again.id == event.id
    assert again.at == NOON
    assert record_retraining(database, symbol="GBPUSD", cause="drift:1", at=NOON)[1]
    finish_retraining(database, symbol="EURUSD", cause="drift:1", status="done", dagster_run_id="abc")
    last = last_retraining(database, "EURUSD")
    assert last is not None
    assert (last.status, last.dagster_run_id) == ("done", "abc")
    with pytest.raises(StoreError, match="No retraining"):
        finish_retraining(database, symbol="EURUSD", cause="other", status="done", dagster_run_id="abc")
    with pytest.raises(sa.exc.IntegrityError):
        finish_retraining(database, symbol="EURUSD", cause="drift:1", status="perhaps", dagster_run_id="abc")


def test_one_cause_from_many_threads_starts_once(database: Database) -> None:
    made: list[bool] = []

    def ask() -> None:
        made.append(record_retraining(database, symbol="EURUSD", cause="drift:7", at=NOON)[1])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 7 + [True]
    assert count(database, RetrainingEvent) == 1


def test_decisions_keep_their_evidence_newest_first(database: Database) -> None:
    for hour in range(3):
        record_decision(
            database,
            kind="retraining",
            symbol="EURUSD",
            what="wait",
            reasons=["no drift", f"hour {hour}"],
            evidence={"ks": 0.1 * hour},
            at=NOON + timedelta(hours=hour),
            cause=f"tick:{hour}",
        )
    repeated = record_decision(
        database, kind="retraining", symbol="EURUSD", what="retrain", reasons=[], at=NOON, cause="tick:0"
    )
    assert repeated[1] is False
    found = recent_decisions(database, "EURUSD", limit=2)
    assert [row.cause for row in found] == ["tick:2", "tick:1"]
    assert found[1].reasons == ["no drift", "hour 1"]
    assert found[1].evidence == {"ks": 0.1}


def test_promotion_is_recorded_when_the_alias_moves(database: Database) -> None:
    def move(origin: str | None, target: str) -> bool:
        row = record_promotion(
            database, symbol="EURUSD", alias="champion", from_version=origin, to_version=target, at=NOON
        )
        return row is not None

    assert [move(None, "1"), move("1", "1"), move("1", "2"), move("2", "1")] == [True, False, True, True]


def test_live_forecast_is_saved_once_per_horizon(database: Database) -> None:
    train(database)
    assert save_forecast(database, live(), latency_ms=4.2) == 2
    assert save_forecast(database, live(), latency_ms=5.0) == 0
    assert save_forecast(database, live("9"), latency_ms=5.0) == 2  # its training was never indexed
    with database.reading() as session:
        row = session.scalars(sa.select(LiveForecast).order_by(LiveForecast.id)).first()
    assert row is not None
    assert row.decided_at == NOON
    assert row.made_at == NOON + timedelta(seconds=3)
    assert row.quantiles["0.5"] == pytest.approx(0.0)
    assert len(row.quantiles) == len(LEVELS)
    assert row.model.mlflow_version == "1"


def test_naive_time_is_refused(database: Database) -> None:
    with pytest.raises(StoreError, match="no time zone"):
        record_retraining(database, symbol="EURUSD", cause="x", at=datetime(2024, 3, 8, 12))  # noqa: DTZ001
    assert count(database, RetrainingEvent) == 0


def test_other_zones_come_back_as_the_same_moment_in_utc(database: Database) -> None:
    record_retraining(database, symbol="EURUSD", cause="x", at=NOON.astimezone(timezone(timedelta(hours=-5))))
    last = last_retraining(database, "EURUSD")
    assert last is not None
    assert (last.at, last.at.tzinfo) == (NOON, UTC)


def test_foreign_keys_are_enforced(database: Database) -> None:
    row = TrainingRun(model_id=999, dagster_run_id="", started_at=NOON, seconds=1.0)
    with pytest.raises(sa.exc.IntegrityError), database.session() as session:
        session.add(row)
    train(database)
    with database.session() as session:
        session.execute(sa.delete(Model))
    assert count(database, TrainingRun) == 0


def test_error_in_a_session_rolls_back(database: Database) -> None:
    def interrupted() -> None:
        with database.session() as session:
            session.add(RetrainingEvent(symbol="EURUSD", cause="x", at=NOON, status="requested"))
            session.flush()
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError):
        interrupted()
    assert count(database, RetrainingEvent) == 0


def test_database_without_tables_says_so(url: str) -> None:
    if url.startswith("sqlite"):
        with pytest.raises(StoreError, match="cannot be used: unable to open"):
            last_retraining(Database(url), "EURUSD")
        return
    with pytest.raises(StoreError, match="is not migrated"):
        last_retraining(Database(url), "EURUSD")
