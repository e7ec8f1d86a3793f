"""`fxgpt splits`: what trains, what validates and what is tested."""

from __future__ import annotations

import click

from fxgpt_pipeline.cli.output import console, json_option, print_json, table


@click.command()
@click.argument("symbol")
@json_option
def splits(symbol: str, as_json: bool) -> None:
    """List the splits of SYMBOL's history and write a page that draws them, walk-forward and combinatorial."""
    from fxgpt_pipeline.splitting import split_document, write_split_page
    from fxgpt_pipeline.workspace import Workspace

    lineage = Workspace.from_environment().lineage(symbol)
    document = split_document(lineage)
    if as_json:
        print_json(document)
        return
    columns = ("split", "trains from", "trained until", "tests from", "to", "rows", "purged", "embargoed")
    for title, found in (
        (f"{lineage.symbol}: walk-forward", document["walk_forward"]),
        ("Combinatorial purged cross-validation", document["combinatorial"]["splits"]),
    ):
        rows = [
            (
                one["name"],
                one["train"][0][:10],
                one["trained_until"][:10],
                *(moment[:10] for moment in one["test"]),
                one["test_rows"],
                one["purged"],
                one["embargoed"],
            )
            for one in found
        ]
        console().print(table(title, columns, rows))
    click.echo(f"Drawn in {write_split_page(lineage)}")
