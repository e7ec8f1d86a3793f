"""The sensor that tells people: it starts no run."""

import dagster as dg

from fxgpt_core.lifecycle.alerts.config import load_alerts
from fxgpt_pipeline.defs.common import Automation, Parts
from fxgpt_pipeline.workspace import Workspace


def build(parts: Parts) -> Automation:
    """Return the sensor of alerts."""

    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=load_alerts(parts.workspace.config_dir).interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Gathers failed runs, drift, retrainings, promotions and stale data, and tells the channels of "
        "configs/alerts.yaml; a digest every day at 17:05 New York.",
    )
    def alerts(context: dg.SensorEvaluationContext, workspace: dg.ResourceParam[Workspace]) -> dg.SensorResult:
        from fxgpt_pipeline.alerting import tell

        done, said = tell(workspace, context.instance, context.cursor or "")
        return dg.SensorResult(skip_reason=dg.SkipReason(done.sentence), cursor=said)

    return Automation([], [], [alerts])
