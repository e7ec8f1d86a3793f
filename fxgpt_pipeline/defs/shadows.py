"""What becomes of shadows: an asset a symbol that judges and carries out, and the schedule that asks for it."""

from typing import Any

import dagster as dg

from fxgpt_pipeline.defs.common import OWNERS, PROMOTION_POOL, Automation, Parts
from fxgpt_pipeline.runs import CAUSE_TAG
from fxgpt_pipeline.settings import load_settings
from fxgpt_pipeline.stages import PERFORMANCE, SHADOW
from fxgpt_pipeline.workspace import Workspace

SHADOW_JOB = "judge_shadow"


def build(parts: Parts) -> list[Any]:
    """Return the shadow asset."""

    @dg.asset(
        key=dg.AssetKey(SHADOW),
        deps=[dg.AssetKey(PERFORMANCE)],
        partitions_def=parts.symbols,
        group_name=SHADOW[0],
        code_version="1",
        owners=OWNERS,
        kinds={"mlflow"},
        pool=PROMOTION_POOL,
        description="Judges the model that runs beside the champion on what both forecast live: promotes it where its "
        "CRPS is superior by an anytime-valid test, archives it where it is worse, else waits; a page shows why.",
    )
    def shadow(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult[Any]:
        from fxgpt_pipeline.shadows import judge_shadow

        verdict = judge_shadow(workspace.lineage(context.partition_key))
        found: dict[str, Any] = {"decision": verdict.what, "summary": verdict.sentence}
        if verdict.decision is not None:
            figures = ("superior", "inferior", "tolerable", "difference", "blocks", "decisions", "days")
            found |= {name: verdict.decision.evidence[name] for name in figures}
            found["page"] = dg.MetadataValue.path(verdict.page)
        return dg.MaterializeResult(metadata=found)

    return [shadow]


def automate(parts: Parts) -> Automation:
    """Return the job and the schedule that asks for the pairs that have a shadow."""
    job = dg.define_asset_job(
        SHADOW_JOB,
        dg.AssetSelection.assets(dg.AssetKey(SHADOW)),
        description="Judges one symbol's shadow and carries out what is decided.",
        partitions_def=parts.symbols,
        executor_def=dg.in_process_executor,
    )
    return Automation([job], [_schedule(parts.workspace)], [])


def _schedule(workspace: Workspace) -> dg.ScheduleDefinition:
    @dg.schedule(
        name="judge_shadows",
        job_name=SHADOW_JOB,
        cron_schedule=load_settings(workspace.config_dir).automation.shadow_cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Asks for a judgement of every pair that has a shadow beside its champion.",
    )
    def judge_shadows(context: dg.ScheduleEvaluationContext, workspace: dg.ResourceParam[Workspace]) -> Any:
        from fxgpt_core.lifecycle.registry import SHADOW as ALIAS

        at = f"{context.scheduled_execution_time:%Y-%m-%dT%H:%MZ}"
        requests = []
        for symbol, asset in sorted(workspace.assets.items()):
            if asset.enabled and workspace.registry.holder(symbol, ALIAS) is not None:
                key = f"shadow:{symbol}:{at}"
                requests.append(dg.RunRequest(run_key=key, partition_key=symbol, tags={CAUSE_TAG: key}))
        return requests or dg.SkipReason("No pair has a shadow.")

    return judge_shadows
