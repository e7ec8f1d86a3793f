"""Combinatorial cross-validation of a family: every split fitted once, the forecasts joined into backtest paths."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import numpy as np

from fxgpt_core.common.forecast import Forecast, concat
from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.evaluation.combinatorial import CombinatorialSplits
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.registry import FamilyEntry
from fxgpt_core.store.clock import Clock, to_datetime64
from fxgpt_core.training.plan import TrainingPlan


def run_combinatorial(
    dataset: Dataset,
    entry: FamilyEntry,
    config: Any,
    splits: CombinatorialSplits,
    plan: TrainingPlan,
    clock: Clock,
    progress: Progress = silent,
) -> tuple[Forecast, ...]:
    """Return one forecast of all usable bars per path (López de Prado 2018, section 12.4), of origin `combinatorial`.

    C(N, k) fits give C(N − 1, k − 1) paths; each (split, group) is used on one path only. Paths share models and
    labels, so their scores are no independent draws; their spread says how far a result hangs on one course of history.
    `plan.checkpoints` gets one folder a split, removed when the split is forecast.
    """
    made: list[Forecast] = []
    for number, split in enumerate(splits.splits):
        progress(f"{entry.label}: split", number, len(splits.splits))
        folder = plan.checkpoints / split.name if plan.checkpoints else None
        forecaster = entry.create(config)
        forecaster.fit(dataset.with_split(split), replace(plan, checkpoints=folder), progress)
        stamp = Provenance(f"{entry.name}/{split.name}", to_datetime64(clock.now()), "combinatorial")
        made.append(forecaster.forecast(dataset, np.flatnonzero(split.test), stamp, plan.seed))
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
    progress(f"{entry.label}: split", len(made), len(made))
    return tuple(_path(splits, made, number) for number in range(len(splits.paths)))


def _path(splits: CombinatorialSplits, made: list[Forecast], number: int) -> Forecast:
    """Join the group forecasts of one path in time order."""
    parts = []
    for split, rows in splits.path(number):
        wanted = np.searchsorted(np.flatnonzero(splits.splits[split].test), rows)
        parts.append(made[split].take(wanted))
    return concat(parts)
