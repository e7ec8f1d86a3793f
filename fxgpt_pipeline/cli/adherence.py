"""`fxgpt adherence`: whether the fills of a backtest are what its orders meant."""

from __future__ import annotations

from typing import Any

import click

from fxgpt_pipeline.cli.output import console, json_option, print_json, table

_COLUMNS = (
    "orders", "filled", "partial", "rejected", "withheld", "slippage", "worst", "cost", "expected", "drift", "stops",
    "accurate", "false", "targets", "accurate",
)  # fmt: skip
_SHOWN = 12


@click.command()
@click.argument("symbol")
@click.option("--family", metavar="MODEL", help="The model whose backtest is judged.  [default: the champion]")
@click.option("--by", "period", type=click.Choice(["day", "week", "month"]), default="month", show_default=True)
@json_option
def adherence(symbol: str, family: str | None, period: str, as_json: bool) -> None:
    """Compare orders and fills of a backtest of SYMBOL: slippage, rejections, cost drift, stops and targets.

    Costs are expected as the cost model charges on average; breached limits, rejections and costs decide whether to
    trade on, half as large, or not at all.
    """
    from fxgpt_core.common.errors import BadInputError
    from fxgpt_pipeline.auditing import adherence as judged
    from fxgpt_pipeline.homes import prepare
    from fxgpt_pipeline.workspace import Workspace

    workspace = Workspace.from_environment()
    lineage = workspace.lineage(symbol)
    prepare(workspace)
    champion = lineage.workspace.documents.find("champion", lineage.symbol)
    name = family or (champion and champion["champion_family"]) or lineage.families[0]
    if name not in lineage.families:
        raise BadInputError(f"{lineage.symbol} has no model {name!r}: it has {', '.join(lineage.families)}.")
    document = judged(lineage, name)
    if as_json:
        print_json(document)
        return
    rows = [(row["from"], *_cells(row)) for row in document[period][-_SHOWN:]]
    rows.append(("all", *_cells(document["figures"])))
    out, decision = console(), document["decision"]
    out.print(table(f"{lineage.symbol} {name}: fills against orders", (period, *_COLUMNS), rows))
    out.print(f"{decision['what']}: {' '.join(decision['reasons'])}", markup=False)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    def number(name: str, form: str) -> str:
        return "" if row[name] is None else format(row[name], form)

    counts = [number(name, ".0f") for name in ("orders", "filled", "partial", "rejected", "withheld")]
    money = [number(name, ",.2f") for name in ("cost", "expected_cost")]
    return (
        *counts, number("slippage_mean", "+.3%"), number("slippage_worst", "+.2%"), *money,
        number("cost_drift", "+.0%"),
        number("stops", ".0f"), number("stop_accuracy", ".0%"), number("false_stops", ".0f"), number("targets", ".0f"),
        number("target_accuracy", ".0%"),
    )  # fmt: skip
