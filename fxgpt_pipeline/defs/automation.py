"""Jobs, schedules and sensors: they read what assets have computed and execute what `policy` decides."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import numpy as np

from fxgpt_core.policy.decision import Decision
from fxgpt_core.policy.retraining import DriftNews, RetrainingState, decide_retraining
from fxgpt_core.store.clock import to_datetime64
from fxgpt_pipeline.defs.common import Automation, Parts
from fxgpt_pipeline.defs.run_keys import ACTIVE, next_run_key
from fxgpt_pipeline.defs.verdicts import verdict_of
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.runs import CAUSE_TAG, LINEAGE_JOB, RETRAIN_JOB, by_hand
from fxgpt_pipeline.settings import load_settings
from fxgpt_pipeline.stages import (
    DASHBOARD,
    DRIFT,
    LEADERBOARD,
    PERFORMANCE,
    PORTFOLIO,
    RETRAINED,
    SHADOW,
    TABLES,
    TARGETS,
)
from fxgpt_pipeline.workspace import Workspace

_PAGE = 100
_LEFT_DAYS = 2.0
"""Days that age is left to the schedule: what it had to postpone it asks again the next day."""


def build(parts: Parts) -> Automation:
    """Return the jobs, schedules and sensors."""
    outside = [dg.AssetKey(key) for key in (LEADERBOARD, DASHBOARD, PORTFOLIO, RETRAINED, PERFORMANCE, SHADOW)]
    everything = dg.AssetSelection.all() - dg.AssetSelection.assets(*outside)
    jobs = [
        dg.define_asset_job(
            LINEAGE_JOB,
            everything,
            description="Everything for one symbol, from bars to report, in one process.",
            partitions_def=parts.symbols,
            executor_def=dg.in_process_executor,
        ),
        dg.define_asset_job(
            RETRAIN_JOB,
            everything,
            description="New features, forecasts and a new candidate for one symbol; its champion keeps serving.",
            partitions_def=parts.symbols,
            executor_def=dg.in_process_executor,
        ),
    ]
    symbols = parts.symbols.get_partition_keys()
    schedules = [_retraining_schedule(parts.workspace, symbol) for symbol in symbols]
    sensors: list[dg.SensorDefinition] = [_drift_sensor(parts.workspace)]
    sensors.append(
        dg.AutomationConditionSensorDefinition(
            "fresh_features",
            target=dg.AssetSelection.assets(dg.AssetKey(TABLES), dg.AssetKey(TARGETS), dg.AssetKey(DRIFT)),
            default_status=dg.DefaultSensorStatus.RUNNING,
            description="New candles bring new features, targets and a drift verdict; models wait for a decision.",
        )
    )
    sensors.append(
        dg.AutomationConditionSensorDefinition(
            "fresh_leaderboard",
            target=dg.AssetSelection.assets(dg.AssetKey(LEADERBOARD)),
            default_status=dg.DefaultSensorStatus.RUNNING,
            description="A new evaluation of any pair brings a new leaderboard.",
        )
    )
    sensors.append(
        dg.AutomationConditionSensorDefinition(
            "fresh_dashboard",
            target=dg.AssetSelection.assets(dg.AssetKey(DASHBOARD)),
            default_status=dg.DefaultSensorStatus.RUNNING,
            description="A new champion, drift verdict or performance of any pair brings a new dashboard.",
        )
    )
    sensors.append(
        dg.AutomationConditionSensorDefinition(
            "fresh_portfolio",
            target=dg.AssetSelection.assets(dg.AssetKey(PORTFOLIO)),
            default_status=dg.DefaultSensorStatus.RUNNING,
            description="A new champion of any pair brings a new portfolio.",
        )
    )
    return Automation(jobs, schedules, sensors)


def _retraining_schedule(workspace: Workspace, symbol: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"retrain_{symbol.lower()}",
        job_name=RETRAIN_JOB,
        cron_schedule=workspace.assets[symbol].retraining_cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Looks whether {symbol} is due for retraining (every 14 days by default) and starts it.",
    )
    def retraining(context: dg.ScheduleEvaluationContext, workspace: dg.ResourceParam[Workspace]) -> Any:
        tick = context.scheduled_execution_time.astimezone(UTC)
        decision = decide(workspace.lineage(symbol), context.instance, tick, None)
        if decision.what != "retrain":
            return dg.SkipReason("; ".join(decision.reasons))
        return request(decision, f"schedule:{symbol}:{tick:%Y-%m-%d}")

    return retraining


def _drift_sensor(workspace: Workspace) -> dg.SensorDefinition:
    @dg.sensor(
        name="drift_retraining",
        job_name=RETRAIN_JOB,
        minimum_interval_seconds=load_settings(workspace.config_dir).automation.verdict_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reads verdicts on drift and on live performance and starts one retraining for each cause; picks "
        "up what the schedule had to postpone.",
    )
    def drift_retraining(context: dg.SensorEvaluationContext, workspace: dg.ResourceParam[Workspace]) -> Any:
        cursor, verdicts = _new_verdicts(context)
        requests: list[dg.RunRequest] = []
        reasons, keep = [], {}
        for symbol, news in sorted(verdicts.items()):
            asset = workspace.assets.get(symbol)
            if asset is None or not asset.enabled or not (news.drifted and news.onset):
                continue  # age alone is the schedule's business
            decision = decide(
                workspace.lineage(symbol), context.instance, workspace.clock.now(), news, requested=len(requests)
            )
            reasons.append(f"{symbol}: {'; '.join(decision.reasons)}")
            key = next_run_key(context.instance, RETRAIN_JOB, f"drift:{symbol}:{news.cause}")
            if decision.what == "wait" or key is None:
                continue
            # Kept until a training has answered it: it came during a run or a cooldown, or its run may yet fail.
            asked = cursor["requested"].get(symbol) if cursor["requested"].get(symbol, {}).get("key") == key else None
            if decision.what == "retrain" and asked is None:
                requests.append(request(decision, key))
                asked = {"key": key, "news": news.to_dict()}
            if asked is None:
                cursor["pending"][symbol] = news.to_dict()
            else:
                keep[symbol] = asked
        cursor["requested"] = keep
        busy = {request.partition_key for request in requests}
        for symbol, asset in sorted(workspace.assets.items()):
            if asset.enabled and symbol not in busy and symbol not in keep:
                asked, said = _other_causes(workspace, symbol, context.instance, len(requests))
                requests += [asked] if asked is not None else []
                reasons += [f"{symbol}: {said}"] if said else []
        skip = None if requests else dg.SkipReason(" | ".join(reasons) or "No new drift verdicts.")
        return dg.SensorResult(run_requests=requests, skip_reason=skip, cursor=json.dumps(cursor))

    return drift_retraining


def _other_causes(
    workspace: Workspace, symbol: str, instance: dg.DagsterInstance, requested: int
) -> tuple[dg.RunRequest | None, str]:
    """Ask about degradation, and about age where the schedule had to leave it; return a request, and what to say.

    The run key names the cause: of the requests for one Dagster drops all but the first, and a failed run is tried
    again as after drift.
    """
    lineage = workspace.lineage(symbol)
    decision = decide(lineage, instance, workspace.clock.now(), None, requested=requested)
    trained = decision.evidence["last_trained_at"]
    if decision.cause:
        cause = decision.cause.replace("degradation:", f"degradation:{symbol}:", 1)
    elif trained is not None and decision.what != "wait":
        age = to_datetime64(workspace.clock.now()) - np.datetime64(trained)
        if age < np.timedelta64(round((lineage.settings.retraining.every_days + _LEFT_DAYS) * 86_400), "s"):
            return None, ""  # the schedule's business
        cause = f"overdue:{symbol}:{trained[:10]}"
    else:
        return None, ""
    said = "; ".join(decision.reasons)
    key = next_run_key(instance, RETRAIN_JOB, cause) if decision.what == "retrain" else None
    known = key is not None and instance.get_runs(dg.RunsFilter(job_name=RETRAIN_JOB, tags={CAUSE_TAG: key}), limit=1)
    return (None if key is None or known else request(decision, key)), said


def _new_verdicts(context: dg.SensorEvaluationContext) -> tuple[dict[str, Any], dict[str, DriftNews]]:
    """Return the next cursor and the newest verdict by symbol since the last one, postponed verdicts included."""
    cursor: dict[str, Any] = json.loads(context.cursor) if context.cursor else {"after": 0, "pending": {}}
    requested: dict[str, Any] = cursor.get("requested", {})
    waiting_news = {symbol: value["news"] for symbol, value in requested.items()} | cursor["pending"]
    verdicts = {symbol: DriftNews.from_dict(value) for symbol, value in waiting_news.items()}
    page = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(DRIFT), after_storage_id=cursor["after"]),
        limit=_PAGE,
        ascending=True,
    )
    for record in page.records:
        news, symbol = verdict_of(record), record.partition_key
        if news is None or symbol is None:
            continue
        waiting = verdicts.get(symbol)
        # A calm verdict does not take back an alarm that still waits for its retraining.
        if waiting is None or news.onset or not waiting.drifted:
            verdicts[symbol] = news
    after = page.records[-1].storage_id if page.records else cursor["after"]
    return {"after": after, "pending": {}, "requested": requested}, verdicts


def decide(
    lineage: Lineage,
    instance: dg.DagsterInstance,
    now: datetime,
    news: DriftNews | None,
    manual: bool = False,
    requested: int = 0,
) -> Decision:
    """Ask `policy` whether to retrain, with what the stores know about the symbol at `now`.

    `requested`: retrainings of other symbols that were asked for a moment ago and are no runs yet.
    """
    from fxgpt_core.store.audit import last_retraining
    from fxgpt_pipeline.performing import stored_news

    # A training counts when its candidates were settled: one that died half-way has answered nothing.
    last = last_retraining(lineage.workspace.database, lineage.symbol)
    active = instance.get_runs(dg.RunsFilter(job_name=RETRAIN_JOB, statuses=ACTIVE))
    running = {run.tags.get("dagster/partition", "") for run in active}
    state = RetrainingState(
        symbol=lineage.symbol,
        now=to_datetime64(now),
        last_trained_at=to_datetime64(last.at) if last else None,
        news=news,
        running=lineage.symbol in running | by_hand(instance),
        manual=manual,
        performance=stored_news(lineage),
        running_elsewhere=len(running - {lineage.symbol}) + requested,
    )
    decision = decide_retraining(state, lineage.settings.retraining)
    if decision.what != "retrain" or manual:
        return decision
    return decide_retraining(replace(state, new_labels=_new_labels(lineage)), lineage.settings.retraining)


def _new_labels(lineage: Lineage) -> int | None:
    """Count bars that closed since the last label that any version saw, each the end of one label a horizon.

    No more than the rule asks for are counted; None where there is no version or no bar.
    """
    from fxgpt_core.common.errors import DataError
    from fxgpt_core.market.history import recent_candles

    seen = [version.tags.get("trained_until") for version in lineage.workspace.registry.versions(lineage.symbol)]
    until = max((np.datetime64(text, "ns") for text in seen if text), default=None)
    wanted = max(1, lineage.settings.retraining.min_new_labels)
    try:
        closes = recent_candles(lineage.workspace.lake, lineage.symbol, lineage.timeframes[0], wanted).known_at
    except DataError:
        return None
    return None if until is None else int((closes > until).sum())


def request(decision: Decision, cause: str) -> dg.RunRequest:
    """Return the run request for a decision; the cause is the run key, so that one cause starts one run."""
    return dg.RunRequest(
        run_key=cause,
        partition_key=decision.symbol,
        tags={CAUSE_TAG: cause, "fxgpt/reason": "; ".join(decision.reasons)[:200]},
    )
