"""`fxgpt lake`: upkeep of the store of bars, features and forecasts."""

from __future__ import annotations

import click

from fxgpt_core.store.paths import Home
from fxgpt_pipeline.cli.output import json_option, print_json


@click.group()
def lake() -> None:
    """Look after the lake: what killed writers left, and what was lost."""


@lake.command("rebuild", short_help="Accept given bars as they are in the lake.")
@click.argument("symbol")
@click.argument("timeframe")
@click.option("--side", help="bid, ask or mid: for bars whose manifest has gone.")
@json_option
def rebuild(symbol: str, timeframe: str, side: str | None, as_json: bool) -> None:
    """Write the manifest of imported or fetched bars anew from the months that are there.

    For a manifest that was lost or damaged, and for months that lost bars which no file brings back whole. Months that
    cannot be read are removed, and mid bars are made again from their bid and ask bars. Import the files again after
    it: that adds what is missing.
    """
    from fxgpt_core.common.symbols import normalise_symbol
    from fxgpt_core.common.timeframes import timeframe as parse
    from fxgpt_core.market.lake import Lake
    from fxgpt_core.market.rebuilding import rebuild as rebuild_bars

    pair, bar = normalise_symbol(symbol), parse(timeframe)
    made = rebuild_bars(Lake(Home.from_environment().lake), pair, bar, side)
    if as_json:
        print_json({"symbol": pair, "timeframe": bar.code, **made.to_dict()})
        return
    for part in made.removed:
        click.echo(f"removed {part}: it could not be read")
    click.echo(f"{pair} {bar}: {made.rows} {made.side} bars in {made.months} months. Now import their files again.")


@lake.command("compact", short_help="Remove what killed writers left.")
@click.option("--break-locks", is_flag=True, help="Also free locks of stores that cannot tell whether a writer lives.")
@json_option
def compact(break_locks: bool, as_json: bool) -> None:
    """Remove temporary files of killed writers and lock files that nobody holds; running writers are not disturbed.

    Use --break-locks only while nothing writes, on stores with neither file locks nor conditional puts.
    """
    from fxgpt_core.market.lake import Lake

    where = Lake(Home.from_environment().lake)
    swept = where.storage.sweep(break_locks)
    if as_json:
        print_json({"lake": str(where.root), "leftovers": list(swept.leftovers), "locks": swept.locks})
        return
    for name in swept.leftovers:
        click.echo(f"removed {name}")
    click.echo(f"{where.root}: {len(swept.leftovers)} leftovers and {swept.locks} idle locks removed.")


@lake.command("archive", short_help="Move old live forecasts into the lake.")
@json_option
def archive(as_json: bool) -> None:
    """Move live forecasts older than `automation.forecast_days` from the database to the dataset forecast_log."""
    from fxgpt_pipeline.archiving import archive_old_forecasts
    from fxgpt_pipeline.homes import prepare
    from fxgpt_pipeline.workspace import Workspace

    workspace = Workspace.from_environment()
    prepare(workspace)
    moved = archive_old_forecasts(workspace)
    if as_json:
        print_json({"moved": moved})
        return
    click.echo(f"{moved} forecasts moved to forecast_log in {workspace.lake.root}.")
