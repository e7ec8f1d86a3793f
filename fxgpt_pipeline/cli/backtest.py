"""`fxgpt backtest`: what trading the forecasts of a symbol earned after costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fxgpt_pipeline.cli.output import console, json_option, print_json, table

if TYPE_CHECKING:
    from fxgpt_pipeline.lineage import Lineage

_KINDS = ("spread", "slippage", "commission", "swap")


@click.command()
@click.argument("symbol")
@click.option("--chart", "family", metavar="MODEL", help="Draw the trades of this model with backtesting.py instead.")
@click.option("--report", "reported", metavar="MODEL", help="Write the page of this model's backtest instead.")
@click.option(
    "--to",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the chart or page.  [default: in reports/]",
)
@click.option(
    "--retrained", metavar="MODEL", help="Replay the retraining of this model along history and show what came of it."
)
@json_option
def backtest(
    symbol: str, family: str | None, reported: str | None, page: Path | None, retrained: str | None, as_json: bool
) -> None:
    """Show the last backtest of every model of SYMBOL; trades, orders and fills are in the lake.

    Luck is judged by every strategy that has been tried on the pair until now, which the database counts. The page
    holds equity, luck, costs, months and single trades. The chart follows backtesting.py's model: a constant spread,
    no swap, an account in the quote currency. Both open offline.
    """
    from fxgpt_pipeline.cli.luck import luck_table, rules_table
    from fxgpt_pipeline.cli.summary import backtest_table
    from fxgpt_pipeline.evaluating import backtest_name
    from fxgpt_pipeline.workspace import Workspace

    lineage = Workspace.from_environment().lineage(symbol)
    if family is not None:
        _draw(lineage, family, page)
        return
    if reported is not None:
        from fxgpt_pipeline.reporting import write_backtest

        click.echo(f"Backtest of {lineage.symbol} {reported}: {write_backtest(lineage, reported, page)}")
        return
    if retrained is not None:
        from fxgpt_pipeline.cli.retrained import show_retrained

        show_retrained(lineage, retrained, as_json)
        return
    documents = lineage.workspace.documents
    results = {name: documents.read(backtest_name(name), lineage.symbol) for name in lineage.families}
    if as_json:
        from fxgpt_pipeline.scrutiny import judged_now

        print_json({name: judged_now(lineage, name, result) for name, result in results.items()})
        return
    out = console()
    out.print(backtest_table(lineage))
    if any(result["status"] == "traded" for result in results.values()):
        out.print(_costs_table(results))
        out.print(luck_table(lineage, results))
        out.print(rules_table(results))


def _costs_table(results: dict[str, Any]) -> Any:
    """Return one row per model that traded: gross, each kind of cost and net, in the account's currency."""
    rows = []
    for name, result in results.items():
        if result["status"] == "traded":
            paid, start = result["costs"], result["initial_cash"]
            gross, net = (result["metrics"][key] * start for key in ("gross_return", "return"))
            rows.append(
                (name, f"{gross:+,.2f}", *(f"{-paid[f'{kind}_paid']:+,.2f}" for kind in _KINDS), f"{net:+,.2f}")
            )
    currency = next(iter(results.values()))["currency"]
    return table(f"From gross to net, {currency}", ("model", "gross", *_KINDS, "net"), rows)


def _draw(lineage: Lineage, family: str, page: Path | None) -> None:
    from fxgpt_core.backtest.adapter import chart
    from fxgpt_core.common.errors import BadInputError
    from fxgpt_core.evaluation.archive import CALIBRATED, read_span

    if family not in lineage.families:
        raise BadInputError(f"{lineage.symbol} has no model {family!r}: it has {', '.join(lineage.families)}.")
    path = page or lineage.workspace.home.reports / lineage.symbol / f"chart_{family}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    forecast = read_span(lineage.workspace.lake, CALIBRATED, lineage.symbol, family)
    chart(lineage.candles(), forecast, lineage.settings.backtest, lineage.asset.costs, path)
    click.echo(f"Chart of {lineage.symbol} {family}: {path}")
