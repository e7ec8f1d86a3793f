"""Upkeep that no symbol's lineage asks for: the log of live forecasts."""

import dagster as dg

from fxgpt_pipeline.defs.common import Automation, Parts
from fxgpt_pipeline.settings import load_settings
from fxgpt_pipeline.workspace import Workspace

ARCHIVE_JOB = "archive_forecasts"


def build(parts: Parts) -> Automation:
    """Return the job that archives forecasts and its schedule."""
    schedule = dg.ScheduleDefinition(
        name=f"{ARCHIVE_JOB}_daily",
        job_name=ARCHIVE_JOB,
        cron_schedule=load_settings(parts.workspace.config_dir).automation.archive_cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Keeps the operational database at the last 30 days of live forecasts; older ones lie in the lake.",
    )
    return Automation([_archive_job()], [schedule], [])


def _archive_job() -> dg.JobDefinition:
    @dg.op(name="move_old_forecasts", description="Moves old live forecasts to the dataset `forecast_log` of the lake.")
    def move(context: dg.OpExecutionContext, workspace: dg.ResourceParam[Workspace]) -> None:
        from fxgpt_pipeline.archiving import archive_old_forecasts

        context.log.info(f"{archive_old_forecasts(workspace)} forecasts moved to the lake.")

    @dg.job(
        name=ARCHIVE_JOB,
        description="Moves live forecasts older than `automation.forecast_days` from the database to the lake.",
        executor_def=dg.in_process_executor,
    )
    def archive_job() -> None:
        move()

    return archive_job
