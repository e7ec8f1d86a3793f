"""Out-of-sample forecasts of a whole span: fit on each fold's past, forecast the fold, keep what is done."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast, concat
from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.evaluation.archive import read_part, write_part
from fxgpt_core.features.dataset import Dataset, Split
from fxgpt_core.market.lake import Lake, Manifest
from fxgpt_core.models.forecaster import FitReport, Provenance
from fxgpt_core.models.registry import FamilyEntry
from fxgpt_core.store.clock import Clock, to_datetime64
from fxgpt_core.training.plan import TrainingPlan

DATASET = "walk_forward"


@dataclass(frozen=True)
class WalkForward:
    """Forecasts of all folds in time order, the fold number of each row, and each fitted fold's report."""

    forecast: Forecast
    fold: np.ndarray[Any, np.dtype[np.int64]]
    reports: dict[str, FitReport]


class FoldStore:
    """Finished folds of one family in the lake, valid only for one fingerprint of inputs and configuration."""

    def __init__(self, lake: Lake, symbol: str, family: str, fingerprint: str) -> None:
        self.lake, self.keys, self.fingerprint = lake, {"symbol": symbol, "family": family}, fingerprint
        manifest = lake.read_manifest(DATASET, self.keys)
        if manifest is None or manifest.fingerprint != fingerprint:
            # The manifest goes first: a crash in between leaves parts that nobody trusts.
            lake.write_manifest(DATASET, self.keys, Manifest(fingerprint, "walk_forward", {}, {}, {"folds": []}))
            lake.remove(DATASET, self.keys, lake.parts(DATASET, self.keys))

    def done(self) -> list[str]:
        """Return the names of finished folds."""
        manifest = self.lake.read_manifest(DATASET, self.keys)
        return [] if manifest is None else list(manifest.extra["folds"])

    def load(self, fold: str) -> Forecast:
        """Read a finished fold."""
        return read_part(self.lake, DATASET, self.keys["symbol"], self.keys["family"], f"fold={fold}")

    def save(self, fold: str, forecast: Forecast) -> None:
        """Write a fold, then record it as finished."""
        write_part(self.lake, DATASET, self.keys["symbol"], self.keys["family"], f"fold={fold}", forecast)
        manifest = self.lake.read_manifest(DATASET, self.keys)
        if manifest is None:
            raise DataError(f"The manifest of {DATASET} {self.keys} vanished while folds were written; run again.")
        folds = sorted({*manifest.extra["folds"], fold})
        self.lake.write_manifest(DATASET, self.keys, replace(manifest, extra={**manifest.extra, "folds": folds}))


def run_walk_forward(
    dataset: Dataset,
    entry: FamilyEntry,
    config: Any,
    splits: Sequence[Split],
    folds: FoldStore,
    plan: TrainingPlan,
    clock: Clock,
    progress: Progress = silent,
    started: Callable[[str], None] = lambda _fold: None,
) -> WalkForward:
    """Fit and forecast every split not finished yet; a killed run loses at most the fold it was in.

    `plan.checkpoints` gets one folder a fold, removed when the fold is stored. Raises DataError without splits.
    """
    if not splits:
        raise DataError(f"{dataset.symbol}: no walk-forward split fits into {len(dataset)} bars; import more history.")
    reports: dict[str, FitReport] = {}
    finished = set(folds.done())
    for number, split in enumerate(splits):
        progress(f"{entry.label}: fold", number, len(splits))
        if split.name in finished:
            continue
        started(split.name)
        folder = plan.checkpoints / split.name if plan.checkpoints else None
        forecaster = entry.create(config)
        report = forecaster.fit(dataset.with_split(split), replace(plan, checkpoints=folder), progress)
        version = f"{entry.name}@{folds.fingerprint}/{split.name}"
        rows = np.flatnonzero(split.test)
        made = forecaster.forecast(dataset, rows, Provenance(version, to_datetime64(clock.now()), "fold"), plan.seed)
        folds.save(split.name, made)
        reports[split.name] = report
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
    progress(f"{entry.label}: fold", len(splits), len(splits))
    return load_walk_forward(folds, reports)


def load_walk_forward(folds: FoldStore, reports: dict[str, FitReport] | None = None) -> WalkForward:
    """Read all finished folds; raises DataError when there is none."""
    parts = sorted((folds.load(name) for name in folds.done()), key=lambda part: part.decided_at[0])
    numbers = np.concatenate([np.full(len(part), i, dtype=np.int64) for i, part in enumerate(parts)])
    return WalkForward(concat(parts), numbers, reports or {})


def read_walk_forward(lake: Lake, symbol: str, family: str) -> WalkForward:
    """Read the stored walk-forward forecasts of a family, whatever their fingerprint."""
    manifest = lake.read_manifest(DATASET, {"symbol": symbol, "family": family})
    if manifest is None or not manifest.extra["folds"]:
        raise DataError(f"No walk-forward forecasts of {family} for {symbol}: materialise walk_forward/{family}.")
    return load_walk_forward(FoldStore(lake, symbol, family, manifest.fingerprint))
