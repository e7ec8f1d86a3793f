"""A registry and a database in one folder, with versions of one tiny model: what tests of promotion stand on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import mlflow
import numpy as np

from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.evaluation.split_config import WalkForwardConfig
from fxgpt_core.evaluation.splits import final_split
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.lifecycle import alias_moves, forecast_archive
from fxgpt_core.lifecycle.bundle import Bundle, Card, save_bundle
from fxgpt_core.lifecycle.live import forecast_latest
from fxgpt_core.lifecycle.promotion import promote
from fxgpt_core.lifecycle.registry import CHAMPION, ModelRegistry, ModelVersion, TrainingRecord
from fxgpt_core.market.lake import Lake
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.registry import family
from fxgpt_core.policy.decision import Decision
from fxgpt_core.store import forecast_log
from fxgpt_core.store.clock import to_datetime64
from fxgpt_core.store.database import Database
from fxgpt_core.store.migrate import upgrade
from fxgpt_core.training.plan import TrainingPlan
from fxgpt_pipeline import training

SYMBOL, FAMILY, HORIZONS = "EURUSD", "ewma", (60,)
NOON = datetime(2024, 3, 8, 12, tzinfo=UTC)


@cache
def dataset() -> Dataset:
    bars = simulate(SYMBOL, "1h", start=np.datetime64("2024-01-01"), bars=900, seed=5)
    return build_dataset(bars, (timeframe("1h"),), HORIZONS, FeatureSpec(groups=("ohlc",)))


def smoke(bundle: Bundle) -> object:
    """Forecast once."""
    return forecast_latest(bundle, dataset(), Provenance("smoke", dataset().known_at[-1], "live"))


@dataclass(frozen=True)
class SmallRegistry:
    """The stores under one folder; opened anew by every process."""

    root: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.root / 'fxgpt.db'}"

    @property
    def registry(self) -> ModelRegistry:
        return ModelRegistry(f"sqlite:///{self.root / 'mlflow.db'}", self.root / "mlartifacts")

    @property
    def database(self) -> Database:
        return Database(self.url)

    def prepare(self, versions: int) -> SmallRegistry:
        """Create the stores and register so many versions of one fitted model."""
        upgrade(self.url)
        (self.root / "mlflow.db").write_bytes(_empty_store())
        self.registry.initialise()
        self.save(self.root / "bundle")
        for number in range(versions):
            self.register(f"training {number}")
        return self

    def save(self, folder: Path) -> None:
        data, entry = dataset(), family(FAMILY)
        forecaster = entry.create(entry.config({}))
        split = final_split(data, WalkForwardConfig())
        forecaster.fit(data.with_split(split), TrainingPlan(1))
        card = Card(
            symbol=SYMBOL,
            family=FAMILY,
            fingerprint="f",
            trained_until=str(split.trained_until),
            timeframes=("1h",),
            horizons=HORIZONS,
            price_side="mid",
            config={},
            features=FeatureSpec(groups=("ohlc",)).model_dump(mode="json"),
            feature_hash=data.definition_hash,
        )
        save_bundle(Bundle(card, forecaster, None), folder)

    def register(self, fingerprint: str) -> ModelVersion:
        tags = {"fingerprint": fingerprint, "trained_until": "2024-01-20T00:00"}
        return self.registry.register(SYMBOL, FAMILY, self.root / "bundle", TrainingRecord({}, {}, {}, tags))

    def promote(self, version: str, hours: int = 0, database: Database | None = None) -> None:
        """Make a version champion, so many hours after noon."""
        at = NOON + timedelta(hours=hours)
        decision = Decision(SYMBOL, "champion", ("A test.",), to_datetime64(at))
        registry = self.registry
        promote(registry, database or self.database, registry.get(SYMBOL, version), decision, at, smoke)

    def champion(self) -> str | None:
        """Return the version that a consumer finds."""
        holder = self.registry.holder(SYMBOL, CHAMPION)
        return None if holder is None else holder.version


@cache
def _empty_store() -> bytes:
    """Return MLflow's store before anything is in it: making its tables anew for every test takes seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        ModelRegistry(f"sqlite:///{path}", Path(folder) / "mlartifacts").initialise()
        with closing(sqlite3.connect(path)) as store:
            store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.read_bytes()


def killed_at(point: str, number: int = 1) -> None:
    """Let this process die when `point` is reached for the `number`-th time: `Owner.method`, before or after it."""
    moment, _, name = point.partition(" ")
    owner, _, method = name.rpartition(".")
    places: dict[str, Any] = {
        "registry": ModelRegistry,
        "moves": alias_moves,
        "client": mlflow.MlflowClient,
        "pyfunc": mlflow.pyfunc,
        "log": forecast_log,
        "archive": forecast_archive,
        "lake": Lake,
        "training": training,
    }
    real, left = getattr(places[owner], method), number

    def watched(*args: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        made = real(*args, **options)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return made

    setattr(places[owner], method, watched)


def register_and_die(root: Path, point: str, number: int) -> None:
    """Register a training and die on the way: a target for another process."""
    killed_at(point, number)
    SmallRegistry(root).register("killed")


def promote_and_die(root: Path, point: str, number: int) -> None:
    """Promote version 2 and die on the way: a target for another process."""
    killed_at(point, number)
    SmallRegistry(root).promote("2", hours=1)


def register_together(root: Path, start: Barrier, fingerprints: tuple[str, ...]) -> None:
    """Register trainings once all others are ready to: a target for another process."""
    home = SmallRegistry(root)
    home.registry.versions(SYMBOL)  # what is slow the first time is done before the start
    start.wait(300)
    for fingerprint in fingerprints:
        home.register(fingerprint)


def promote_together(root: Path, start: Barrier, version: str, times: int) -> None:
    """Promote a version again and again once all others are ready to: a target for another process."""
    home = SmallRegistry(root)
    smoke_now = dataset()
    assert len(smoke_now)
    start.wait(300)
    for hours in range(times):
        home.promote(version, hours)


def processes() -> ForkServerContext:
    """Return how to start processes that begin with everything imported and nothing opened."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow", "mlflow.pyfunc", "tests.lifecycle.small_registry"])
    return context


def dies(target: Callable[..., None], *args: Any) -> None:
    """Run a target in another process and see it killed."""
    child = processes().Process(target=target, args=args)
    child.start()
    child.join(300)
    assert child.exitcode == -signal.SIGKILL
