"""The closing table of a run: skill, coverage, backtest, champion, and where to look next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.models.registry import FAMILIES
from fxgpt_pipeline.cli.output import console, table

if TYPE_CHECKING:
    from fxgpt_core.evaluation.result import Evaluation
    from fxgpt_pipeline.lineage import Lineage
    from fxgpt_pipeline.workspace import Workspace


def print_summary(workspace: Workspace, lineage: Lineage) -> None:
    """Print what the stored results of a symbol say."""
    from fxgpt_core.evaluation.result import Evaluation
    from fxgpt_pipeline.outputs import report_path

    documents, symbol = workspace.documents, lineage.symbol
    evaluation = Evaluation.from_dict(documents.read("evaluation", symbol))
    out = console()
    out.print()
    out.print(skill_table(evaluation))
    out.print(backtest_table(lineage))
    champion = documents.read("champion", symbol)
    serving = workspace.registry.holder(symbol, "champion")
    if serving is not None:
        out.print(f"Champion: {FAMILIES[serving.family].label}, version {serving.label}", style="bold")
    if serving is not None and serving.label != champion["champion"]:
        out.print(f"  chosen since by a person: {serving.tags.get('champion_reason', '')}", markup=False)
    for reason in champion["decision"]["reasons"]:
        out.print(f"  {reason}", markup=False)
    out.print()
    out.print("Where to look next")
    for what, where in (
        ("report", str(report_path(lineage))),
        ("graph, runs, schedules", "make ui, then http://127.0.0.1:3000 (MLflow: http://127.0.0.1:5000)"),
        ("a forecast now", f"fxgpt forecast {symbol}"),
        ("your own bars", "fxgpt assets add GBPUSD; fxgpt import FILE; fxgpt materialize --symbol GBPUSD"),
    ):
        out.print(f"  {what:<24}{where}", markup=False)


def skill_table(evaluation: Evaluation) -> Any:
    """Return one row per horizon and model: CRPS, skill against the best baseline with p, coverage, sample sizes."""
    rows = []
    for horizon in evaluation.horizons:
        for family in evaluation.families:
            scores = evaluation.of(family, horizon)
            coverage, best = scores.covered(0.9), scores.best
            rows.append(
                (
                    horizon_name(horizon),
                    FAMILIES[family].label,
                    f"{scores.crps.value * 1e4:.3f}",
                    "best baseline" if best is None else f"{best.value:+.2%}",
                    "" if best is None else f"{best.p_value:.3f}",
                    "" if best is None or best.bootstrap is None else f"{best.bootstrap.p_value:.3f}",
                    {True: "yes", False: "no", None: ""}[scores.in_confidence_set],
                    f"{coverage.raw.value:.1%}",
                    f"{coverage.calibrated.value:.1%}",
                    scores.rows,
                    round(scores.effective_rows),
                )
            )
    columns = (
        "horizon", "model", "CRPS e-4", "skill", "p", "p redrawn", "in set", "90% raw", "90% calibrated", "rows",
        "effective",
    )  # fmt: skip
    return table(
        f"{evaluation.symbol}, out of sample {evaluation.start[:16]} to {evaluation.end[:16]} UTC; "
        "skill against the best baseline of the horizon; redrawn: by a paired block bootstrap; in set: data cannot "
        "tell it from the best",
        columns,
        rows,
    )


def backtest_table(lineage: Lineage) -> Any:
    """Return one row per model: what trading its calibrated forecasts earned after costs."""
    from fxgpt_pipeline.evaluating import backtest_name

    rows = []
    for family in lineage.families:
        result = lineage.workspace.documents.read(backtest_name(family), lineage.symbol)
        metrics, sharpe = result["metrics"], result["intervals"]["sharpe"]
        traded = result["status"] == "traded"
        rows.append(
            (
                FAMILIES[family].label,
                result["status"],
                horizon_name(result["horizon"]),
                f"{metrics['return']:+.2%}" if traded else "",
                f"{metrics['sharpe']:.2f}" if traded and metrics["sharpe"] is not None else "",
                f"{sharpe[0]:.2f} to {sharpe[1]:.2f}" if traded and sharpe else "",
                f"{metrics['max_drawdown']:.1%}" if traded else "",
                int(metrics["trades"]) if traded else 0,
                f"{result['costs']['share_of_cash']:.2%}" if traded else "",
            )
        )
    costs = lineage.asset.costs
    title = (
        f"Backtest of the calibrated forecasts after {costs.spread_pips:g} pips spread and "
        f"{costs.commission_per_million:g} per million commission a side"
    )
    columns = ("model", "status", "horizon", "return", "Sharpe", "95% interval", "drawdown", "trades", "costs/cash")
    return table(title, columns, rows)
