"""`fxgpt check data`: is the lake what its manifests say?"""

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
    """Compare what the lake holds of SYMBOL (everything when left out) with its manifests.

    Of bars it checks checksums, order, duplicates, prices, columns, bars in a wrong month or in two, months without an
    entry, entries without a month, and that mid bars are what their bid and ask bars make; of all other tables that
    they are there, undamaged and as long as they should be. What an interrupted import left is noted. Every problem
    names what mends it. Exit code 1 when something is wrong.
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
        print_json({"bars": report.bars, "tables": report.tables, "problems": report.problems, "notes": report.notes})
    else:
        for problem in report.problems:
            click.echo(f"Error: {problem}", err=True)
        for note in report.notes:
            click.echo(f"Note: {note}", err=True)
        for name, bars in report.bars.items():
            click.echo(f"{name}: {', '.join(f'{count} bars of {bar}' for bar, count in bars.items())}")
        if any(report.tables.values()):
            parts = ", ".join(f"{count} of {name}" for name, count in report.tables.items() if count)
            click.echo(f"Other parts read: {parts}.")
        click.echo(f"{len(report.problems)} problems, {len(report.notes)} notes.")
    if report.problems:
        ctx.exit(1)
