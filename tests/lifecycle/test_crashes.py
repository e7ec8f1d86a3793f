"""kill -9 while a model is registered, while forecasts are logged, and while they move to the lake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from fxgpt_core.common.forecast import LEVELS, Forecast
from fxgpt_core.lifecycle.forecast_archive import DATASET, archive_forecasts
from fxgpt_core.market.lake import Lake
from fxgpt_core.store import forecast_log
from fxgpt_core.store.forecast_log import LoggedForecast
from fxgpt_core.store.migrate import upgrade
from fxgpt_core.store.models import LiveForecast
from tests.lifecycle.small_registry import NOON, SYMBOL, SmallRegistry, dies, killed_at, register_and_die

HORIZONS, HOURS = (60, 240), 6


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> SmallRegistry:
    return SmallRegistry(tmp_path_factory.mktemp("home")).prepare(1)


def forecast(version: str, hours: int = HOURS) -> Forecast:
    decided = np.datetime64(NOON.replace(tzinfo=None), "ns") + np.arange(hours) * np.timedelta64(1, "h")
    spread = np.full((hours, len(HORIZONS)), 1e-3)
    return Forecast(
        symbol=SYMBOL,
        family="ewma",
        model_version=np.full(hours, version, dtype=object),
        calibration_version=np.full(hours, "", dtype=object),
        origin=np.full(hours, "live", dtype=object),
        decided_at=decided,
        horizons=HORIZONS,
        mean=spread * 0,
        std=spread,
        quantiles=spread[:, :, None] * np.linspace(-2, 2, len(LEVELS)),
        trained_until=np.full(hours, np.datetime64("2024-01-01", "ns")),
        made_at=decided,
    )


def log(home: SmallRegistry) -> None:
    """Log what champion and shadow say, as the live loop does: both or none."""
    forecast_log.save_forecasts(home.database, [LoggedForecast(forecast(version), 3.0) for version in ("1", "2")])


def log_and_die(root: Path, point: str, number: int) -> None:
    killed_at(point, number)
    log(SmallRegistry(root))


def archive_and_die(root: Path, point: str, number: int) -> None:
    killed_at(point, number)
    archive_forecasts(SmallRegistry(root).database, Lake(root / "lake"), NOON.replace(year=2025), at_once=10)


def logged(home: SmallRegistry) -> int:
    with home.database.reading() as session:
        return int(session.scalar(sa.select(sa.func.count()).select_from(LiveForecast)) or 0)


def register_again(home: SmallRegistry, point: str, number: int) -> None:
    before = len(home.registry.versions(SYMBOL))
    dies(register_and_die, home.root, point, number)
    half = home.registry.versions(SYMBOL)
    assert all(version.family and version.tags["fingerprint"] for version in half), "a version is whole or not there"
    made = home.register("killed")
    versions = home.registry.versions(SYMBOL)
    assert len(versions) == before + 1
    assert len(half) in (before, before + 1)
    assert home.registry.folder(made).joinpath("checksums.json").exists()
    with home.registry.client("read") as client:
        experiment = client.get_experiment_by_name(f"fxgpt/{SYMBOL}")
        assert experiment is not None
        assert not client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")
        client.delete_model_version(f"fxgpt.{SYMBOL}", made.version)


def test_a_registration_that_is_killed_makes_one_version_when_done_again(home: SmallRegistry) -> None:
    register_again(home, "before client.create_model_version", 1)


@pytest.mark.deep
@pytest.mark.parametrize(
    "point",
    ["before registry._log", "before pyfunc.log_model", "after pyfunc.log_model", "after client.create_model_version"],
)
def test_a_registration_that_is_killed_anywhere_makes_one_version(home: SmallRegistry, point: str) -> None:
    register_again(home, point, 1)


def log_again(root: Path, point: str, number: int, kept: int) -> None:
    home = SmallRegistry(root)
    upgrade(home.url)
    whole = 2 * HOURS * len(HORIZONS)
    dies(log_and_die, root, point, number)
    assert logged(home) == kept, "both versions' forecasts are logged, or neither's"
    log(home)
    assert logged(home) == whole


def test_forecasts_whose_logging_is_killed_are_logged_whole_by_the_next(tmp_path: Path) -> None:
    log_again(tmp_path, "after log._log", 1, 0)


@pytest.mark.deep
@pytest.mark.parametrize(
    ("point", "number", "kept"),
    [
        ("before log._log", 1, 0),
        ("before log.insert_once", 5, 0),
        ("after log._log", 2, 0),
        ("after log.save_forecasts", 1, 2 * HOURS * len(HORIZONS)),
    ],
)
def test_forecasts_whose_logging_is_killed_anywhere_are_logged_whole(
    tmp_path: Path, point: str, number: int, kept: int
) -> None:
    log_again(tmp_path, point, number, kept)


def archive_again(root: Path, point: str, number: int) -> None:
    home, lake = SmallRegistry(root), Lake(root / "lake")
    upgrade(home.url)
    log(home)
    whole = logged(home)
    dies(archive_and_die, root, point, number)
    archive_forecasts(home.database, lake, NOON.replace(year=2025))
    keys = lake.read(DATASET, {"symbol": SYMBOL}).column("key").to_pylist()
    assert (logged(home), len(keys), len(set(keys))) == (0, whole, whole)


def test_an_archiving_that_is_killed_loses_and_doubles_no_forecast(tmp_path: Path) -> None:
    archive_again(tmp_path, "before archive.delete_forecasts", 2)


@pytest.mark.deep
@pytest.mark.parametrize(
    ("point", "number"),
    [("before lake.upsert", 1), ("after lake.upsert", 2), ("after archive.delete_forecasts", 1)],
)
def test_an_archiving_that_is_killed_anywhere_loses_and_doubles_no_forecast(
    tmp_path: Path, point: str, number: int
) -> None:
    archive_again(tmp_path, point, number)
