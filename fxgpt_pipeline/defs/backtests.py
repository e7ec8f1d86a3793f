"""Backtests of calibrated out-of-sample forecasts: one asset a family."""

from typing import Any

import dagster as dg

from fxgpt_core.models.registry import FAMILIES, FamilyEntry
from fxgpt_pipeline.defs.common import Parts, begin, finished, switched_off
from fxgpt_pipeline.stages import backtest
from fxgpt_pipeline.workspace import Workspace


def build(parts: Parts) -> list[Any]:
    """Return the backtest of every family."""
    return [_backtest(parts, entry) for entry in FAMILIES.values()]


def _backtest(parts: Parts, entry: FamilyEntry) -> dg.AssetsDefinition:
    key = backtest(entry.name)

    @parts.asset(
        key,
        description=f"{entry.label}: calibrated out-of-sample forecasts traded through the ledger, filled at the next "
        "open, after spread, slippage, commission and swap. A forecast without direction trades nothing.",
        kinds={"python"},
    )
    def result(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult[Any]:
        from fxgpt_pipeline.evaluating import backtest_family, backtest_name
        from fxgpt_pipeline.scrutiny import key_figures

        lineage = begin(context, workspace, key)
        if entry.name not in lineage.families:
            return switched_off(entry.name)
        outcome = backtest_family(lineage, entry.name)
        figures = {name: value for name, value in outcome.metrics.items() if value is not None}
        luck = key_figures(lineage.workspace.documents.read(backtest_name(entry.name), lineage.symbol))
        return finished(lineage, key, {"status": outcome.status, **figures, **luck, **dict(outcome.costs)})

    return result
