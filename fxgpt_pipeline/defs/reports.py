"""The HTML report of a symbol."""

from typing import Any

import dagster as dg

from fxgpt_pipeline.defs.common import Parts, begin, finished
from fxgpt_pipeline.stages import REPORT
from fxgpt_pipeline.workspace import Workspace


def build(parts: Parts) -> list[Any]:
    """Return the report asset."""

    @parts.asset(
        REPORT,
        description="One self-contained HTML page: forecast fan, champion and why, skill, calibration, backtest, "
        "drift, data quality.",
        kinds={"html"},
    )
    def overview(
        context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.MaterializeResult[Any]:
        from fxgpt_pipeline.reporting import write_overview

        lineage = begin(context, workspace, REPORT)
        path = write_overview(lineage)
        return finished(lineage, REPORT, {"report": dg.MetadataValue.path(str(path)), "bytes": path.stat().st_size})

    return [overview]
