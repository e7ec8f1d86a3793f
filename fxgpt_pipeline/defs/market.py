"""Candles by symbol, the check that blocks everything after them when they are bad, and the one for their age."""

import base64
from typing import Any

import dagster as dg
import numpy as np
from pydantic import Field

from fxgpt_pipeline.defs.common import Parts, finished, reporter
from fxgpt_pipeline.freshness import judge_freshness
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.pinning import UNTIL
from fxgpt_pipeline.refreshing import Refreshed, refresh_candles, write_quality
from fxgpt_pipeline.stages import CANDLES
from fxgpt_pipeline.workspace import Workspace

QUALITY = "quality"
FRESH = "fresh"
_DRAWN = 400


class CandlesConfig(dg.Config):
    """What the launchpad asks of a candles run."""

    months: list[str] = Field(
        default_factory=list,
        description='Months to fetch and derive again, such as ["2024-03"]. Empty: what is missing or out of date.',
    )


def build(parts: Parts) -> list[Any]:
    """Return the candles asset and its checks."""

    @parts.asset(
        CANDLES,
        description="Bars of every timeframe: the base as imported or fetched, slower ones derived from it, aligned to "
        "17:00 New York from 4h on. A running bar is never published.",
        kinds={"parquet"},
    )
    def candles(
        context: dg.AssetExecutionContext, config: CandlesConfig, workspace: dg.ResourceParam[Workspace]
    ) -> dg.MaterializeResult[Any]:
        lineage = workspace.lineage(context.partition_key)
        done = refresh_candles(lineage, config.months, reporter(context, workspace))
        lineage = lineage.pinned(np.datetime64(done.candles.until, "ns"))
        report = {**done.candles.quality.to_dict(), "failures": list(done.candles.failures)}
        workspace.documents.write(QUALITY, lineage.symbol, report, lineage.fingerprint(CANDLES))
        page = write_quality(lineage)
        shown = {"prices": _picture(lineage, done), "quality_page": dg.MetadataValue.path(page) if page else None}
        return finished(lineage, CANDLES, {**_metadata(done), **shown})

    @parts.check(
        CANDLES,
        "data_quality",
        description="Missing, quarantined and suspiciously stamped bars are within the configured limits, every month.",
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

    @parts.check(
        CANDLES,
        FRESH,
        description="The last bar closed recently, in hours of open market; bars from files are meant to be old.",
    )
    def fresh(context: dg.AssetCheckExecutionContext, workspace: dg.ResourceParam[Workspace]) -> dg.AssetCheckResult:
        age = judge_freshness(workspace.lineage(context.partition_key))
        return dg.AssetCheckResult(
            passed=age.passed,
            severity=dg.AssetCheckSeverity.WARN,
            description=age.sentence,
            metadata={"trading_hours": age.trading_hours},
        )

    return [candles, data_quality, fresh]


def _metadata(done: Refreshed) -> dict[str, Any]:
    """Return what the run found and did, as Dagster shows it."""
    found, quality = done.candles, done.candles.quality
    facts = {
        "dagster/row_count": sum(found.rows.values()),
        "rows_by_timeframe": found.rows,
        "first": found.first,
        "last": found.last,
        UNTIL: found.until,
        "side": found.side,
        "gaps": found.gaps,
        "missing_bars": quality.missing,
        "coverage": quality.coverage,
        "quarantined": sum(quality.quarantined.values()),
        "months_written": found.months_written,
    }
    return facts if done.fetched is None else {**facts, "fetched": done.fetched.to_dict()}


def _picture(lineage: Lineage, done: Refreshed) -> dg.MetadataValue[Any]:
    """Return the history as a small picture, drawn from the slowest bars that are many enough."""
    from fxgpt_core.reports.thumbnail import price_thumbnail

    enough = [bar for bar in lineage.timeframes if done.candles.rows[bar.code] >= _DRAWN]
    bars = lineage.candles(enough[-1] if enough else None)
    encoded = base64.b64encode(price_thumbnail(bars)).decode()
    return dg.MetadataValue.md(f"![{bars.symbol} {bars.timeframe}](data:image/png;base64,{encoded})")
