"""Training steps of the lineage: out-of-sample folds and the candidate that is registered."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from fxgpt_core.calibration.conformal import ConformalCalibrator
from fxgpt_core.common.errors import DataError, FxgptError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.progress import Progress
from fxgpt_core.evaluation.splits import final_split, walk_forward
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.lifecycle.bundle import Bundle, Card, save_bundle
from fxgpt_core.lifecycle.novelty import novelty_reference
from fxgpt_core.lifecycle.registry import ModelVersion, TrainingRecord, model_name
from fxgpt_core.lifecycle.training_run import TrainingRun
from fxgpt_core.models.examples import example_rows
from fxgpt_core.models.fold_inputs import fold_fingerprints
from fxgpt_core.models.forecaster import FitReport
from fxgpt_core.models.registry import FamilyEntry
from fxgpt_core.models.walk_forward import DATASET, FoldStore, WalkForward, read_walk_forward, run_walk_forward
from fxgpt_core.store.trainings import Fitted, begin_training, fail_training, record_training
from fxgpt_core.training.plan import TrainingPlan, plan_training
from fxgpt_pipeline.evaluating import calibrator_name
from fxgpt_pipeline.groundwork import place_groundwork
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.stages import candidate
from fxgpt_pipeline.stages import walk_forward as walk_forward_key


def walk_forward_forecasts(
    lineage: Lineage, entry: FamilyEntry, progress: Progress, seed: int | None = None, afresh: bool = False
) -> WalkForward:
    """Forecast every fold of a symbol by one family; finished folds made from the same inputs are kept.

    With a `seed` of its own the forecasts are kept apart from the official ones, whose seed is the settings'. `afresh`
    forgets finished folds and interrupted fits first.
    """
    dataset, fingerprint = lineage.dataset(), lineage.fingerprint(walk_forward_key(entry.name))
    splits = walk_forward(dataset, lineage.settings.walk_forward)
    own = lineage.settings.seed if seed is None else seed
    inputs = fold_fingerprints(dataset, splits, _recipe(lineage, entry, own))
    kept = DATASET if seed is None else f"{DATASET}_seed_{seed}"
    plan = _plan(lineage, entry, fingerprint if seed is None else f"{fingerprint}_{seed}", own)
    if afresh:
        FoldStore(lineage.workspace.lake, lineage.symbol, entry.name, "", {}, kept)  # nothing is wanted: nothing stays
        shutil.rmtree(_scratch(lineage, entry, fingerprint), ignore_errors=True)
    return run_walk_forward(
        dataset,
        entry,
        lineage.family_config(entry.name),
        splits,
        FoldStore(lineage.workspace.lake, lineage.symbol, entry.name, fingerprint, inputs, kept),
        plan,
        lineage.workspace.clock,
        progress,
    )


def _recipe(lineage: Lineage, entry: FamilyEntry, seed: int) -> str:
    """Return a hash of what a fold depends on besides data: the parts of the stage's fingerprint that are no data."""
    return stable_hash(
        {
            "code": lineage.stages[walk_forward_key(entry.name)].code_version,
            "family": [entry.name, entry.code_version],
            "config": lineage.family_config(entry.name).model_dump(mode="json"),
            "seed": seed,
        }
    )


def train_candidate(
    lineage: Lineage, entry: FamilyEntry, run_id: str, progress: Progress
) -> tuple[ModelVersion, FitReport | None]:
    """Train on everything known and register the result; a version that exists already is returned without a fit."""
    workspace, fingerprint = lineage.workspace, lineage.fingerprint(candidate(entry.name))
    known = workspace.registry.find(lineage.symbol, fingerprint)
    if known is not None:
        # Registered before a crash, perhaps: the operational database still learns of it.
        _index(lineage, entry, known)
        return known, None
    dataset = lineage.dataset()
    split = final_split(dataset, lineage.settings.walk_forward)
    watch = TrainingRun(workspace.registry, lineage.symbol, entry.name, fingerprint, workspace.clock)
    plan = replace(_plan(lineage, entry, fingerprint, lineage.settings.seed), watch=watch)
    forecaster = entry.create(lineage.family_config(entry.name))
    started = workspace.clock.now()
    place_groundwork(lineage, entry, _scratch(lineage, entry, fingerprint))
    with _recorded(lineage, entry, fingerprint, run_id, started, dataset, plan):
        fit = forecaster.fit(dataset.with_split(split), plan, progress)
    if fit.curves:  # only what learns by epochs has a run of its own
        _show_windows(lineage, entry, dataset, watch)
    watch.finish()
    saved = workspace.documents.read(calibrator_name(entry.name), lineage.symbol)
    calibrator = None if saved is None else ConformalCalibrator.from_dict(saved)
    card = _card(lineage, entry, dataset, fingerprint, split.trained_until, fit)
    folder = _scratch(lineage, entry, fingerprint) / "bundle"
    shutil.rmtree(folder, ignore_errors=True)
    novelty = novelty_reference(dataset, np.flatnonzero(split.train.any(axis=1) | split.validation.any(axis=1)))
    save_bundle(Bundle(card, forecaster, calibrator, novelty), folder)
    record = _record(lineage, card, fit, run_id, started)
    made = workspace.registry.register(lineage.symbol, entry.name, folder, record)
    _index(lineage, entry, made)
    shutil.rmtree(_scratch(lineage, entry, fingerprint), ignore_errors=True)
    return made, fit


def _show_windows(lineage: Lineage, entry: FamilyEntry, dataset: Dataset, watch: TrainingRun) -> None:
    """Show ten windows that the family forecast out of sample: the candidate itself has learned from all of them."""
    try:
        made = read_walk_forward(lineage.workspace.lake, lineage.symbol, entry.name).forecast
    except DataError:  # a family trained for the first time may have none yet
        return
    rows = example_rows(dataset, np.isin(dataset.known_at, made.decided_at))
    watch.forecasts(dataset, made.take(np.isin(made.decided_at, dataset.known_at[rows])))


def _plan(lineage: Lineage, entry: FamilyEntry, fingerprint: str, seed: int) -> TrainingPlan:
    return plan_training(seed, _scratch(lineage, entry, fingerprint), accelerated=entry.accelerated)


def _scratch(lineage: Lineage, entry: FamilyEntry, fingerprint: str) -> Path:
    return lineage.workspace.home.scratch / lineage.symbol / entry.name / fingerprint


def _card(
    lineage: Lineage,
    entry: FamilyEntry,
    dataset: Dataset,
    fingerprint: str,
    trained_until: np.datetime64,
    fit: FitReport,
) -> Card:
    return Card(
        symbol=lineage.symbol,
        family=entry.name,
        fingerprint=fingerprint,
        trained_until=str(trained_until),
        timeframes=tuple(t.code for t in lineage.timeframes),
        horizons=lineage.horizons,
        price_side=dataset.candles.side,
        config=lineage.family_config(entry.name).model_dump(mode="json"),
        features=lineage.spec.model_dump(mode="json"),
        feature_hash=dataset.definition_hash,
        extra={
            "data_start": str(dataset.candles.ts_utc[0]),
            "bars": len(dataset),
            "seed": lineage.settings.seed,
            "notes": list(fit.notes),  # columns left out and what is suspect
        },
    )


@contextmanager
def _recorded(
    lineage: Lineage,
    entry: FamilyEntry,
    fingerprint: str,
    run_id: str,
    started: datetime,
    dataset: Dataset,
    plan: TrainingPlan,
) -> Iterator[None]:
    """Say in the operational database that a training runs, and why where it ends in an error."""
    database, begun = lineage.workspace.database, time.perf_counter()
    begin_training(
        database,
        symbol=lineage.symbol,
        family=entry.name,
        name=fingerprint,
        started_at=started,
        data_start=dataset.candles.ts_utc[0],
        data_end=dataset.known_at[-1],
        device=plan.device if plan.devices == 1 else f"{plan.devices} x {plan.device}",
        hyperparameters=lineage.family_config(entry.name).model_dump(mode="json"),
        dagster_run_id=run_id,
    )
    try:
        yield
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        try:
            fail_training(database, lineage.symbol, entry.name, fingerprint, said, time.perf_counter() - begun)
        except FxgptError as second:  # the first error is the one to tell
            error.add_note(f"It could not be recorded: {second}")
        raise


def _index(lineage: Lineage, entry: FamilyEntry, version: ModelVersion) -> None:
    """Point the operational database at a registered version; doing it again changes nothing."""
    tags, registry = version.tags, lineage.workspace.registry
    numbers = {name: float(tags[name]) for name in ("train_loss", "validation_loss") if name in tags}
    record_training(
        lineage.workspace.database,
        symbol=lineage.symbol,
        family=entry.name,
        mlflow_version=version.version,
        trained_until=np.datetime64(tags["trained_until"]),
        started_at=datetime.fromisoformat(tags["started_at"]),
        fitted=Fitted(
            float(tags["fit_seconds"]),
            best_epoch=int(tags["best_epoch"]) if "best_epoch" in tags else None,
            train_loss=numbers.get("train_loss"),
            validation_loss=numbers.get("validation_loss"),
            metrics=registry.metrics(version),
        ),
        name=tags["fingerprint"],
        dagster_run_id=tags["dagster_run"],
        config=lineage.family_config(entry.name).model_dump(mode="json"),
        path=f"models:/{model_name(lineage.symbol)}/{version.version}",
        size=sum(file.stat().st_size for file in registry.folder(version).rglob("*") if file.is_file()),
    )


def _best_epoch(fit: FitReport) -> dict[str, str]:
    """Return the epoch whose weights were kept, from 1, and its losses; nothing for a fit without epochs."""
    validated = next((values for name, values in fit.curves.items() if name.startswith("validation_")), ())
    if not validated:
        return {}
    best = int(np.argmin(validated))
    found = {"best_epoch": str(best + 1), "validation_loss": repr(float(validated[best]))}
    if len(fit.curves.get("train_loss", ())) > best:
        found["train_loss"] = repr(float(fit.curves["train_loss"][best]))
    return found


def _record(lineage: Lineage, card: Card, fit: FitReport, run_id: str, started: datetime) -> TrainingRecord:
    tags = {
        "fingerprint": card.fingerprint,
        "trained_until": card.trained_until,
        "data_start": str(card.extra["data_start"]),
        "feature_hash": card.feature_hash,
        "config_hash": stable_hash(dict(card.config)),
        "dagster_run": run_id,
        "started_at": started.isoformat(),
        "fit_seconds": f"{fit.seconds:.3f}",
        "code_version": lineage.stages[candidate(card.family)].code_version,
        **_best_epoch(fit),
    }
    params = {**_flat(dict(card.config)), "seed": card.extra["seed"], "rows": fit.rows, "bars": card.extra["bars"]}
    return TrainingRecord(params, {**fit.metrics, "fit_seconds": fit.seconds}, dict(fit.curves), tags)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            out.update(_flat(value, f"{prefix}{name}."))
        else:
            out[f"{prefix}{name}"] = value
    return out
