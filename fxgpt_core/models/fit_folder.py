"""The folder of a fit that may be interrupted: which fit it belongs to, and the marker that says it is finished."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fxgpt_core.common.config import Config
from fxgpt_core.common.hashing import bytes_hash, stable_hash
from fxgpt_core.features.dataset import Dataset, Split
from fxgpt_core.models.examples import show_examples
from fxgpt_core.models.forecaster import FitReport, Forecaster
from fxgpt_core.training.plan import TrainingPlan

FINISHED = "fitted"
_FIT = "fit.json"


def fingerprint(config: Config, dataset: Dataset, split: Split, plan: TrainingPlan) -> str:
    """Return a hash of everything that decides a fit: configuration, data, split, seed, precision."""
    bars = dataset.candles
    arrays = [dataset.targets, dataset.yardstick, dataset.label_end, dataset.last_known, split.train, split.validation]
    arrays += [bars.ts_utc, bars.open, bars.high, bars.low, bars.close, bars.volume, bars.spread]
    arrays += [table.values for table in dataset.tables.values()]
    return stable_hash(
        {
            "config": config.model_dump(mode="json"),
            "data": [dataset.symbol, dataset.definition_hash, list(dataset.horizons), list(dataset.tables)],
            "arrays": [bytes_hash(np.ascontiguousarray(values).tobytes()) for values in arrays],
            "trained_until": str(split.trained_until),
            "restarts": list(split.restarts),
            "plan": [plan.seed, plan.precision],
        }
    )


class Kept(Forecaster, Protocol):
    """A model whose fit a folder keeps."""

    config: Any

    def to(self, device: str) -> None: ...


def fit_once(
    model: Kept, dataset: Dataset, split: Split, plan: TrainingPlan, train: Callable[[], FitReport]
) -> FitReport:
    """Let `train` fit the model, going on with an interrupted fit of the same kind in `plan.checkpoints`, or load the
    finished one that lies there; what lies there of another fit is removed. Without such a folder nothing is kept.
    What was trained shows its examples to whoever watches the plan."""
    folder = plan.checkpoints
    if folder is None:
        report = train()
        show_examples(model, dataset, split, plan)
        return report
    wanted = fingerprint(model.config, dataset, split, plan)
    done = finished(folder, wanted)
    if done is not None:
        model.load(folder / FINISHED)
        model.to(plan.device)
        return done
    prepare(folder, wanted)
    report = train()
    model.save(folder / FINISHED)
    finish(folder, wanted, report)
    show_examples(model, dataset, split, plan)
    return report


def prepare(folder: Path, wanted: str) -> None:
    """Make `folder` hold state of the fit `wanted` only: what belongs to another one is removed."""
    started = folder / _FIT
    if started.is_file() and _fit_of(started).get("fingerprint") == wanted:
        return
    for path in (*folder.glob("*.ckpt"), started):
        path.unlink(missing_ok=True)
    shutil.rmtree(folder / FINISHED, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    started.write_text(json.dumps({"fingerprint": wanted}), encoding="utf-8")


def finish(folder: Path, wanted: str, report: FitReport) -> None:
    """Mark the fit as finished and drop its checkpoints; the marker is written last, in one rename."""
    partial = folder / "fit.partial"
    partial.write_text(json.dumps({"fingerprint": wanted, "report": asdict(report)}), encoding="utf-8")
    partial.replace(folder / _FIT)
    for path in folder.glob("*.ckpt"):
        path.unlink()


def finished(folder: Path, wanted: str) -> FitReport | None:
    """Return the report of a finished fit `wanted` in `folder`, None where there is none."""
    values = _fit_of(folder / _FIT)
    if values.get("fingerprint") != wanted or "report" not in values:
        return None
    report = values["report"]
    curves = {name: tuple(points) for name, points in report["curves"].items()}
    notes = (*report["notes"], "loaded from a finished fit")
    return FitReport(report["rows"], report["seconds"], report["metrics"], curves, notes, tuple(report.get("plan", ())))


def _fit_of(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}  # cut off while being written: as good as absent
    return values if isinstance(values, dict) else {}
