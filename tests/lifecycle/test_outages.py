"""A registry or a database that is unreachable, locked, read-only or full: one sentence, and the champion serves on."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from fxgpt_core.common.errors import StoreError
from fxgpt_core.lifecycle.alias_moves import moving
from fxgpt_core.lifecycle.promotion import promote
from fxgpt_core.lifecycle.registry import CHAMPION, ModelRegistry
from fxgpt_core.lifecycle.served_models import ServedModels
from fxgpt_core.policy.decision import Decision
from fxgpt_core.store import database as database_module
from fxgpt_core.store.alerts import alerts_between
from fxgpt_core.store.clock import FixedClock, to_datetime64
from fxgpt_core.store.database import Database
from tests.lifecycle.small_registry import NOON, SYMBOL, SmallRegistry, smoke

Outage = Callable[[Path], AbstractContextManager[str]]
"""From an SQLite file to its URL while something is wrong with it."""


@contextmanager
def unreachable(path: Path) -> Iterator[str]:
    (path.parent / "file").write_text("no folder")
    yield f"sqlite:///{path.parent}/file/{path.name}"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow makes a folder `file:` where it stands when a store is named by SQLite's own URI."""
    monkeypatch.chdir(tmp_path)


@contextmanager
def locked(path: Path) -> Iterator[str]:
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("PRAGMA journal_mode").fetchone()
        holder.execute("BEGIN IMMEDIATE")
        yield f"sqlite:///{path}"
        holder.execute("ROLLBACK")


@contextmanager
def read_only(path: Path) -> Iterator[str]:
    yield f"sqlite:///file:{path}?mode=ro&uri=true"


@contextmanager
def full(path: Path) -> Iterator[str]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield f"sqlite:///{path}"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallRegistry]:
    """Version 1 serves and has been copied, 2 waits; nobody waits long for a lock."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.1)
        made = SmallRegistry(tmp_path_factory.mktemp("home")).prepare(2)
        made.promote("1")
        models = ServedModels(made.registry, made.database, FixedClock(NOON))
        models.bundle(models.holders(SYMBOL)[CHAMPION])
        yield made


def assert_nothing_moved(home: SmallRegistry) -> None:
    assert home.champion() == "1"
    with moving(home.registry, home.database, SYMBOL):
        pass
    assert home.registry.aliases(SYMBOL) == ({CHAMPION: "1"}, None)


def refused(home: SmallRegistry, registry: ModelRegistry, database: Database) -> str:
    """Try to make version 2 champion, and return what was said."""
    decision = Decision(SYMBOL, "champion", ("A test.",), to_datetime64(NOON))
    with pytest.raises(StoreError) as caught:
        promote(registry, database, home.registry.get(SYMBOL, "2"), decision, NOON + timedelta(hours=1), smoke)
    said = str(caught.value)
    assert "\n" not in said
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("outage", [unreachable, locked, read_only, full])
def test_the_database(home: SmallRegistry, outage: Outage) -> None:
    with outage(home.root / "fxgpt.db") as url:
        database = Database(url)
        said = refused(home, home.registry, database)
        assert "Database" in said or outage is full  # which is full for MLflow as well
        models = ServedModels(home.registry, database, FixedClock(NOON))
        smoke(models.bundle(models.holders(SYMBOL)[CHAMPION]))
        database.close()
    assert_nothing_moved(home)


@pytest.mark.parametrize("outage", [unreachable, read_only, full, pytest.param(locked, marks=pytest.mark.deep)])
def test_the_registry(home: SmallRegistry, outage: Outage) -> None:
    with outage(home.root / "mlflow.db") as url:
        registry = ModelRegistry(url, home.root / "mlartifacts")
        assert "model registry" in refused(home, registry, home.database)
        models = ServedModels(registry, home.database, FixedClock(NOON))
        smoke(models.bundle(models.holders(SYMBOL)[CHAMPION]))
    if outage is unreachable:
        alerts = alerts_between(home.database, NOON - timedelta(hours=1), NOON + timedelta(hours=1))
        assert {alert.kind for alert in alerts} == {"registry"}
    assert_nothing_moved(home)


def test_afterwards_all_is_as_it_should_be(home: SmallRegistry) -> None:
    home.promote("2", hours=1)
    assert home.champion() == "2"


def test_a_server_that_is_down_is_said_in_seconds(tmp_path: Path) -> None:
    registry = ModelRegistry("http://127.0.0.1:9", tmp_path / "mlartifacts")
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:9.* failed: nothing answers there\. Check"):
        registry.versions(SYMBOL)
