"""Groundwork of a family's candidate: made by a stage of its own, versioned, laid where the candidate's fit looks."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.progress import Progress
from fxgpt_core.evaluation.splits import final_split
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.lifecycle.groundwork_versions import GroundworkVersion, GroundworkVersions
from fxgpt_core.lifecycle.registry import TrainingRecord
from fxgpt_core.models.examples import example_rows
from fxgpt_core.models.forecaster import FitReport
from fxgpt_core.models.groundwork import Groundwork
from fxgpt_core.models.registry import FamilyEntry
from fxgpt_core.reports.groundwork_page import GroundworkPage, render_groundwork
from fxgpt_core.store.documents import write_atomically
from fxgpt_core.training.plan import TrainingPlan, plan_training
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.outputs import groundwork_name, groundwork_path
from fxgpt_pipeline.stages import groundwork

_WINDOWS = 3  # that the page shows
NOTHING = "nothing to make: the configuration names one that is published"


@dataclass(frozen=True)
class Made:
    """What a stage of groundwork left: the version, the fit that made it and the page; None each where none is needed
    or nothing had to be made."""

    version: GroundworkVersion | None
    fit: FitReport | None
    page: Path | None


def make_groundwork(lineage: Lineage, entry: FamilyEntry, part: Groundwork, run_id: str, progress: Progress) -> Made:
    """Make one part of a family on everything known and register it; a version that exists is returned without a fit.

    It learns from the bars that the candidate learns from. Folds of the walk-forward never use it: it has seen theirs.
    """
    workspace, key = lineage.workspace, groundwork(entry.name, part.name)
    fingerprint, versions = lineage.fingerprint(key), _versions(lineage, entry, part)
    known, document = versions.find(fingerprint), groundwork_name(entry.name, part.name)
    if known is not None and groundwork_path(lineage, entry.name, part.name).exists():
        workspace.documents.write(document, lineage.symbol, {"version": known.label}, fingerprint)
        return Made(known, None, groundwork_path(lineage, entry.name, part.name))
    dataset, started = lineage.dataset(), workspace.clock.now()
    dataset = dataset.with_split(final_split(dataset, lineage.settings.walk_forward))
    scratch = workspace.home.scratch / lineage.symbol / entry.name / f"{part.name}_{fingerprint}"
    plan = plan_training(lineage.settings.seed, scratch, accelerated=entry.accelerated)
    if known is not None:
        versions.fetch(known, scratch / part.name)
    config = lineage.family_config(entry.name)
    fit = part.fit(config, dataset, plan, progress)
    if fit is None:
        groundwork_path(lineage, entry.name, part.name).unlink(missing_ok=True)
        workspace.documents.write(document, lineage.symbol, {"version": NOTHING}, fingerprint)
        return Made(None, None, None)
    version = versions.register(
        scratch / part.name, _record(lineage, dataset, config, fit, fingerprint, run_id, started)
    )
    page = _write_page(lineage, entry, part, dataset, plan, fit, version)
    workspace.documents.write(document, lineage.symbol, {"version": version.label}, fingerprint)
    shutil.rmtree(scratch, ignore_errors=True)
    return Made(version, fit, page)


def place_groundwork(lineage: Lineage, entry: FamilyEntry, folder: Path) -> None:
    """Lay the registered groundwork of a family where a fit with checkpoints in `folder` finds it.

    Where none is registered the fit makes its own, and where one is half made by an interrupted fit it stays.
    """
    for part in entry.groundwork:
        fingerprint = lineage.fingerprint(groundwork(entry.name, part.name))
        found = _versions(lineage, entry, part).find(fingerprint)
        if found is not None and not (folder / part.name).exists():
            _versions(lineage, entry, part).fetch(found, folder / part.name)


def _versions(lineage: Lineage, entry: FamilyEntry, part: Groundwork) -> GroundworkVersions:
    return GroundworkVersions(lineage.workspace.registry, lineage.symbol, entry.name, part.name)


def _record(
    lineage: Lineage,
    dataset: Dataset,
    config: Any,
    fit: FitReport,
    fingerprint: str,
    run_id: str,
    started: datetime,
) -> TrainingRecord:
    assert dataset.split is not None  # given by the caller
    tags = {
        "fingerprint": fingerprint,
        "trained_until": str(dataset.split.trained_until),
        "data_start": str(dataset.candles.ts_utc[0]),
        "config_hash": stable_hash(config.model_dump(mode="json")),
        "dagster_run": run_id,
        "started_at": started.isoformat(),
        "fit_seconds": f"{fit.seconds:.3f}",
    }
    return TrainingRecord({"seed": lineage.settings.seed, "rows": fit.rows}, dict(fit.metrics), dict(fit.curves), tags)


def _write_page(
    lineage: Lineage,
    entry: FamilyEntry,
    part: Groundwork,
    dataset: Dataset,
    plan: TrainingPlan,
    fit: FitReport,
    version: GroundworkVersion,
) -> Path:
    """Show windows that end on validation bars: the newest, and others before."""
    split = dataset.split
    assert split is not None  # given by the caller
    rows = example_rows(dataset, split.validation.any(axis=1), _WINDOWS)
    page = GroundworkPage(
        symbol=lineage.symbol,
        family=entry.label,
        label=part.label,
        made_at=lineage.workspace.clock.now().strftime("%Y-%m-%d %H:%M UTC"),
        version=version.label,
        trained_until=np.datetime_as_string(split.trained_until, unit="m").replace("T", " "),
        fit=fit,
        shown=part.show(lineage.family_config(entry.name), dataset, plan, rows[::-1].copy()),
    )
    return write_atomically(groundwork_path(lineage, entry.name, part.name), render_groundwork(page))
