"""Candles by symbol, and the check that blocks everything after them when they are not good enough."""

from typing import Any

import dagster as dg

from fxgpt_pipeline.defs.common import Parts, begin, finished
from fxgpt_pipeline.stages import CANDLES
from fxgpt_pipeline.workspace import Workspace

QUALITY = "quality"


def build(parts: Parts) -> list[Any]:
    """Return the candles asset and its quality check."""

    @parts.asset(
        CANDLES,
        description="Bars of every timeframe: the base as imported (or the shipped sample), slower ones derived "
        "from it, aligned to 17:00 New York from 4h on. A running bar is never published.",
        kinds={"parquet"},
    )
    def candles(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult[Any]:
        from fxgpt_core.market.history import update_candles

        lineage = begin(context, workspace, CANDLES)
        summary = update_candles(
            workspace.lake,
            lineage.symbol,
            lineage.timeframes,
            lineage.asset.source,
            lineage.settings.quality,
            lineage.asset.price_side,
        )
        report = {**summary.quality.to_dict(), "failures": list(summary.failures)}
        workspace.documents.write(QUALITY, lineage.symbol, report, lineage.fingerprint(CANDLES))
        return finished(
            lineage,
            CANDLES,
            {
                "dagster/row_count": sum(summary.rows.values()),
                "rows_by_timeframe": summary.rows,
                "first": summary.first,
                "last": summary.last,
                "side": summary.side,
                "missing_bars": summary.quality.missing,
                "quarantined": sum(summary.quality.quarantined.values()),
            },
        )

    @parts.check(
        CANDLES,
        "data_quality",
        description="Missing, quarantined and suspiciously stamped bars are within the configured limits.",
        blocking=True,
    )
    def data_quality(
        context: dg.AssetCheckExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.AssetCheckResult:
        report = workspace.documents.read(QUALITY, context.partition_key)
        return dg.AssetCheckResult(
            passed=not report["failures"],
            description=" ".join(report["failures"]) or "Within the limits.",
            metadata={
                "coverage": report["coverage"],
                "missing": report["missing"],
                "expected": report["expected"],
                "quarantined": dg.MetadataValue.json(report["quarantined"]),
                "outliers": report["outliers"],
            },
        )

    return [candles, data_quality]
