"""Upkeep that no symbol's lineage asks for: the log of live forecasts, and versions that nobody needs any more."""

import dagster as dg

from fxgpt_pipeline.defs.common import Automation, Parts
from fxgpt_pipeline.settings import load_settings
from fxgpt_pipeline.workspace import Workspace

ARCHIVE_JOB = "archive_forecasts"
VERSIONS_JOB = "forget_versions"


def build(parts: Parts) -> Automation:
    """Return the jobs and their schedules."""
    schedule = dg.ScheduleDefinition(
        name=f"{ARCHIVE_JOB}_daily",
        job_name=ARCHIVE_JOB,
        cron_schedule=load_settings(parts.workspace.config_dir).automation.archive_cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Keeps the operational database at the last 30 days of live forecasts; older ones lie in the lake.",
    )
    versions = dg.ScheduleDefinition(
        name=f"{VERSIONS_JOB}_daily",
        job_name=VERSIONS_JOB,
        cron_schedule=load_settings(parts.workspace.config_dir).automation.archive_cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Keeps the newest five versions of every family, and those that hold an alias.",
    )
    return Automation([_archive_job(), _versions_job()], [schedule, versions], [])


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


def _versions_job() -> dg.JobDefinition:
    @dg.op(name="forget_old_versions", description="Deletes model versions that are neither new nor hold an alias.")
    def forget(context: dg.OpExecutionContext, workspace: dg.ResourceParam[Workspace]) -> None:
        from fxgpt_core.lifecycle.version_retention import forget_versions

        for symbol in sorted(workspace.assets):
            gone = forget_versions(workspace.registry, workspace.database, symbol)
            if gone:
                context.log.info(f"{symbol}: versions {', '.join(version.version for version in gone)} are deleted.")

    @dg.job(
        name=VERSIONS_JOB,
        description="Keeps the newest five versions of every family of every pair, and those that hold an alias.",
        executor_def=dg.in_process_executor,
    )
    def versions_job() -> None:
        forget()

    return versions_job
