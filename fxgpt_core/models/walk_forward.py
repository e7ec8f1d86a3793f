"""Out-of-sample forecasts of a whole span: fit on each fold's past, forecast the fold, keep what is done."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast, concat
from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.evaluation.archive import read_part, write_part
from fxgpt_core.evaluation.degradation import InSample, score_in_sample, training_rows
from fxgpt_core.features.dataset import Dataset, Split
from fxgpt_core.market.lake import Lake, Manifest
from fxgpt_core.models.fold_inputs import last_bar
from fxgpt_core.models.forecaster import FitReport, Forecaster, Provenance
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
    """Finished folds of one family in the lake, each valid only for what it was made from.

    `fingerprint` is that of the whole stage; `inputs` has, by fold name, the fingerprint of that fold alone
    (`fold_inputs.fold_fingerprints`). Opening the store keeps the folds whose fingerprint is still wanted, whatever
    else has changed, and removes the others. `dataset` keeps forecasts apart that are no official ones.
    """

    def __init__(
        self,
        lake: Lake,
        symbol: str,
        family: str,
        fingerprint: str,
        inputs: Mapping[str, str],
        dataset: str = DATASET,
    ) -> None:
        self.lake, self.keys, self.inputs = lake, {"symbol": symbol, "family": family}, dict(inputs)
        self.dataset = dataset
        manifest, parts = lake.read_manifest(dataset, self.keys), lake.parts(dataset, self.keys)
        made = {} if manifest is None else manifest.extra.get("made", {})
        kept = {name: own for name, own in made.items() if inputs.get(name) == own and f"fold={name}" in parts}
        if manifest is None or manifest.fingerprint != fingerprint or kept != made:
            # The manifest goes first: a crash in between leaves parts that nobody trusts.
            inside = {} if manifest is None else manifest.extra.get("in_sample", {})
            extra = {"folds": sorted(kept), "made": kept, "in_sample": {f: v for f, v in inside.items() if f in kept}}
            lake.write_manifest(dataset, self.keys, Manifest(fingerprint, "walk_forward", {}, {}, extra))
            lake.remove(dataset, self.keys, [part for part in parts if part.removeprefix("fold=") not in kept])

    def done(self) -> list[str]:
        """Return the names of finished folds."""
        return _finished(self.lake, self.dataset, self.keys)

    def save(self, fold: str, forecast: Forecast, in_sample: InSample) -> None:
        """Write a fold, then record it as finished, with the scores of its model on training rows."""
        write_part(self.lake, self.dataset, self.keys["symbol"], self.keys["family"], f"fold={fold}", forecast)
        manifest = self.lake.read_manifest(self.dataset, self.keys)
        if manifest is None:
            raise DataError(f"The manifest of {self.dataset} {self.keys} vanished while folds were written; run again.")
        made = {**manifest.extra["made"], fold: self.inputs[fold]}
        inside = {**manifest.extra.get("in_sample", {}), fold: in_sample.to_dict()}
        extra = {**manifest.extra, "folds": sorted(made), "made": made, "in_sample": inside}
        self.lake.write_manifest(self.dataset, self.keys, replace(manifest, extra=extra))


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

    A fold sees the bars up to the last one that it tests and none after, in its fit as in its forecasts.
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
        seen = dataset.with_split(split).head(last_bar(split))
        report = forecaster.fit(seen, replace(plan, checkpoints=folder), progress)
        stamp = Provenance(f"{entry.name}@{folds.inputs[split.name]}/{split.name}", to_datetime64(clock.now()), "fold")
        made = forecaster.forecast(seen, np.flatnonzero(split.test), stamp, plan.seed)
        folds.save(split.name, made, _in_sample(forecaster, seen, split.head(len(seen)), stamp, plan.seed))
        reports[split.name] = report
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
    progress(f"{entry.label}: fold", len(splits), len(splits))
    return _load(folds.lake, folds.dataset, folds.keys, reports)


def _in_sample(forecaster: Forecaster, seen: Dataset, split: Split, stamp: Provenance, seed: int) -> InSample:
    rows = training_rows(seen, split)
    if not len(rows):
        return InSample(0, ())
    return score_in_sample(seen, rows, forecaster.forecast(seen, rows, replace(stamp, origin="in_sample"), seed))


def read_walk_forward(lake: Lake, symbol: str, family: str) -> WalkForward:
    """Read the stored walk-forward forecasts of a family, whatever they were made from; raises DataError without."""
    return _load(lake, DATASET, {"symbol": symbol, "family": family}, {})


def read_in_sample(lake: Lake, symbol: str, family: str) -> dict[str, InSample]:
    """Return by fold how its model scores on training rows; folds of earlier versions have no such scores."""
    manifest = lake.read_manifest(DATASET, {"symbol": symbol, "family": family})
    stored = {} if manifest is None else manifest.extra.get("in_sample", {})
    return {fold: InSample.from_dict(values) for fold, values in stored.items()}


def _finished(lake: Lake, dataset: str, keys: dict[str, str]) -> list[str]:
    manifest = lake.read_manifest(dataset, keys)
    return [] if manifest is None else list(manifest.extra["folds"])


def _load(lake: Lake, dataset: str, keys: dict[str, str], reports: dict[str, FitReport]) -> WalkForward:
    """Read all finished folds in time order; raises DataError when there is none."""
    symbol, family = keys["symbol"], keys["family"]
    names = _finished(lake, dataset, keys)
    if not names:
        raise DataError(f"No walk-forward forecasts of {family} for {symbol}: materialise walk_forward/{family}.")
    read = (read_part(lake, dataset, symbol, family, f"fold={name}") for name in names)
    parts = sorted(read, key=lambda part: part.decided_at[0])
    numbers = np.concatenate([np.full(len(part), i, dtype=np.int64) for i, part in enumerate(parts)])
    return WalkForward(concat(parts), numbers, reports)
