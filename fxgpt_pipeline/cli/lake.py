"""`fxgpt lake`: upkeep of the store of bars, features and forecasts."""

from __future__ import annotations

import click

from fxgpt_core.store.paths import Home
from fxgpt_pipeline.cli.output import json_option, print_json


@click.group()
def lake() -> None:
    """Look after the lake: what killed writers left."""


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
