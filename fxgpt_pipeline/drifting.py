"""Judging drift of a symbol from what is stored: its champion, the span that it was trained on, the last days."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast, concat
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.evaluation.fold_edges import newest_window
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.lifecycle.bundle import Bundle, load_bundle
from fxgpt_core.lifecycle.champion_watch import ALERT, CAUSE
from fxgpt_core.lifecycle.drift.assess import said_tables
from fxgpt_core.lifecycle.drift.columns import DriftTable, drift_table, online_rows
from fxgpt_core.lifecycle.drift.feed import Pulse
from fxgpt_core.lifecycle.drift.reference import VOLATILITY, DriftReference, build_reference
from fxgpt_core.lifecycle.drift.report import write_drift_report
from fxgpt_core.lifecycle.drift.stored import StoredReferences
from fxgpt_core.lifecycle.drift.verdict import DriftVerdict, judge, unjudged
from fxgpt_core.lifecycle.drift.volatility import volatility_table
from fxgpt_core.lifecycle.drift.watch import OnlineWatch, drift_states
from fxgpt_core.lifecycle.registry import CHAMPION, ModelVersion
from fxgpt_core.market.history import last_close
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.walk_forward import read_walk_forward
from fxgpt_core.store.alerts import alerts_between
from fxgpt_core.store.clock import to_datetime64
from fxgpt_core.store.rows import aware
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.outputs import report_path
from fxgpt_pipeline.serving import dataset_of
from fxgpt_pipeline.stages import DRIFT

DOCUMENT = "drift"
_REFERENCE_VERSION = "2"
_MARGIN = np.timedelta64(5, "D")
"""Decisions so long before the window may become known inside it: the longest horizon comes on top, and a weekend."""


@dataclass(frozen=True)
class Served:
    """A model version with its bundle, and the symbol's data in the layout that it was trained on."""

    version: ModelVersion
    bundle: Bundle
    dataset: Dataset

    @property
    def trained_until(self) -> np.datetime64:
        """End of the last label that the model saw."""
        return np.datetime64(self.bundle.card.trained_until, "ns")


def judge_drift(lineage: Lineage) -> DriftVerdict:
    """Judge the last days of a symbol against its champion's training span, or all history before one exists.

    The verdict before this one decides about the onset. Judging the same window again, after a crash say, gives the
    same verdict, because the one before it is stored beside it. Where a later window of the same model was judged
    meanwhile, that verdict stands. A span too short for thresholds is not judged.
    """
    documents, symbol, config = lineage.workspace.documents, lineage.symbol, lineage.settings.drift
    served = _champion(lineage)
    dataset = lineage.dataset() if served is None else served.dataset
    model, now = "" if served is None else served.version.label, dataset.known_at[-1]
    stored, newest = documents.find(DOCUMENT, symbol), last_close(lineage.workspace.lake, symbol, lineage.timeframes[0])
    if stored is not None and stored["verdict"].get("model", "") == model and now < _ended(stored["verdict"]) <= newest:
        return DriftVerdict.from_dict(stored["verdict"])  # a run that began before it knows fewer bars
    before = _before(stored, now, model)
    previous = None if before is None else DriftVerdict.from_dict(before)
    table, online, pulse = drift_table(dataset, config), None, Pulse.of(dataset.candles)
    reference: DriftReference | None = None
    try:
        reference = _without_model(lineage, dataset) if served is None else reference_for(lineage, served)
    except DataError as error:
        verdict = unjudged(symbol, model, now, config, str(error).rstrip("."), previous)
    else:
        forecast = None if served is None else _window_forecast(lineage, served, now)
        said = _said(dataset, forecast, Outcomes.from_dataset(dataset))
        online = None if served is None else _watch(lineage, reference).observe(dataset)
        verdict = judge(reference, table, now, config, previous, said, online, pulse)
    write_drift_report(reference, table, verdict, report_path(lineage).parent, config)
    value = {
        "verdict": verdict.to_dict(),
        "before": before,
        "summary": verdict.summary,
        "model": model,
        "family": None if served is None else served.version.family,
        "online": None if online is None else asdict(online),
        "live_onsets": _live_onsets(lineage, now),
        "last_moved": str(pulse.last(now)),
        "judged_against": None if reference is None else f"{reference.start} to {reference.end}",
    }
    documents.write(DOCUMENT, symbol, value, lineage.fingerprint(DRIFT))
    return verdict


def online_watch(lineage: Lineage, version: ModelVersion) -> OnlineWatch:
    """Return what watches a symbol bar by bar against the training span of `version`, for loops that forecast live.

    Call `observe(feed.dataset)` after each closed bar; its state is shared with the daily verdict. The symbol's data
    are read only where the reference is not stored yet. Raises DataError where the training span is too short for
    thresholds.
    """
    registry = lineage.workspace.registry
    key = _reference_key(lineage, load_bundle(registry.folder(version)).card.feature_hash)
    stored = StoredReferences(registry).find(version, key)
    return _watch(lineage, reference_for(lineage, _serve(lineage, version)) if stored is None else stored)


def _watch(lineage: Lineage, reference: DriftReference) -> OnlineWatch:
    states = drift_states(lineage.workspace.database, reference)
    return OnlineWatch(reference, lineage.settings.drift, states)


def reference_for(lineage: Lineage, served: Served) -> DriftReference:
    """Return the drift reference of a version: stored with it, or built once from its training span and stored.

    The span ends a window before the training did, so that no window ever takes part in its own threshold. Predictions,
    residuals and PIT values are those of the family's walk-forward folds: a model's own forecasts of its training rows
    would look better than it is. Raises DataError where the span is too short.
    """
    stored = StoredReferences(lineage.workspace.registry)
    key = _reference_key(lineage, served.dataset.definition_hash)
    found = stored.find(served.version, key)
    if found is None:
        found = _build(lineage, served)
        stored.save(served.version, key, found)
    return found


def _reference_key(lineage: Lineage, features: str) -> str:
    """Return what a reference depends on besides its version: settings, seed, and the definition of the features."""
    config, seed = lineage.settings.drift, lineage.settings.seed
    return stable_hash([_REFERENCE_VERSION, config.model_dump(mode="json"), seed, features])


def _build(lineage: Lineage, served: Served) -> DriftReference:
    dataset, config = served.dataset, lineage.settings.drift
    folds, note = _fold_forecast(lineage, served)
    start, end = _training_start(lineage, served), served.trained_until - np.timedelta64(config.window_days, "D")
    return build_reference(
        drift_table(dataset, config),
        start,
        end,
        config,
        lineage.settings.seed,
        _said(dataset, folds, Outcomes.from_dataset(dataset).known_at(served.trained_until)),
        served.version.label,
        (note,),
        online_rows(dataset, config),
        Pulse.of(dataset.candles).longest(start, end),
        levels=True,
    )


def _said(dataset: Dataset, forecast: Forecast | None, outcomes: Outcomes) -> dict[str, DriftTable]:
    """Return what is judged besides the features: forecasts, where there are any, and the bars themselves."""
    return {**said_tables(forecast, outcomes), VOLATILITY: volatility_table(dataset.candles)}


def _training_start(lineage: Lineage, served: Served) -> np.datetime64:
    """Return when the first bar was known that the model could train on."""
    known_at, split = served.dataset.known_at, lineage.settings.walk_forward
    bars = np.flatnonzero(served.dataset.usable & (known_at <= served.trained_until))
    if not len(bars):
        raise DataError(f"{served.version.label} was trained on bars that are gone: import them again.")
    first: np.datetime64 = known_at[int(bars[newest_window(known_at[bars], split) if split.mode == "rolling" else 0])]
    return first


def _without_model(lineage: Lineage, dataset: Dataset) -> DriftReference:
    """Return the reference of all history before the window; it belongs to no model and is stored nowhere."""
    config, usable = lineage.settings.drift, np.flatnonzero(dataset.usable)
    if not len(usable):
        raise DataError(f"{lineage.symbol} has no bar past the warm-up: import more history.")
    end = dataset.known_at[-1] - np.timedelta64(config.window_days, "D")
    start, table = dataset.known_at[int(usable[0])], drift_table(dataset, config)
    notes, silence = (
        ("no champion yet: features and volatility alone are judged, against all history",),
        Pulse.of(dataset.candles),
    )
    return build_reference(
        table, start, end, config, lineage.settings.seed, {VOLATILITY: volatility_table(dataset.candles)}, notes=notes,
        silence=silence.longest(start, end), levels=True,
    )  # fmt: skip


def _live_onsets(lineage: Lineage, now: np.datetime64) -> list[dict[str, str]]:
    """Return the alarms that live loops raised bar by bar since the window began, newest first: `at`, `said`."""
    since = aware(now - np.timedelta64(lineage.settings.drift.window_days, "D"))
    workspace = lineage.workspace
    found = alerts_between(workspace.database, since, workspace.clock.now(), lineage.symbol)
    return [
        {"at": f"{to_datetime64(alert.at).astype('datetime64[s]')}Z", "said": alert.body}
        for alert in found
        if alert.kind == ALERT and alert.cause.startswith(CAUSE)
    ]


def _champion(lineage: Lineage) -> Served | None:
    registry = lineage.workspace.registry
    version = registry.holder(lineage.symbol, CHAMPION)
    return None if version is None else _serve(lineage, version)


def _serve(lineage: Lineage, version: ModelVersion) -> Served:
    registry = lineage.workspace.registry
    bundle = load_bundle(registry.folder(version))
    return Served(version, bundle, dataset_of(lineage, bundle))


def _fold_forecast(lineage: Lineage, served: Served) -> tuple[Forecast | None, str]:
    """Return the family's out-of-sample forecasts up to the end of the training, and a sentence about them."""
    family, horizons = served.version.family, tuple(served.bundle.card.horizons)
    try:
        made = read_walk_forward(lineage.workspace.lake, lineage.symbol, family).forecast
    except DataError:
        return None, f"no walk-forward forecasts of {family}: its predictions are not judged"
    if made.horizons != horizons:
        return None, f"walk-forward forecasts of {family} have other horizons: its predictions are not judged"
    made = made.take(made.decided_at <= served.trained_until)
    if not len(made):
        return None, f"walk-forward forecasts of {family} begin after its training: its predictions are not judged"
    return made, f"predictions of the training span are those of {family}'s walk-forward folds, out of sample"


def _window_forecast(lineage: Lineage, served: Served, now: np.datetime64) -> Forecast | None:
    """Return what is known of the window out of sample: folds up to the end of the training, then the model itself."""
    known_at = served.dataset.known_at
    longest = np.timedelta64(int(max(served.bundle.card.horizons)), "m")
    since = now - np.timedelta64(lineage.settings.drift.window_days, "D") - longest - _MARGIN
    parts = []
    folds, _ = _fold_forecast(lineage, served)
    if folds is not None:
        parts.append(folds.take(folds.decided_at > since))
    rows = np.flatnonzero(served.dataset.usable & (known_at > max(since, served.trained_until)) & (known_at <= now))
    if len(rows):
        made_at = to_datetime64(lineage.workspace.clock.now())
        stamp = Provenance(served.version.label, made_at, "backfill")
        parts.append(served.bundle.raw(served.dataset, rows, stamp, lineage.settings.seed))
    parts = [part for part in parts if len(part)]
    return concat(parts) if parts else None


def _ended(verdict: dict[str, Any]) -> np.datetime64:
    return np.datetime64(str(verdict["window_end"]).removesuffix("Z"), "ns")


def _before(stored: dict[str, Any] | None, now: np.datetime64, model: str) -> dict[str, Any] | None:
    """Return the verdict before this one: that of the last look, or the one before it where it is looked at again."""
    if stored is None:
        return None
    last: dict[str, Any] = stored["verdict"]
    again = last["window_end"] == f"{now.astype('datetime64[s]')}Z" and last.get("model", "") == model
    return stored["before"] if again else last
