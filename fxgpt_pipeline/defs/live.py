"""Live forecasts for those who want no process of their own: one pass over all pairs, on a schedule."""

import dagster as dg

from fxgpt_pipeline.defs.common import Automation, Parts
from fxgpt_pipeline.settings import load_settings
from fxgpt_pipeline.workspace import Workspace

LIVE_JOB = "live"


def build(parts: Parts) -> Automation:
    """Return the job that forecasts what has closed, and its schedule, which is off until somebody wants it."""
    schedule = dg.ScheduleDefinition(
        name="live_forecasts",
        job_name=LIVE_JOB,
        cron_schedule=load_settings(parts.workspace.config_dir).automation.live_cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Forecasts closed bars, for those who do not run `fxgpt live`; it leaves that one alone.",
    )
    return Automation([_live_job()], [schedule], [])


def _live_job() -> dg.JobDefinition:
    @dg.op(
        name="forecast_closed_bars",
        description="Forecasts what every enabled pair owes: champion and shadow, each decision once.",
        out=dg.Out(dict),
    )
    def forecast_closed_bars(
        context: dg.OpExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.Output[dict[str, int]]:
        from fxgpt_pipeline.living import live_loop

        with live_loop(workspace) as loop:
            step = loop.step()
        for problem in step.problems:
            context.log.warning(problem)
        made = {name: one.live + one.backfilled for name, one in step.symbols.items()}
        failed = {name: one.failed for name, one in step.symbols.items() if one.failed}
        return dg.Output(
            made, metadata={"forecasts": dg.MetadataValue.json(made), "failed": dg.MetadataValue.json(failed)}
        )

    @dg.job(
        name=LIVE_JOB,
        description="One pass of the live loop over all pairs; pairs that another loop works on are left to it.",
        executor_def=dg.in_process_executor,
    )
    def live_job() -> None:
        forecast_closed_bars()

    return live_job
