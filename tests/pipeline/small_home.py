"""A small symbol for lineage tests: GBPUSD, simulated hourly bars, three cheap families, two folds."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from dagster import AssetKey, AssetRecordsFilter, DagsterInstance
from filelock import FileLock

from fxgpt_core.market.candles import Candles
from fxgpt_core.market.files.importing import import_file
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_core.store.clock import Clock, SystemClock
from fxgpt_core.store.config import merge
from fxgpt_core.store.paths import CHECKOUT, Home
from fxgpt_pipeline.definitions import build_definitions
from fxgpt_pipeline.homes import prepare
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.runs import LINEAGE_JOB, Outcome, execute, stale_stages
from fxgpt_pipeline.stages import Key
from fxgpt_pipeline.workspace import Workspace

SYMBOL, BARS = "GBPUSD", 2600
FAMILIES = ("ewma", "ridge", "seasonal_ewma")
ASSET: dict[str, Any] = {
    "symbol": SYMBOL,
    "source": "import",
    "timeframes": ["1h", "4h"],
    "horizons": ["1h", "4h"],
    "models": {name: {} for name in FAMILIES},
}
_START = np.datetime64("2024-01-01")
_CLUSTERING = 0.2  # a calm market, in which drift of a few months' history can be told from its own weeks
_MISSING = slice(300, 303)  # a few bars are missing, far fewer than the default limit


def quiet_bars() -> Candles:
    """The bars that every home begins with."""
    return simulate(SYMBOL, "1h", start=_START, bars=BARS, seed=11, clustering=_CLUSTERING)


def later_bars(count: int, volatility: float = 0.08, seed: int = 12) -> Candles:
    """Bars that carry on where `quiet_bars` end."""
    before = quiet_bars()
    start, price = before.ts_utc[-1] + np.timedelta64(1, "h"), float(before.close[-1])
    return simulate(
        SYMBOL, "1h", start=start, bars=count, seed=seed, volatility=volatility, price=price, clustering=_CLUSTERING
    )


def write_csv(candles: Candles, path: Path, without: slice | None = None) -> Path:
    """Write bars as a person would bring them; `without` leaves rows out."""
    frame = candles.to_frame()
    if without is not None:
        frame = frame.drop(frame.index[without])
    frame.drop(columns="spread").to_csv(path)
    return path


@dataclass(frozen=True)
class SmallHome:
    """One state directory with its own configuration folder, under one root."""

    root: Path

    @property
    def home(self) -> Home:
        return Home(self.root / "home")

    @property
    def configs(self) -> Path:
        return self.root / "configs"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "FXGPT_HOME": str(self.home.root),
            "FXGPT_CONFIG_DIR": str(self.configs),
            "DAGSTER_HOME": str(self.home.dagster),
        }

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> SmallHome:
        """Point this process at the home until the test ends."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("FXGPT_DATABASE_URL", raising=False)
        # MLflow itself sets this one for its children when a registry is opened: the next home must not inherit it.
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
        return self

    def subprocess_environment(self) -> dict[str, str]:
        """Return the environment of a process that works in this home and nowhere else."""
        private = ("FXGPT_DATABASE_URL", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
        inherited = {name: value for name, value in os.environ.items() if name not in private}
        return {**inherited, **self.environment, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}

    def configure(self, file: str, values: Mapping[str, Any]) -> None:
        """Lay values over one YAML file of the configuration folder."""
        path = self.configs / file
        found = yaml.safe_load(path.read_text()) if path.exists() else {}
        path.write_text(yaml.safe_dump(merge(found or {}, values), sort_keys=False))

    def bring(self, candles: Candles, without: slice | None = None) -> None:
        """Import bars from a file."""
        path = write_csv(candles, self.root / f"{SYMBOL}_1h.csv", without)
        import_file(self.lineage().workspace.lake, path, side="mid", tz="UTC")

    def lineage(self, clock: Clock | None = None, configs: Path | None = None) -> Lineage:
        """Return a fresh lineage, which reads the configuration as it is now."""
        return Workspace(self.home, configs or self.configs, clock or SystemClock()).lineage(SYMBOL)

    def instance(self) -> DagsterInstance:
        return DagsterInstance.from_config(str(self.home.dagster))

    def stale(self, configs: Path | None = None) -> set[str]:
        """Return the names of stale stages."""
        lineage = self.lineage(configs=configs)
        with self.instance() as instance:
            return {lineage.stages[key].name for key in stale_stages(lineage, instance)}

    def materialise(
        self, stages: Iterable[Key] | None = None, job: str = LINEAGE_JOB, cause: str = "manual"
    ) -> Outcome:
        """Run the given stages, by default what is stale, as `fxgpt materialize` does."""
        lineage = self.lineage()
        with self.instance() as instance:
            todo = list(stages) if stages is not None else stale_stages(lineage, instance)
            return execute(build_definitions(lineage.workspace), lineage, todo, instance, cause=cause, job=job)

    def made(self) -> dict[str, int]:
        """Return how often each stage has been materialised so far."""
        with self.instance() as instance:
            return {
                stage.name: len(instance.fetch_materializations(AssetRecordsFilter(AssetKey(key)), limit=1000).records)
                for key, stage in self.lineage().stages.items()
            }

    def clone(self, root: Path) -> SmallHome:
        """Copy the home; MLflow's store holds absolute paths, which are rewritten to the copy."""
        shutil.copytree(self.root, root, dirs_exist_ok=True)
        with closing(sqlite3.connect(root / "home" / "mlflow.db")) as database, database:
            for (table,) in database.execute("select name from sqlite_master where type = 'table'").fetchall():
                for _, column, kind, *_ in database.execute(f"pragma table_info({table})").fetchall():
                    if "CHAR" in kind.upper() or "TEXT" in kind.upper():
                        database.execute(
                            f"update {table} set {column} = replace({column}, ?, ?) where {column} like ?",
                            (str(self.root), str(root), f"%{self.root}%"),
                        )
        return SmallHome(root)


def empty_home(root: Path) -> SmallHome:
    """Return a home that has a configuration and nothing else."""
    root.mkdir(parents=True, exist_ok=True)
    shutil.copytree(CHECKOUT / "configs", root / "configs")
    (root / "configs" / "assets" / "EURUSD.yaml").unlink()
    home = SmallHome(root)
    home.configure(f"assets/{SYMBOL}.yaml", ASSET)
    home.configure("pipeline.yaml", {"walk_forward": {"folds": 2}, "leakage": {"cuts": 2}})
    return home


def shared_home(factory: pytest.TempPathFactory) -> SmallHome:
    """Return the home on which a whole session's tests look, or which they clone; nobody may change it.

    The processes of one session share it: the first that asks makes it, and what it says of a failure all repeat.
    """
    base = factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "small_home"
    said = root.with_suffix(".said")
    with FileLock(root.with_suffix(".lock")):
        if not said.exists():
            said.write_text(_materialise(root).error)
    assert not said.read_text(), said.read_text()
    return SmallHome(root)


def _materialise(root: Path) -> Outcome:
    home = empty_home(root)
    with pytest.MonkeyPatch.context() as monkeypatch:
        home.enter(monkeypatch)
        home.bring(quiet_bars(), without=_MISSING)
        prepare(home.lineage().workspace)
        return home.materialise(home.lineage().stages)
