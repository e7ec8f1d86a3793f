"""`fxgpt backtest`: what trading the forecasts of a symbol earned after costs."""

from __future__ import annotations

import click

from fxgpt_pipeline.cli.output import console, json_option, print_json


@click.command()
@click.argument("symbol")
@json_option
def backtest(symbol: str, as_json: bool) -> None:
    """Show the last backtest of every model of SYMBOL; the trades are in the lake, dataset `trades`."""
    from fxgpt_pipeline.cli.summary import backtest_table
    from fxgpt_pipeline.evaluating import backtest_name
    from fxgpt_pipeline.workspace import Workspace

    lineage = Workspace.from_environment().lineage(symbol)
    if as_json:
        documents = lineage.workspace.documents
        print_json({name: documents.read(backtest_name(name), lineage.symbol) for name in lineage.families})
        return
    console().print(backtest_table(lineage))
