"""Old live forecasts leave the operational database by job and by command."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from fxgpt_core.common.forecast import LEVELS, Forecast
from fxgpt_core.lifecycle.forecast_archive import DATASET
from fxgpt_core.store.clock import FixedClock
from fxgpt_core.store.forecast_log import save_forecast
from fxgpt_pipeline.cli.main import run
from fxgpt_pipeline.definitions import build_definitions
from fxgpt_pipeline.homes import prepare
from fxgpt_pipeline.workspace import Workspace
from tests.pipeline.small_home import SYMBOL, empty_home

LOGGED = datetime(2024, 3, 1, 12, tzinfo=UTC)


def forecast() -> Forecast:
    moment = np.array([LOGGED.replace(tzinfo=None)], dtype="datetime64[ns]")
    names = {"model_version": "1", "calibration_version": "", "origin": "live"}
    return Forecast(
        symbol=SYMBOL,
        family="ewma",
        horizons=(60,),
        decided_at=moment,
        made_at=moment,
        trained_until=moment,
        mean=np.zeros((1, 1)),
        std=np.full((1, 1), 0.001),
        quantiles=np.linspace(-0.002, 0.002, len(LEVELS))[None, None],
        **{key: np.array([value], dtype=object) for key, value in names.items()},
    )


def test_forecasts_stay_thirty_days_and_then_lie_in_the_lake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = empty_home(tmp_path).enter(monkeypatch)
    clock = FixedClock(LOGGED + timedelta(days=29))
    workspace = Workspace(home.home, home.configs, clock)
    prepare(workspace)
    save_forecast(workspace.database, forecast(), latency_ms=2.0)
    job = build_definitions(workspace).resolve_job_def("archive_forecasts")
    assert job.execute_in_process().success
    assert workspace.lake.parts(DATASET, {"symbol": SYMBOL}) == []
    clock.advance(timedelta(days=2))
    assert job.execute_in_process().success
    (row,) = workspace.lake.read(DATASET, {"symbol": SYMBOL}).to_pylist()
    assert (row["decided_at"], row["horizon"], row["model_version"]) == (LOGGED, 60, "1")
    save_forecast(workspace.database, forecast(), latency_ms=2.0)  # brought back by hand
    capsys.readouterr()
    assert run(["lake", "archive", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"moved": 1}
    assert workspace.lake.read(DATASET, {"symbol": SYMBOL}).num_rows == 1
