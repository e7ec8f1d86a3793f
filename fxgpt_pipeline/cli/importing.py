"""`fxgpt import`: a person's own bars into the lake."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fxgpt_core.common.errors import BadInputError, FxgptError
from fxgpt_core.common.symbols import normalise_symbol
from fxgpt_core.common.timeframes import timeframe as parse_timeframe
from fxgpt_core.store.asset_config import load_assets
from fxgpt_core.store.paths import Home, config_dir
from fxgpt_pipeline.cli.output import json_option, print_json

if TYPE_CHECKING:
    from fxgpt_core.market.importing import ImportResult


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--symbol", help="Currency pair, where the file name does not say it.")
@click.option("--layout", help="csv, parquet, histdata, mt4 or mt5_points, where it is not recognised.")
@click.option("--tz", help="Time zone of the stamps, such as UTC or America/New_York.")
@click.option("--side", help="Price side of the bars: mid, bid or ask.")
@click.option("--timeframe", help="Bar length, such as 5m.")
@json_option
@click.pass_context
def import_files(
    ctx: click.Context,
    files: tuple[Path, ...],
    symbol: str | None,
    layout: str | None,
    tz: str | None,
    side: str | None,
    timeframe: str | None,
    as_json: bool,
) -> None:
    """Import bars from FILE... and say what was recognised.

    Rows that cannot be used go to quarantine with their reason. A file that cannot be used at all leaves the lake as
    it was and does not stop the others: exit code 1 when some failed, 2 when all did.
    """
    pair = normalise_symbol(symbol) if symbol else None
    bar = parse_timeframe(timeframe) if timeframe else None

    from fxgpt_core.market.importing import import_file
    from fxgpt_core.market.lake import Lake

    lake = Lake(Home.from_environment().create().lake)
    done: list[ImportResult] = []
    failed: list[tuple[Path, FxgptError]] = []
    for path in files:
        try:
            result = import_file(lake, path, symbol=pair, layout=layout, tz=tz, side=side, timeframe=bar)
        except FxgptError as error:
            failed.append((path, error))
            click.echo(f"Error: {error}", err=True)
            continue
        done.append(result)
        if not as_json:
            _describe(result)
    if as_json:
        lost = [{"path": str(path), "error": str(error)} for path, error in failed]
        print_json({"imported": [result.to_dict() for result in done], "failed": lost})
    elif done:
        _next_steps(done)
    if failed:
        unusable = not done and all(isinstance(error, BadInputError) for _, error in failed)
        ctx.exit(2 if unusable else 1)


def _describe(result: ImportResult) -> None:
    click.echo(f"{result.path}: {result.symbol} {result.timeframe}, {result.rows_imported} of {result.rows_read} rows")
    click.echo(f"  layout      {result.layout}")
    click.echo(f"  time zone   {result.time_zone} ({result.time_zone_how})")
    click.echo(f"  price side  {result.side} ({result.side_how})")
    click.echo(f"  span        {result.first} to {result.last}, {result.missing} bars missing in market hours")
    click.echo(f"  in the lake {result.rows_changed} rows new or changed")
    if result.unsorted:
        click.echo(f"  unsorted    {result.unsorted} rows were out of order and have been sorted")
    if result.quarantined:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(result.quarantined.items()))
        click.echo(f"  quarantine  {reasons}")
    for warning in result.warnings:
        click.echo(f"  warning     {warning}")


def _next_steps(done: list[ImportResult]) -> None:
    """Say what stands between the imported bars and a forecast."""
    assets = load_assets(config_dir())
    finest = {
        result.symbol: result for result in sorted(done, key=lambda r: parse_timeframe(r.timeframe), reverse=True)
    }
    for symbol, result in sorted(finest.items()):
        asset = assets.get(symbol)
        if asset is None:
            bars = ",".join([result.timeframe, *_slower(result.timeframe)])
            click.echo(f"Next: fxgpt assets add {symbol} --timeframes {bars} --side {result.side}")
            continue
        if parse_timeframe(result.timeframe) > asset.base:
            click.echo(
                f"Note: {symbol} is configured with base {asset.base}, finer than these {result.timeframe} bars."
            )
        if asset.price_side not in (None, result.side):
            click.echo(f"Note: {symbol} is configured as {asset.price_side}, these bars are {result.side}.")
        if asset.source != "import":
            click.echo(f"Note: {symbol} is configured with source {asset.source}: set it to import to use these bars.")
        click.echo(f"Next: fxgpt materialize --symbol {symbol}")


def _slower(name: str) -> list[str]:
    """Return up to three usual timeframes above `name`, to propose."""
    return [bar for bar in ("5m", "15m", "1h", "4h", "1d") if parse_timeframe(bar) > parse_timeframe(name)][:3]
