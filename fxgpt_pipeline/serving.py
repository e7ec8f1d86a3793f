"""Forecasting with registered models, as the command line and promotions need it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from fxgpt_core.common.errors import BadInputError, ModelError, StoreError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.timeframes import horizon_minutes, timeframe
from fxgpt_core.evaluation.result import Evaluation
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.lifecycle.bundle import Bundle, load_bundle
from fxgpt_core.lifecycle.live import forecast_latest
from fxgpt_core.lifecycle.online_calibration import calibrator_states, caught_up
from fxgpt_core.lifecycle.promotion import settle
from fxgpt_core.lifecycle.registry import ALIASES, CHAMPION, SHADOW, ModelVersion
from fxgpt_core.models.forecaster import Drawing, Exportable, Provenance
from fxgpt_core.models.session import chosen, newest, select
from fxgpt_core.policy.serving import expired, unusual
from fxgpt_core.store.audit import finish_retraining, last_retraining, record_retraining
from fxgpt_core.store.clock import to_datetime64
from fxgpt_core.store.rows import aware
from fxgpt_pipeline.evaluating import EVALUATION
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.stages import CHAMPION as CHAMPION_STAGE
from fxgpt_pipeline.stages import candidate
from fxgpt_pipeline.workspace import Workspace

log = logging.getLogger("fxgpt.serving")


def resolve(lineage: Lineage, model: str) -> ModelVersion:
    """Return the version that `model` names: an alias, a family (its newest version) or a version number.

    Raises BadInputError when there is none, StoreError when the symbol has no version at all yet.
    """
    registry, symbol = lineage.workspace.registry, lineage.symbol
    if model in ALIASES and (held := lineage.workspace.served.holders(symbol).get(model)) is not None:
        return held
    versions = registry.versions(symbol)
    if not versions:
        raise StoreError(f"{symbol} has no model yet: run `fxgpt materialize --symbol {symbol}`.")
    if model.isdigit():
        return registry.get(symbol, model)
    for version in versions:
        if model in version.aliases or model == version.family:
            return version
    raise BadInputError(
        f"{symbol} has no model {model!r}: name an alias, a family or a version of `fxgpt models list`."
    )


def predict(
    asset: str,
    horizons: Sequence[int | str] | None = None,
    samples: int | None = None,
    seed: int = 0,
    model: str = "champion",
    workspace: Workspace | None = None,
) -> Forecast:
    """Return the calibrated forecast of `asset` at its last stored bar: one row, in log returns.

    `horizons`: minutes or names such as `4h`, among those of the model, all where None. `samples`: draws behind the
    quantiles, for families that draw (where all rows share one law its quantiles are known, and draws move none).
    `model`: alias, family or version number. `workspace`: by default the one of
    the environment. Raises BadInputError for what does not exist, StoreError without a model, ModelError where the
    model cannot forecast at that bar.
    """
    workspace = workspace or Workspace.from_environment()
    lineage = workspace.lineage(asset)
    version = resolve(lineage, model)
    wanted = None if horizons is None else [horizon_minutes(horizon) for horizon in horizons]
    bundle = workspace.served.bundle(version)
    if samples is not None:
        if not isinstance(bundle.forecaster, Drawing):
            raise BadInputError(f"{version.label} ({version.family}) draws no samples: leave `samples` out.")
        bundle = replace(bundle, forecaster=bundle.forecaster.with_draws(samples))
    made, _ = _latest(lineage, version, bundle, seed)
    return made if wanted is None else select(made, chosen(made.horizons, wanted))


def forecast_now(lineage: Lineage, version: ModelVersion) -> tuple[Forecast, float]:
    """Forecast at the last stored bar; returns the calibrated forecast and its latency in milliseconds.

    An adaptive calibrator first learns what became known since it was last asked. The latency counts the forecast
    alone, neither that nor loading the model and the bars.
    """
    bundle = lineage.workspace.served.bundle(version)
    return _latest(lineage, version, bundle, lineage.settings.seed)


def _latest(lineage: Lineage, version: ModelVersion, bundle: Bundle, seed: int) -> tuple[Forecast, float]:
    dataset = dataset_of(lineage, bundle)
    _let_answer(lineage, version, bundle, dataset)
    states = calibrator_states(lineage.workspace.database, bundle, version.version)
    try:
        bundle = caught_up(bundle, dataset, states, lineage.settings.seed)
    except StoreError as error:
        log.warning("%s is calibrated as it was registered, without what it learned since: %s", version.label, error)
    provenance = Provenance(version.label, to_datetime64(lineage.workspace.clock.now()), "live")
    started = time.perf_counter()
    made = forecast_latest(bundle, dataset, provenance, seed)
    return made, (time.perf_counter() - started) * 1000


def _let_answer(lineage: Lineage, version: ModelVersion, bundle: Bundle, dataset: Dataset) -> None:
    """Raise ModelError for a model that has expired, and for an unusual last row where these are refused."""
    row, config = newest(dataset), lineage.settings.live
    old = expired(np.datetime64(bundle.card.trained_until), dataset.known_at[row], version.family, config)
    if old:
        raise ModelError(f"{version.label}: {old}")
    found = None if bundle.novelty is None else bundle.novelty.score(dataset, np.array([row]))
    strange = unusual(None if found is None else float(found[0]), config)
    if strange and config.novelty == "refuse":
        raise ModelError(f"{version.label}: {strange}.")
    if strange:
        log.warning("%s: %s.", version.label, strange)


def export_version(lineage: Lineage, version: ModelVersion, folder: Path, form: str) -> dict[str, float]:
    """Write a registered model for programs without this library; return the largest difference of each part.

    Raises BadInputError for a family or format that has no export and where `folder` holds files, ModelError where
    what was written says something else than the model.
    """
    forecaster = load_bundle(lineage.workspace.registry.folder(version)).forecaster
    if not isinstance(forecaster, Exportable):
        raise BadInputError(f"{version.label} ({version.family}) has no export; of the families, SSSD has one.")
    if folder.exists() and any(folder.iterdir()):
        raise BadInputError(f"{folder} is not empty: name a new folder to export to.")
    return dict(forecaster.export(folder, form))


def smoke_forecast(lineage: Lineage, bundle: Bundle) -> Forecast:
    """Forecast once with a model that is about to serve, as it was registered; any error says that it must not.

    One that has expired must not: in its place it would forecast nothing.
    """
    made_at = to_datetime64(lineage.workspace.clock.now())
    dataset, card = dataset_of(lineage, bundle), bundle.card
    last = dataset.known_at[newest(dataset)]
    old = expired(np.datetime64(card.trained_until), last, card.family, lineage.settings.live)
    if old:
        raise ModelError(f"{lineage.symbol}: {old}")
    return forecast_latest(bundle, dataset, Provenance("smoke", made_at, "live"), lineage.settings.seed)


def dataset_of(lineage: Lineage, bundle: Bundle) -> Dataset:
    """Return the data in the layout that the model was trained on; the symbol's own may have changed since."""
    card = bundle.card
    if card.feature_hash == lineage.spec.dataset_hash(lineage.timeframes, lineage.horizons):
        return lineage.current_dataset()
    frames = tuple(timeframe(code) for code in card.timeframes)
    return build_dataset(
        lineage.candles(frames[0]),
        frames,
        card.horizons,
        FeatureSpec.model_validate(dict(card.features)),
        lineage.releases(),
    )


def settle_symbol(lineage: Lineage, run_id: str, cause: str, started: datetime | None = None) -> dict[str, Any]:
    """Let the gate decide about the newest candidates of a symbol, carry it out, and store what came of it.

    `started` is when the run began: what is judged after that has not been answered by it. A run that trained nothing
    is no retraining unless one was asked for: other costs, say, settle the same candidates anew.
    """
    workspace, symbol = lineage.workspace, lineage.symbol
    registry, now = workspace.registry, workspace.clock.now()
    versions = {name: _candidate(lineage, name) for name in lineage.families}
    fingerprint = lineage.fingerprint(CHAMPION_STAGE)
    decision = settle(
        registry,
        workspace.database,
        Evaluation.from_dict(workspace.documents.read(EVALUATION, symbol)),
        versions,
        lineage.settings.gate,
        now,
        lambda bundle: smoke_forecast(lineage, bundle),
        cause=f"training:{fingerprint}",
        acknowledged=lineage.asset.acknowledged_alarms,
        trial=_trial(lineage, cause),
    )
    trained_at = _training(lineage, versions, run_id, started or now, asked=cause not in ("", "manual"))
    if trained_at is not None:
        event = f"{cause or 'run'}:{run_id}"
        record_retraining(workspace.database, symbol=symbol, cause=event, at=trained_at, dagster_run_id=run_id)
        finish_retraining(workspace.database, symbol=symbol, cause=event, status="done", dagster_run_id=run_id)
    champion, shadow = registry.holder(symbol, CHAMPION), registry.holder(symbol, SHADOW)
    value = {
        "decision": decision.to_dict(),
        "champion": champion.label if champion else None,
        "champion_family": champion.family if champion else None,
        "shadow": shadow.label if shadow else None,
        "shadow_family": shadow.family if shadow else None,
        "versions": {name: version.label for name, version in versions.items()},
    }
    workspace.documents.write("champion", symbol, value, fingerprint)
    return value


def _training(
    lineage: Lineage, versions: Mapping[str, ModelVersion], run_id: str, started: datetime, asked: bool
) -> datetime | None:
    """Return when the training began that this run settles; None where all of it was settled before.

    The run that trained may be another one: it was killed before it came here.
    """
    newest = max(versions.values(), key=lambda version: version.tags["started_at"])
    began, trainer = datetime.fromisoformat(newest.tags["started_at"]), newest.tags["dagster_run"]
    if trainer == run_id:
        return started
    last = last_retraining(lineage.workspace.database, lineage.symbol)
    if last is None or (last.dagster_run_id != trainer and aware(last.at) < began):
        return min(started, began)
    return started if asked else None


def _trial(lineage: Lineage, cause: str) -> timedelta:
    """Return how long a shadow keeps its place against what this training made.

    Age calls for trainings more often than a trial lasts, and would end every one undecided. What changed in the
    market, or a person who asks, does not wait.
    """
    by_age = cause.startswith(("schedule:", "overdue:"))
    return timedelta(days=lineage.settings.shadow.max_days) if by_age else timedelta(0)


def _candidate(lineage: Lineage, family: str) -> ModelVersion:
    found = lineage.workspace.registry.find(lineage.symbol, lineage.fingerprint(candidate(family)))
    if found is None:
        raise StoreError(
            f"{lineage.symbol} has no version of {family} for these data: materialise candidates/{family}."
        )
    return found
