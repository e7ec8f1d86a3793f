"""The retraining backtest of a symbol: the rule replayed along its history, traded and held against fixed folds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.progress import Progress
from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.evaluation.archive import CALIBRATED, read_span
from fxgpt_core.evaluation.evaluation import evaluate
from fxgpt_core.evaluation.result import Evaluation, Skill
from fxgpt_core.evaluation.splits import walk_forward
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.lifecycle.replay.history import History, ReplaySettings, configuration_hash
from fxgpt_core.lifecycle.replay.replay import replay_retraining
from fxgpt_core.lifecycle.replay.segments import Segment, SegmentStore, joined
from fxgpt_core.models.registry import FamilyEntry
from fxgpt_core.models.registry import family as entry_of
from fxgpt_core.models.walk_forward import read_walk_forward
from fxgpt_core.training.plan import plan_training
from fxgpt_pipeline.evaluating import keep_tables, traded
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.scrutiny import count_backtest
from fxgpt_pipeline.stages import backtest as backtest_stage
from fxgpt_pipeline.stages import calibrated as calibrated_stage

FIXED, RETRAINED = "fixed folds", "retrained"


def replay_name(family: str) -> str:
    """Name of the document that holds a family's retraining backtest, and of its trades, orders and fills."""
    return f"retrained_{family}"


def replay_family(lineage: Lineage, family: str, progress: Progress) -> dict[str, Any]:
    """Replay the retraining rule along a symbol's history for one family, and store what came of it.

    The replay begins where the fixed folds begin, trains no fold twice and carries on where an earlier one stopped.
    Returns the document: versions, decisions, scores and backtests, both against the fixed folds on the decisions that
    they share. `folds` in it is the fingerprint of the backtest on the fixed folds: while that stays, bars, costs and
    rules of trading are those of the replay. Raises BadInputError for a family that the symbol does not have, DataError
    where its walk-forward forecasts are missing.
    """
    if family not in lineage.families:
        raise BadInputError(f"{lineage.symbol} has no model {family!r}: it has {', '.join(lineage.families)}.")
    entry = entry_of(family)
    dataset = lineage.dataset()
    configuration, segments = _replayed(lineage, dataset, entry, progress)
    document = {
        "family": family,
        "configuration": configuration,
        "folds": lineage.fingerprint(backtest_stage(family)),
        "versions": [_version(segment) for segment in segments],
        "decisions": _decisions(segments),
        "looks": dict(Counter(decision.what for segment in segments for decision in segment.decisions)),
        **_compared(lineage, dataset, family, configuration, segments),
    }
    fingerprint = f"{configuration}:{segments[-1].record.print}"
    lineage.workspace.documents.write(replay_name(family), lineage.symbol, document, fingerprint)
    return document


def replay_families(
    lineage: Lineage, families: Sequence[str], progress: Progress
) -> tuple[dict[str, dict[str, Any]], str]:
    """Replay several families; return the key figures of each, and a hash of all results."""
    facts = {}
    for family in families:
        made = replay_family(lineage, family, progress)
        facts[family] = {
            "versions": len(made["versions"]),
            "looks": made["looks"],
            "causes": dict(Counter(version["cause"].partition(":")[0] or "age" for version in made["versions"][1:])),
            "scores": made["scores"],
            "backtests": {name: {"status": one["status"], **one["metrics"]} for name, one in made["backtests"].items()},
        }
    prints = [lineage.workspace.documents.fingerprint(replay_name(family), lineage.symbol) for family in families]
    return facts, stable_hash(prints)


def replay_settings(lineage: Lineage, dataset: Dataset) -> ReplaySettings:
    """Return what decides a symbol's replays besides data and family; they begin a day before the first fixed fold."""
    settings = lineage.settings
    first = walk_forward(dataset, settings.walk_forward)[0]
    begin = dataset.known_at[int(np.flatnonzero(first.test)[0])] - np.timedelta64(1, "D")
    return ReplaySettings(
        begin, settings.retraining, settings.walk_forward, settings.calibration, settings.drift, settings.seed
    )


def _replayed(lineage: Lineage, dataset: Dataset, entry: FamilyEntry, progress: Progress) -> tuple[str, list[Segment]]:
    config, settings = lineage.family_config(entry.name), replay_settings(lineage, dataset)
    configuration = configuration_hash(entry, config, settings)
    store = SegmentStore(lineage.workspace.lake, lineage.symbol, entry.name, configuration)
    scratch = lineage.workspace.home.scratch / lineage.symbol / entry.name / f"replay_{configuration}"
    plan = plan_training(settings.seed, scratch, accelerated=entry.accelerated)
    history = History(dataset, entry, config, settings)
    return configuration, replay_retraining(history, store, plan, lineage.workspace.clock, progress)


def _version(segment: Segment) -> dict[str, Any]:
    """Return what people want to know of a version; what makes it valid stays in the lake."""
    values = asdict(segment.record)
    return {name: value for name, value in values.items() if name not in ("verdict", "print", "first_bar", "last_bar")}


def _decisions(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    """Return every decision that something called for, with the version that was serving; the lake has them all."""
    return [
        {"at": str(decision.at), "what": decision.what, "reasons": list(decision.reasons), "cause": decision.cause,
         "serving": segment.record.version}
        for segment in segments
        for decision in segment.decisions
        if decision.what != "wait"
    ]  # fmt: skip


def _compared(
    lineage: Lineage, dataset: Dataset, family: str, configuration: str, segments: Sequence[Segment]
) -> dict[str, Any]:
    """Score and trade the replay and the fixed folds on the decisions that both made."""
    lake, symbol = lineage.workspace.lake, lineage.symbol
    raw, calibrated = joined(segments, symbol, family)
    fixed = read_span(lake, CALIBRATED, symbol, family)
    fixed_raw = read_walk_forward(lake, symbol, family).forecast
    rest = [name for name in lineage.baselines if name != family]
    evaluation = evaluate(
        symbol,
        {RETRAINED: raw, FIXED: fixed_raw, **{name: read_walk_forward(lake, symbol, name).forecast for name in rest}},
        {RETRAINED: calibrated, FIXED: fixed, **{name: read_span(lake, CALIBRATED, symbol, name) for name in rest}},
        Outcomes.from_dataset(dataset),
        (FIXED, *rest),
        lineage.settings.evaluation,
        seed=lineage.settings.seed,
    )
    # What is replayed hangs on the rule and on all that the fixed folds hang on: features, labels, model, calibration.
    recipe = stable_hash({"replay": configuration, "folds": lineage.recipe(calibrated_stage(family))})
    both = np.intersect1d(calibrated.decided_at, fixed.decided_at)
    return {
        "start": str(both[0]),
        "end": str(both[-1]),
        "scores": _scores(evaluation, rest),
        "backtests": {
            RETRAINED: _trade(lineage, calibrated.take(np.isin(calibrated.decided_at, both)), recipe),
            FIXED: _trade(lineage, fixed.take(np.isin(fixed.decided_at, both)), None),
        },
    }


def _trade(lineage: Lineage, forecast: Forecast, recipe: str | None) -> dict[str, Any]:
    """Trade forecasts; those of a replay are kept and count as a trial under its `recipe`, as those of the folds did
    already.
    """
    result, note = traded(lineage, forecast)
    if recipe is not None:
        count_backtest(lineage, result, recipe)
        keep_tables(lineage.workspace.lake, lineage.symbol, replay_name(forecast.family), result)
    return {**result.summary(), "note": note}


def _scores(evaluation: Evaluation, baselines: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row per horizon: CRPS and coverage of both, skill of the replay against the folds and the baselines."""
    rows = []
    for horizon in evaluation.horizons:
        mine, folds = (evaluation.of(name, horizon) for name in (RETRAINED, FIXED))
        best = min(baselines, key=lambda name: evaluation.of(name, horizon).crps.value, default=None)
        rows.append(
            {
                "horizon": horizon_name(horizon),
                "rows": mine.rows,
                "crps": {RETRAINED: mine.crps.value, FIXED: folds.crps.value},
                "against_folds": _skill(mine.against(FIXED)),
                "best_baseline": best,
                "against_baseline": None if best is None else _skill(mine.against(best)),
                "effective_rows": mine.effective_rows,
                "coverage": {one.family: one.covered(0.9).calibrated.value for one in (mine, folds)},
            }
        )
    return rows


def _skill(skill: Skill | None) -> dict[str, float] | None:
    if skill is None:
        return None
    return {"value": skill.value, "low": skill.low, "high": skill.high, "p_value": skill.p_value}
