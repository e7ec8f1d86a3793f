"""The portfolio of all enabled pairs by their champions' forecasts: one asset over all symbols."""

from typing import Any

import dagster as dg

from fxgpt_pipeline.defs.common import OWNERS, RENEWED_BY_ANY, Parts
from fxgpt_pipeline.stages import CHAMPION, PORTFOLIO
from fxgpt_pipeline.workspace import Workspace


def build(parts: Parts) -> list[Any]:
    """Return the portfolio."""

    @dg.asset(
        key=dg.AssetKey(PORTFOLIO),
        deps=[dg.AssetKey(CHAMPION)],
        group_name=PORTFOLIO[0],
        code_version="1",
        owners=OWNERS,
        kinds={"html"},
        automation_condition=RENEWED_BY_ANY,
        description="Every enabled pair traded by its champion's out-of-sample forecasts on one capital, under common "
        "limits of exposure, currencies, correlation and positions.",
    )
    def backtest(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult[Any]:
        from fxgpt_pipeline.portfolios import trade_portfolio

        made = trade_portfolio(workspace)
        figures = {name: value for name, value in made.result.metrics.items() if value is not None}
        told = made.to_dict()
        return dg.MaterializeResult(
            metadata={
                "report": dg.MetadataValue.path(str(made.page)),
                "status": made.result.status,
                **figures,
                "pairs": dg.MetadataValue.json(told["pairs"]),
                "left_out": dg.MetadataValue.json(told["left_out"]),
                "refused": dg.MetadataValue.json(dict(made.result.refused)),
            }
        )

    return [backtest]
