"""The HTML report of a symbol, and the leaderboard and the dashboard over all of them."""

from typing import Any

import dagster as dg

from fxgpt_pipeline.defs.common import OWNERS, RENEWED_BY_ANY, Parts, begin, finished
from fxgpt_pipeline.stages import CHAMPION, DASHBOARD, DRIFT, LEADERBOARD, PERFORMANCE, REPORT, SCORES
from fxgpt_pipeline.workspace import Workspace


def build(parts: Parts) -> list[Any]:
    """Return the report asset, the leaderboard and the dashboard."""

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

    return [overview, _leaderboard(), _dashboard()]


def _leaderboard() -> dg.AssetsDefinition:
    @dg.asset(
        key=dg.AssetKey(LEADERBOARD),
        deps=[dg.AssetKey(SCORES)],
        group_name=LEADERBOARD[0],
        code_version="1",
        owners=OWNERS,
        kinds={"html"},
        automation_condition=RENEWED_BY_ANY,
        description="All pairs at a glance: mean skill and rank of every model, its pairs better and worse than the "
        "best baselines, champions and alarms. It stands on the evaluations of all symbols.",
    )
    def leaderboard(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult[Any]:
        from fxgpt_pipeline.ranking import write_board

        board, path = write_board(workspace)
        best = board.standings[0].family if board.standings else "none"
        return dg.MaterializeResult(
            metadata={
                "report": dg.MetadataValue.path(str(path)),
                "symbols": len(board.symbols),
                "best": best,
                "standings": dg.MetadataValue.json(board.to_dict()["standings"]),
                "alarms": sum(standing.alarms for standing in board.standings),
            }
        )

    return leaderboard


def _dashboard() -> dg.AssetsDefinition:
    @dg.asset(
        key=dg.AssetKey(DASHBOARD),
        deps=[dg.AssetKey(CHAMPION), dg.AssetKey(DRIFT), dg.AssetKey(PERFORMANCE)],
        group_name=DASHBOARD[0],
        code_version="1",
        owners=OWNERS,
        kinds={"html"},
        automation_condition=RENEWED_BY_ANY,
        description="Every pair on one page: champion, age and expiry, skill and coverage, drift, live performance, "
        "last decisions, next look. It stands on champions, drift and performance of all symbols.",
    )
    def dashboard(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult[Any]:
        from fxgpt_pipeline.dashboarding import write_dashboard

        rows, path = write_dashboard(workspace)
        return dg.MaterializeResult(
            metadata={
                "report": dg.MetadataValue.path(str(path)),
                "symbols": len(rows),
                "drifted": sum(row.drifted for row in rows),
                "expired": sum(row.expired for row in rows),
                "to_look_into": sum(row.calls for row in rows),
                "pairs": dg.MetadataValue.json([row.to_dict() for row in rows]),
            }
        )

    return dashboard
