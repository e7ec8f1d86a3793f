"""One round of alerts: gather what happened, write what is due, send what was not sent."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fxgpt_core.common.errors import FxgptError, StoreError
from fxgpt_core.lifecycle.alerts.channels import Channel, DeliveryError, open_channels
from fxgpt_core.lifecycle.alerts.config import AlertsConfig, load_alerts
from fxgpt_core.lifecycle.alerts.delivery import Delivered, deliver
from fxgpt_core.lifecycle.alerts.digest import due_digest
from fxgpt_core.lifecycle.alerts.news import audited_news, retraining_cause
from fxgpt_core.store.alerts import Alert, record_alert
from fxgpt_core.store.audit import fail_retraining
from fxgpt_core.store.database import Database
from fxgpt_pipeline.drifting import DOCUMENT as DRIFT_DOCUMENT
from fxgpt_pipeline.freshness import judge_freshness
from fxgpt_pipeline.performing import expiry_alert, performance_alerts
from fxgpt_pipeline.runs import CAUSE_TAG, RETRAIN_JOB, step_error
from fxgpt_pipeline.workspace import Workspace

if TYPE_CHECKING:
    from dagster import DagsterInstance

_LOOK_BACK = timedelta(days=2)
"""How far back news is gathered; what is in the outbox already is not written twice."""
_OUTAGE = "database"


@dataclass
class Round:
    """What one round found and did."""

    new: int = 0
    delivered: Mapping[str, Delivered] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """What to show in the daemon's ticks."""
        sent = ", ".join(f"{name} {each.sent} sent, {each.waiting} waiting" for name, each in self.delivered.items())
        return " | ".join([f"{self.new} new alerts; {sent or 'nothing was sent'}.", *self.problems])


def tell(workspace: Workspace, instance: DagsterInstance | None, said: str = "") -> tuple[Round, str]:
    """Do one round; `said` is what the last one returned besides, and belongs to the next.

    Where the operational database cannot be used there is no outbox: the channels are told of that directly, at most
    once in `repeats_within_hours`, which `said` remembers.
    """
    config, now = load_alerts(workspace.config_dir), workspace.clock.now()
    channels, problems = open_channels(config)
    done = Round(problems=problems)
    try:
        for alert in _news(workspace, instance, now, done.problems):
            done.new += record_alert(workspace.database, alert, timedelta(hours=config.repeats_within_hours))
        digest = due_digest(workspace.database, config, now)
        done.new += record_alert(workspace.database, digest, timedelta(0))
        done.delivered = deliver(workspace.database, channels, config, now)
    except StoreError as error:
        done.problems.append(str(error))
        return done, _outage(error, channels, config, now, said)
    return done, ""


def _outage(error: StoreError, channels: Mapping[str, Channel], config: AlertsConfig, now: datetime, said: str) -> str:
    before = json.loads(said).get(_OUTAGE) if said else None
    if before is not None and now - datetime.fromisoformat(before) < timedelta(hours=config.repeats_within_hours):
        return said
    for name, channel in channels.items():
        try:
            channel.send("fxgpt: the operational database cannot be used", str(error), "error")
        except DeliveryError as failure:
            logging.getLogger("fxgpt.alerts").error("%s: %s", name, failure)
    return json.dumps({_OUTAGE: now.isoformat()})


def _news(
    workspace: Workspace, instance: DagsterInstance | None, now: datetime, problems: list[str]
) -> Iterator[Alert]:
    """Yield what happened lately; a pair that cannot be judged is a problem of its own and hides no other."""
    if instance is not None:  # first, for what a failed step said is more than its audit row says
        yield from _failed_runs(workspace.database, instance, now)
    yield from audited_news(workspace.database, now - _LOOK_BACK, now)
    for symbol, asset in workspace.assets.items():
        if not asset.enabled:
            continue
        try:
            yield from _about(workspace, symbol, now)
        except FxgptError as error:
            problems.append(str(error))
    if instance is not None:
        yield from _begun_retrainings(instance, now)


def _about(workspace: Workspace, symbol: str, now: datetime) -> Iterator[Alert]:
    stored: dict[str, Any] | None = workspace.documents.find(DRIFT_DOCUMENT, symbol)
    verdict = stored["verdict"] if stored is not None else {}
    if stored is not None and verdict["drifted"] and verdict["onset"]:
        cause, title = verdict["window_end"], f"{symbol}: drift begins"
        yield Alert("drift", symbol, cause, "warning", title, stored["summary"], now)
    if stored is not None and verdict.get("dead_feed"):
        cause, title = f"stuck since {stored['last_moved']}", f"{symbol}: the feed repeats its last price"
        yield Alert("stale_data", symbol, cause, "error", title, stored["summary"], now)
    lineage = workspace.lineage(symbol)
    yield from performance_alerts(lineage)
    if not workspace.lake.parts("candles", {"symbol": symbol, "timeframe": lineage.timeframes[0].code}):
        return  # a pair without bars is being set up
    fresh = judge_freshness(lineage)
    if not fresh.passed:
        title = f"{symbol}: no new bars"
        yield Alert("stale_data", symbol, f"since {fresh.last_close}", "error", title, fresh.sentence, now)
    yield from expiry_alert(lineage)


def _begun_retrainings(instance: DagsterInstance, now: datetime) -> Iterator[Alert]:
    """Yield the retrainings that were begun lately: their audit row comes only when they have ended."""
    from dagster import RunsFilter

    begun = RunsFilter(job_name=RETRAIN_JOB, created_after=now - _LOOK_BACK)
    for record in instance.get_run_records(begun, limit=200):
        run = record.dagster_run
        if record.start_time is None:
            continue
        at, symbol = datetime.fromtimestamp(record.start_time, UTC), run.tags.get("dagster/partition", "")
        said = [run.tags.get("fxgpt/reason", ""), f"Cause: {run.tags.get(CAUSE_TAG, 'a person')}"]
        body = "\n".join([*filter(None, said), f"Dagster run {run.run_id}"])
        yield Alert("retraining_started", symbol, run.run_id, "info", f"{symbol}: retraining started", body, at)


def _failed_runs(database: Database, instance: DagsterInstance, now: datetime) -> Iterator[Alert]:
    """Yield the runs that failed lately; a retraining that ended without candidates is recorded as failed, too."""
    from dagster import DagsterEventType, DagsterRunStatus, RunsFilter

    failed = RunsFilter(statuses=[DagsterRunStatus.FAILURE], updated_after=now - _LOOK_BACK)
    for record in instance.get_run_records(failed, limit=200):
        run = record.dagster_run
        symbol = run.tags.get("dagster/partition", "")
        steps = instance.get_records_for_run(run.run_id, of_type=DagsterEventType.STEP_FAILURE, limit=3).records
        entries = [step.event_log_entry for step in steps]
        said = [step_error(one.get_dagster_event()) or one.user_message.strip() for one in entries]
        at = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else now
        kind, cause, title = "failed_run", run.run_id, f"{symbol or 'fxgpt'}: a run of {run.job_name} failed"
        if run.job_name == RETRAIN_JOB and symbol:
            why = run.tags.get(CAUSE_TAG, "run")
            begun = datetime.fromtimestamp(record.start_time, UTC) if record.start_time else at
            event = fail_retraining(
                database, symbol=symbol, cause=f"{why}:{run.run_id}", at=begun, dagster_run_id=run.run_id
            )
            if event.status == "failed":  # else it failed behind its candidates, which are settled
                kind, cause, title = "retraining_failed", retraining_cause(event), f"{symbol}: retraining failed"
                said = [f"Cause: {why}", *said]
        yield Alert(kind, symbol, cause, "error", title, "\n".join([*said, f"Dagster run {run.run_id}"]), at)
