"""`fxgpt drift`: the last drift verdict of a symbol."""

from __future__ import annotations

import click

from fxgpt_pipeline.cli.output import console, json_option, print_json, table


@click.command()
@click.argument("symbol")
@json_option
def drift(symbol: str, as_json: bool) -> None:
    """Show whether the last days of SYMBOL look unlike the span that its models were trained on."""
    from fxgpt_pipeline.workspace import Workspace

    lineage = Workspace.from_environment().lineage(symbol)
    document = lineage.workspace.documents.read("drift", lineage.symbol)
    if as_json:
        print_json(document)
        return
    console().print(document["summary"], markup=False)
    rows = [(c["name"], round(c["ks"], 3), round(c["score"], 2)) for c in document["verdict"]["top"]]
    console().print(table("Columns that moved most", ("column", "KS distance", "in standard deviations"), rows))
