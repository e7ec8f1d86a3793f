"""Old live forecasts move to the lake and are never only half somewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from fxgpt_core.common.errors import StoreError
from fxgpt_core.common.forecast import LEVELS, Forecast
from fxgpt_core.lifecycle.forecast_archive import DATASET, SCHEMA, archive_forecasts, archived_rows
from fxgpt_core.market.lake import Lake
from fxgpt_core.store.database import Database
from fxgpt_core.store.forecast_log import delete_forecasts, save_forecast
from fxgpt_core.store.migrate import upgrade
from fxgpt_core.store.models import LiveForecast
from tests.speed import computed_within

START = datetime(2024, 1, 30, 22, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'fxgpt.db'}"
    upgrade(url)
    made = Database(url)
    yield made
    made.close()


def log(database: Database, hours: int, symbol: str = "EURUSD", version: str = "1") -> None:
    """Log an hourly forecast of two horizons, from `START` on."""
    decided = np.datetime64(START.replace(tzinfo=None), "ns") + np.arange(hours) * np.timedelta64(1, "h")
    spread = np.full((hours, 2), 1e-3)
    forecast = Forecast(
        symbol=symbol,
        family="ewma",
        model_version=np.full(hours, version, dtype=object),
        calibration_version=np.full(hours, "", dtype=object),
        origin=np.full(hours, "live", dtype=object),
        decided_at=decided,
        horizons=(60, 240),
        mean=np.arange(hours * 2).reshape(hours, 2) * 1e-6,
        std=spread,
        quantiles=spread[:, :, None] * np.linspace(-2, 2, len(LEVELS)),
        trained_until=np.full(hours, np.datetime64("2024-01-01", "ns")),
        made_at=decided,
    )
    save_forecast(database, forecast, latency_ms=3.5)


def stored(database: Database) -> int:
    with database.reading() as session:
        return int(session.scalar(sa.select(sa.func.count()).select_from(LiveForecast)) or 0)


def archived(lake: Lake, symbol: str = "EURUSD") -> list[dict[str, object]]:
    rows: list[dict[str, object]] = lake.read(DATASET, {"symbol": symbol}).to_pylist()
    return rows


def test_rows_before_the_day_lie_in_the_lake_by_month_and_the_others_stay(database: Database, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    log(database, 72)
    log(database, 5, "GBPUSD", "7")
    assert archive_forecasts(database, lake, START + timedelta(hours=48), at_once=17) == 2 * (48 + 5)
    assert stored(database) == 2 * 24
    assert lake.parts(DATASET, {"symbol": "EURUSD"}) == ["month=2024-01", "month=2024-02"]
    rows = archived(lake)
    assert len(rows) == 96
    assert rows[3]["decided_at"] == START + timedelta(hours=1)
    assert (rows[3]["horizon"], rows[3]["mean"], rows[3]["model_version"]) == (240, pytest.approx(3e-6), "1")
    levels = json.loads(str(rows[3]["quantiles"]))
    assert len(levels) == len(LEVELS)
    assert (rows[3]["batch"], rows[3]["context"]) == (72, "{}")
    assert {row["model_version"] for row in archived(lake, "GBPUSD")} == {"7"}
    assert archive_forecasts(database, lake, START + timedelta(hours=48)) == 0


def test_what_lies_in_the_lake_is_read_back_over_months_old_and_new(database: Database, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    log(database, 72)
    log(database, 72, version="2")
    archive_forecasts(database, lake, START + timedelta(hours=72))
    first = lake.read(DATASET, {"symbol": "EURUSD"}, ["month=2024-01"])
    lake.write(DATASET, {"symbol": "EURUSD"}, "month=2024-01", first.drop_columns(["origin", "timeframe", "context"]))
    rows = archived_rows(lake, "EURUSD", "2", START, START + timedelta(hours=60))
    assert [row.decided_at for row in rows[::2]] == [START + timedelta(hours=n) for n in range(1, 61)]
    assert [row.horizon for row in rows[:2]] == [60, 240]
    assert {row.origin for row in rows} == {"live"}
    assert rows[1].mean == pytest.approx(3e-6)
    assert len(rows[0].quantiles) == len(LEVELS)
    assert archived_rows(lake, "GBPUSD", "2", START, START + timedelta(hours=60)) == []


def test_a_crash_between_writing_and_deleting_loses_and_doubles_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path / "lake")
    log(database, 10)
    with monkeypatch.context() as patch:
        patch.setattr("fxgpt_core.lifecycle.forecast_archive.delete_forecasts", _killed)
        with pytest.raises(KeyboardInterrupt):
            archive_forecasts(database, lake, START + timedelta(days=9))
    assert stored(database) == 20
    assert archive_forecasts(database, lake, START + timedelta(days=9)) == 20
    assert (stored(database), len(archived(lake))) == (0, 20)


def test_a_decision_never_leaves_by_halves(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log(database, 10)
    left: list[int] = []

    def watched(*args: object) -> int:
        gone = delete_forecasts(*args)  # type: ignore[arg-type]
        left.append(stored(database))
        return gone

    monkeypatch.setattr("fxgpt_core.lifecycle.forecast_archive.delete_forecasts", watched)
    assert archive_forecasts(database, Lake(tmp_path / "lake"), START + timedelta(days=9), at_once=5) == 20
    assert all(rows % 2 == 0 for rows in left), left


def test_a_lake_that_forgets_costs_no_row(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(tmp_path / "lake")
    log(database, 10)
    lake.write(DATASET, {"symbol": "EURUSD"}, "month=2024-01", _nothing())
    monkeypatch.setattr(Lake, "upsert", lambda *_, **__: 0)
    with pytest.raises(StoreError, match=r"lacks 20 rows .* nothing was deleted"):
        archive_forecasts(database, lake, START + timedelta(days=9))
    assert stored(database) == 20


def test_a_month_of_rows_is_merged_in_a_moment(tmp_path: Path) -> None:
    def rows(first: int, count: int) -> pa.Table:
        empty = {name: [None] * count for name in SCHEMA.names}
        return pa.table({**empty, "key": [f"{i:09d}" for i in range(first, first + count)]}, schema=SCHEMA)

    lake = Lake(tmp_path / "lake")
    with computed_within(2.0):  # comparing every text with every other took half a minute
        for first in (0, 20_000):
            lake.upsert(DATASET, {"symbol": "EURUSD"}, "month=2024-01", rows(first, 30_000), on="key")
    assert len(archived(lake)) == 50_000


def _nothing() -> pa.Table:
    return SCHEMA.empty_table()


def _killed(*_: object) -> None:
    raise KeyboardInterrupt
