"""How live models do: an asset a symbol, its check, and the hourly job that judges all pairs in one run."""

from typing import Any

import dagster as dg

from fxgpt_core.common.errors import FxgptError
from fxgpt_pipeline.defs.common import OWNERS, Automation, Parts
from fxgpt_pipeline.settings import load_settings
from fxgpt_pipeline.stages import CHAMPION, PERFORMANCE
from fxgpt_pipeline.workspace import Workspace

PERFORMANCE_JOB, CHECK = "performance", "as_good_as_ever"


def build(parts: Parts) -> list[Any]:
    """Return the performance asset and its check."""

    @dg.asset(
        key=dg.AssetKey(PERFORMANCE),
        deps=[dg.AssetKey(CHAMPION)],
        partitions_def=parts.symbols,
        group_name=PERFORMANCE[0],
        code_version="1",
        owners=OWNERS,
        kinds={"python", "sqlite"},
        description="Realised live forecasts of champion and shadow over 24 hours and 30 days: scores, coverage, "
        "Sharpe ratio, latency, failures; and whether the champion is worse than its own reference.",
    )
    def performance(
        context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.MaterializeResult[Any]:
        from fxgpt_pipeline.performing import judge_performance

        judged = judge_performance(workspace.lineage(context.partition_key))
        return dg.MaterializeResult(metadata=_metadata(judged), data_version=dg.DataVersion(judged.at.isoformat()))

    @parts.check(
        PERFORMANCE, CHECK, description="The champion's live forecasts are as good as its reference, in time, and come."
    )
    def as_good_as_ever(
        context: dg.AssetCheckExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.AssetCheckResult:
        stored = workspace.documents.read("performance", context.partition_key)
        return dg.AssetCheckResult(
            passed=stored["passed"], severity=dg.AssetCheckSeverity.WARN, description=stored["sentence"]
        )

    return [performance, as_good_as_ever]


def automate(parts: Parts) -> Automation:
    """Return the job that judges all pairs and its schedule."""
    schedule = dg.ScheduleDefinition(
        name="judge_performance",
        job_name=PERFORMANCE_JOB,
        cron_schedule=load_settings(parts.workspace.config_dir).automation.performance_cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Judges the live forecasts of every enabled pair; the sensor `drift_retraining` reads the verdict.",
    )
    return Automation([_job()], [schedule], [])


def _job() -> dg.JobDefinition:
    @dg.op(name="judge_live_forecasts", description="Judges every enabled pair's live forecasts, in one run.")
    def judge(context: dg.OpExecutionContext, workspace: dg.ResourceParam[Workspace]) -> None:
        from fxgpt_pipeline.performing import judge_performance

        for symbol, asset in sorted(workspace.assets.items()):
            if not asset.enabled:
                continue
            try:
                judged = judge_performance(workspace.lineage(symbol))
            except FxgptError as error:  # one pair's trouble must not hold up the others
                context.log.warning(f"{symbol}: {error}")
                continue
            (context.log.info if judged.passed else context.log.warning)(f"{symbol}: {judged.sentence}")
            key = dg.AssetKey(PERFORMANCE)
            context.log_event(dg.AssetMaterialization(key, partition=symbol, metadata=_metadata(judged)))
            context.log_event(_evaluation(judged))  # type: ignore[arg-type]  # it takes them, its annotation lags

    @dg.job(
        name=PERFORMANCE_JOB,
        description="Judges how every pair's live forecasts do.",
        executor_def=dg.in_process_executor,
    )
    def performance_job() -> None:
        judge()

    return performance_job


def _evaluation(judged: Any) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(PERFORMANCE),
        check_name=CHECK,
        passed=judged.passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=judged.sentence,
        partition=judged.symbol,
    )


def _metadata(judged: Any) -> dict[str, Any]:
    """Return the figures of the champion's last 30 days as numbers that Dagster draws over time, and all as JSON."""
    found: dict[str, Any] = {"degraded": bool(judged.degraded), "summary": judged.sentence}
    for window in judged.windows.get("champion", ()):
        name = f"{window.hours // 24}d"
        found[f"decisions_{name}"] = window.decisions
        if window.latency is not None:
            found[f"latency_p95_{name}"] = window.latency[1]
        if window.error_rate is not None:
            found[f"error_rate_{name}"] = window.error_rate
        for one in window.figures:
            for measure in ("crps", "coverage", "rmse", "drawdown"):
                value = getattr(one, measure)
                if value is not None:
                    found[f"{measure}_{one.horizon}m_{name}"] = value
    return {**found, "all": dg.MetadataValue.json(judged.to_dict())}
