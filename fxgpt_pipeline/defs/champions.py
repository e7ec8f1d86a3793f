"""The job that brings the previous champion back; models take over by the asset `lifecycle/champion`."""

import dagster as dg
from pydantic import Field

from fxgpt_pipeline.defs.common import Automation
from fxgpt_pipeline.runs import CAUSE_TAG
from fxgpt_pipeline.workspace import Workspace

ROLLBACK_JOB = "rollback"


class RollbackConfig(dg.Config):
    """Whose champion is rolled back, and why."""

    symbol: str = Field(description="The pair, such as EURUSD.")
    reason: str = Field(default="", description="Why, in a few words; recorded with the rollback.")


def build() -> Automation:
    """Return the job."""
    return Automation([_rollback_job()], [], [])


def _rollback_job() -> dg.JobDefinition:
    # In no pool: a pool counts whole runs here, and a rollback must not wait for a training to end. That one process
    # at a time moves aliases is held by `lifecycle.alias_moves`, whoever asks.
    @dg.op(name="roll_back", description="Makes the previous champion of a pair champion again, after it has forecast.")
    def roll_back(
        context: dg.OpExecutionContext, config: RollbackConfig, workspace: dg.ResourceParam[Workspace]
    ) -> None:
        from fxgpt_pipeline.champions import roll_back as bring_back

        version = bring_back(workspace.lineage(config.symbol), config.reason)
        context.log.info(f"{version.label} ({version.family}) is champion again.")
        context.add_output_metadata({"champion": version.label, "family": version.family})

    @dg.job(
        name=ROLLBACK_JOB,
        description="Makes the previous champion of a pair champion again (as `fxgpt models rollback SYMBOL`).",
        tags={CAUSE_TAG: "manual"},
        executor_def=dg.in_process_executor,
    )
    def rollback_job() -> None:
        roll_back()

    return rollback_job
