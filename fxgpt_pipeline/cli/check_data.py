"""`fxgpt check data`: are the stored bars what their manifests say?"""

from __future__ import annotations

import click

from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.common.symbols import normalise_symbol
from fxgpt_core.store.paths import Home
from fxgpt_pipeline.cli.output import json_option, print_json


@click.command("data")
@click.argument("symbol", required=False)
@json_option
@click.pass_context
def data(ctx: click.Context, symbol: str | None, as_json: bool) -> None:
    """Compare every stored bar of SYMBOL (all symbols when left out) with its manifest.

    Checks checksums, order, duplicates, prices, columns, bars in a wrong month or in two, months without an entry and
    entries without a month. What an interrupted import left is noted. Exit code 1 when something is wrong.
    """
    from fxgpt_core.market.lake import Lake
    from fxgpt_core.market.lake_check import check_lake

    lake = Lake(Home.from_environment().lake)
    pair = None if symbol is None else normalise_symbol(symbol)
    try:
        report = check_lake(lake, pair)
    except DataError as error:
        raise BadInputError(f"{error} Or run `fxgpt demo`.") from error
    if as_json:
        print_json({"bars": report.bars, "problems": report.problems, "notes": report.notes})
    else:
        for problem in report.problems:
            click.echo(f"Error: {problem}", err=True)
        for note in report.notes:
            click.echo(f"Note: {note}", err=True)
        for name, bars in report.bars.items():
            click.echo(f"{name}: {', '.join(f'{count} bars of {bar}' for bar, count in bars.items())}")
        click.echo(f"{len(report.problems)} problems, {len(report.notes)} notes.")
    if report.problems:
        ctx.exit(1)
