"""How new bars come in by themselves: the inbox, imports that await candles, the running month, and their age."""

import json
from collections.abc import Iterator
from typing import Any

import dagster as dg

from fxgpt_core.common.errors import FxgptError
from fxgpt_core.store.asset_config import AssetConfig
from fxgpt_pipeline.defs.common import Automation, Parts
from fxgpt_pipeline.defs.market import FRESH
from fxgpt_pipeline.defs.run_keys import ACTIVE, next_run_key
from fxgpt_pipeline.freshness import Freshness, judge_freshness
from fxgpt_pipeline.pinning import as_of, data_version, latest
from fxgpt_pipeline.runs import CAUSE_TAG
from fxgpt_pipeline.settings import load_settings
from fxgpt_pipeline.stages import CANDLES
from fxgpt_pipeline.workspace import Workspace

REFRESH_JOB, INBOX_JOB, FRESHNESS_JOB = "refresh", "inbox", "freshness"
_SHOWN = 50


def build(parts: Parts) -> Automation:
    """Return the jobs, schedules and sensors."""
    candles = dg.AssetKey(CANDLES)
    jobs = [
        dg.define_asset_job(
            REFRESH_JOB,
            dg.AssetSelection.assets(candles),
            description="Fetches what is missing of one symbol's bars and brings its candles up to date.",
            partitions_def=parts.symbols,
            executor_def=dg.in_process_executor,
        ),
        _inbox_job(),
        _freshness_job(),
    ]
    schedules = [_refresh_schedule(parts.workspace), _freshness_schedule(parts.workspace)]
    return Automation(jobs, schedules, [_inbox_sensor(parts.workspace), _imports_sensor(parts.workspace)])


def _refresh_schedule(workspace: Workspace) -> dg.ScheduleDefinition:
    @dg.schedule(
        name="refresh_candles",
        job_name=REFRESH_JOB,
        cron_schedule=load_settings(workspace.config_dir).automation.refresh_cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Fetches the running month's bars of every enabled pair that has a remote provider.",
    )
    def refresh_candles(context: dg.ScheduleEvaluationContext, workspace: dg.ResourceParam[Workspace]) -> Any:
        at = f"{context.scheduled_execution_time:%Y-%m-%dT%H:%MZ}"
        requests, reasons = [], []
        for symbol, asset in _enabled(workspace):
            if not asset.remote:
                reasons.append(f"{symbol}: bars come from files (source {asset.source})")
                continue
            cause = f"schedule:{symbol}:{at}"
            requests.append(dg.RunRequest(run_key=cause, partition_key=symbol, tags={CAUSE_TAG: cause}))
        return requests or dg.SkipReason("; ".join(reasons) or "No enabled assets.")

    return refresh_candles


def _freshness_schedule(workspace: Workspace) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name="check_freshness",
        job_name=FRESHNESS_JOB,
        cron_schedule=load_settings(workspace.config_dir).automation.freshness_cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Notices bars that stopped coming, whether or not anything is materialised meanwhile.",
    )


def _freshness_job() -> dg.JobDefinition:
    @dg.op(name="judge_freshness", description="Records the `fresh` check of every enabled pair, in one run.")
    def judge(context: dg.OpExecutionContext, workspace: dg.ResourceParam[Workspace]) -> None:
        for symbol, _ in _enabled(workspace):
            try:
                age = judge_freshness(workspace.lineage(symbol))
            except FxgptError as error:  # one pair without bars must not hold up the others
                context.log.warning(f"{symbol}: {error}")
                continue
            (context.log.info if age.passed else context.log.warning)(f"{symbol}: {age.sentence}")
            # Dagster 1.13.27 keeps only the first verdict that a sensor reports on a partition, and a job of checks
            # alone has no partitions: an op that logs the evaluations is what works.
            context.log_event(_evaluation(age))  # type: ignore[arg-type]  # it takes them, its annotation lags

    @dg.job(
        name=FRESHNESS_JOB,
        description="Judges how old every pair's bars are.",
        executor_def=dg.in_process_executor,
    )
    def freshness_job() -> None:
        judge()

    return freshness_job


def _evaluation(age: Freshness) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(CANDLES),
        check_name=FRESH,
        passed=age.passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=age.sentence,
        metadata={"trading_hours": age.trading_hours},
        partition=age.symbol,
    )


def _enabled(workspace: Workspace) -> list[tuple[str, AssetConfig]]:
    return [(symbol, asset) for symbol, asset in sorted(workspace.assets.items()) if asset.enabled]


def _imports_sensor(workspace: Workspace) -> dg.SensorDefinition:
    @dg.sensor(
        name="imported_bars",
        job_name=REFRESH_JOB,
        minimum_interval_seconds=load_settings(workspace.config_dir).automation.imports_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts one candles run for each pair whose imported bars, or settings, its candles do not show.",
    )
    def imported_bars(context: dg.SensorEvaluationContext, workspace: dg.ResourceParam[Workspace]) -> Any:
        requests, reasons = [], []
        for symbol, _ in _enabled(workspace):
            try:
                state = _candles_state(workspace, symbol, context.instance)
            except FxgptError as error:  # one asset that cannot be judged must not hold up the others
                reasons.append(f"{symbol}: {error}")
                continue
            if state is None:
                continue
            key = next_run_key(context.instance, REFRESH_JOB, f"bars:{symbol}:{state}")
            if key is None:
                reasons.append(f"{symbol}: its candles run failed for these bars, a person must look")
                continue
            requests.append(dg.RunRequest(run_key=key, partition_key=symbol, tags={CAUSE_TAG: key}))
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else dg.SkipReason("; ".join(reasons) or "Nothing new."),
        )

    return imported_bars


def _candles_state(workspace: Workspace, symbol: str, instance: dg.DagsterInstance) -> str | None:
    """Return the fingerprint that candles should have where theirs is another; None where all is well or no bars are.

    Bars that a provider brought after the candles were made are the business of the schedule that fetches them: a live
    loop adds some every few minutes.
    """
    from fxgpt_core.market.history import given_bars

    lineage = workspace.lineage(symbol)
    if not given_bars(workspace.lake, symbol):
        return None
    made = latest(instance, CANDLES, symbol)
    if lineage.asset.remote:
        lineage = as_of(lineage, made)
    wanted = lineage.fingerprint(CANDLES)
    return None if data_version(made) == wanted else wanted


def _inbox_sensor(workspace: Workspace) -> dg.SensorDefinition:
    settings = load_settings(workspace.config_dir).automation

    @dg.sensor(
        name="inbox",
        job_name=INBOX_JOB,
        minimum_interval_seconds=settings.inbox_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts an import when files wait in the inbox folder of the state directory.",
    )
    def inbox(context: dg.SensorEvaluationContext, workspace: dg.ResourceParam[Workspace]) -> Any:
        from fxgpt_core.market.files.inbox import Inbox

        box = Inbox(workspace.home.inbox)
        files = box.waiting(workspace.clock.now(), settings.inbox_settle_seconds)
        if not files:
            return dg.SkipReason(f"{box.root} is empty.")
        running = context.instance.get_runs(dg.RunsFilter(job_name=INBOX_JOB, statuses=ACTIVE), limit=1)
        if running:
            return dg.SkipReason("An import is running.")
        key = next_run_key(context.instance, INBOX_JOB, f"inbox:{box.key(files)}")
        if key is None:
            return dg.SkipReason(f"The import of {len(files)} files failed again and again: a person must look.")
        return dg.RunRequest(run_key=key, tags={CAUSE_TAG: key})

    return inbox


def _inbox_job() -> dg.JobDefinition:
    @dg.op(
        name="import_inbox",
        description="Imports every file of the inbox; each ends under done, or under rejected with its reason.",
        out=dg.Out(dict),
    )
    def import_inbox(context: dg.OpExecutionContext, workspace: dg.ResourceParam[Workspace]) -> Iterator[Any]:
        from fxgpt_core.market.files.inbox import Inbox

        settings = load_settings(workspace.config_dir)
        box = Inbox(workspace.home.inbox)
        files = box.waiting(workspace.clock.now(), settings.automation.inbox_settle_seconds)
        taken = box.take(
            workspace.lake, files, lambda pair: load_settings(workspace.config_dir, workspace.assets.get(pair)).quality
        )
        for one in taken:
            what = f"rejected: {one.reason}" if one.reason else f"imported: {json.dumps(one.imported, default=str)}"
            (context.log.warning if one.reason else context.log.info)(f"{one.name} is {what}")
        rows = [{"file": one.name, "rejected": one.reason, "lies": str(one.moved_to)} for one in taken]
        yield dg.Output(
            {"files": len(rows)},
            metadata={
                "imported": sum(one.reason is None for one in taken),
                "rejected": sum(one.reason is not None for one in taken),
                "files": dg.MetadataValue.json(rows[:_SHOWN]),
            },
        )
        faults = [one.name for one in taken if one.unexpected]
        if faults:
            raise dg.Failure(f"A fault of ours kept {', '.join(faults)} out; see rejected/*.reason.txt.")

    @dg.job(
        name=INBOX_JOB,
        description="Imports the files that wait in the inbox folder.",
        executor_def=dg.in_process_executor,
    )
    def inbox_job() -> None:
        import_inbox()

    return inbox_job
