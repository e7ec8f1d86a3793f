"""Drift of a symbol, and the checks that show it."""

from typing import Any

import dagster as dg

from fxgpt_pipeline.defs.common import FRESH, Parts, began, begin, finished
from fxgpt_pipeline.stages import DRIFT
from fxgpt_pipeline.workspace import Workspace


def build(parts: Parts) -> list[Any]:
    """Return the drift asset and its checks."""

    @parts.asset(
        DRIFT,
        description="Do the last 7 days look unlike the span that the champion was trained on? Features, predictions, "
        "residuals and PIT, and what was seen bar by bar, each against a threshold from the training span's own weeks; "
        "an alarm is the onset of drift, not every window after it.",
        kinds={"numpy"},
        automation_condition=FRESH,
    )
    def drift(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult[Any]:
        from fxgpt_pipeline.drifting import judge_drift

        lineage = begin(context, workspace, DRIFT)
        verdict = judge_drift(lineage)
        return finished(
            lineage,
            DRIFT,
            {
                "drifted": verdict.drifted,
                "onset": verdict.onset,
                "window_end": verdict.window_end,
                # A training that judges drift on its way knows these bars: its verdict is not news to it.
                "judged_at": began(context, workspace).isoformat(),
                "model": verdict.model,
                "dead_feed": verdict.dead_feed,
                "statistic": verdict.statistic,
                "threshold": verdict.threshold,
                "summary": verdict.summary,
                "parts": dg.MetadataValue.json(verdict.to_dict()["parts"]),
                "columns": dg.MetadataValue.json([column.__dict__ for column in verdict.top]),
            },
        )

    @parts.check(DRIFT, "no_drift", description="The last days look like the span that the champion was trained on.")
    def no_drift(context: dg.AssetCheckExecutionContext, workspace: dg.ResourceParam[Workspace]) -> dg.AssetCheckResult:
        stored = workspace.documents.read("drift", context.partition_key)
        return dg.AssetCheckResult(
            passed=not stored["verdict"]["drifted"],
            severity=dg.AssetCheckSeverity.WARN,
            description=stored["summary"],
        )

    @parts.check(DRIFT, "feed_alive", description="The price has moved as lately as it always did in training.")
    def feed_alive(
        context: dg.AssetCheckExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.AssetCheckResult:
        stored = workspace.documents.read("drift", context.partition_key)
        return dg.AssetCheckResult(
            passed=not stored["verdict"].get("dead_feed", False),
            severity=dg.AssetCheckSeverity.WARN,
            description=stored["summary"],
        )

    return [drift, no_drift, feed_alive]
