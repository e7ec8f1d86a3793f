"""`fxgpt import`: a person's own bars and ticks into the lake."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fxgpt_core.common.errors import BadInputError, FxgptError
from fxgpt_core.common.symbols import normalise_symbol
from fxgpt_core.common.timeframes import timeframe as parse_timeframe
from fxgpt_core.store.asset_config import AssetConfig
from fxgpt_core.store.asset_files import load_asset
from fxgpt_core.store.clock import SystemClock
from fxgpt_core.store.paths import Home, config_dir
from fxgpt_pipeline.cli.output import json_option, print_json

if TYPE_CHECKING:
    from fxgpt_core.market.config import QualityConfig
    from fxgpt_core.market.files.importing import ImportResult, Imports


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--symbol", help="Currency pair, where neither the file's name nor its folder says it.")
@click.option("--layout", help="Insist on a layout, such as csv, histdata, mt4, mt5_points, lean or dukascopy.")
@click.option("--tz", help="Time zone of the stamps, such as UTC or America/New_York; checked against the weeks.")
@click.option("--side", help="Price side of the bars: mid, bid or ask.")
@click.option("--timeframe", help="Bar length, such as 5m; for ticks the bars to make of them (1m where not given).")
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
    """Import bars or ticks from FILE..., plain or in .zip and .gz archives, and say what was recognised.

    Files of one pair given together share the evidence about their clock; bid and ask files become mid bars with
    spreads. Rows that cannot be used go to quarantine with their reason. A file that cannot be used at all leaves the
    lake as it was and does not stop the others: exit code 1 when some failed, 2 when all did. Economic calendars are
    recognised too.
    """
    pair = normalise_symbol(symbol) if symbol else None
    bar = parse_timeframe(timeframe) if timeframe else None

    from fxgpt_core.market.files.importing import import_files as import_all
    from fxgpt_core.market.files.reading import Claims
    from fxgpt_core.market.lake import Lake

    claims = Claims(pair, layout, tz, side, bar)
    limits = _Limits()
    lake = Lake(Home.from_environment().create().lake)
    done = import_all(lake, list(dict.fromkeys(files)), claims, limits, SystemClock())
    for _, error in done.failed:
        click.echo(f"Error: {error}", err=True)
    for warning in limits.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if as_json:
        lost = [{"path": str(path), "error": str(error)} for path, error in done.failed]
        events = {"events": done.events} if done.events else {}
        imported = [result.to_dict() for result in done.results]
        print_json({"imported": imported, **events, "failed": lost, "warnings": limits.warnings})
    else:
        _answer(done, limits)
    if done.failed:
        none = not done.results and not done.events
        ctx.exit(2 if none and all(isinstance(error, BadInputError) for _, error in done.failed) else 1)


class _Limits:
    """The configured quality limits of each pair; a broken configuration file is told and does not stop an import."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def asset(self, symbol: str) -> AssetConfig | None:
        """Return the asset's configuration, None where there is none or it cannot be read."""
        path = config_dir() / "assets" / f"{symbol}.yaml"
        try:
            return load_asset(path) if path.is_file() else None
        except FxgptError as error:
            self._warn(f"{error} Its bars were imported all the same.")
            return None

    def __call__(self, symbol: str) -> QualityConfig:
        from fxgpt_pipeline.settings import Settings, load_settings

        asset = self.asset(symbol)
        try:
            return load_settings(config_dir(), asset).quality
        except FxgptError as error:
            self._warn(f"{error} The default quality limits were used.")
            return Settings().quality

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def _answer(done: Imports, limits: _Limits) -> None:
    for result in done.results:
        _describe(result)
    for events in done.events:
        _describe_events(events)
    if done.results:
        _next_steps(done.results, limits)


def _describe(result: ImportResult) -> None:
    rows = f"{result.rows_imported} of {result.rows_read} rows"
    if result.ticks:
        rows = f"{result.rows_imported} bars of {result.ticks - result.ticks_aside} of {result.ticks} ticks"
    click.echo(f"{result.path}: {result.symbol} {result.timeframe}, {rows}")
    delimiter = f", {result.delimiter}-separated" if result.delimiter else ""
    facts = {
        "layout": result.layout + delimiter,
        "time zone": f"{result.time_zone} ({result.time_zone_how})",
        "price side": f"{result.side} ({result.side_how})",
        "scale": f"{result.scale}, prices {result.price_low:.6g} to {result.price_high:.6g}",
        "span": f"{result.first} to {result.last}, {result.missing} bars missing in market hours",
        "in the lake": f"{result.rows_changed} rows new or changed",
    }
    if result.lake_side not in ("", result.side):
        facts["in the lake"] += f"; bid and ask are there now and make {result.lake_side} bars with spreads"
    if result.unsorted:
        facts["unsorted"] = f"{result.unsorted} rows were out of order and have been sorted"
    if result.filler:
        facts["filler"] = f"{result.filler} rows of closed minutes (one price, volume 0) were left out"
    aside = [_counts(result.quarantined)] if result.quarantined else []
    if result.ticks_aside:
        aside.append(f"{result.ticks_aside} ticks")
    if aside:
        facts["quarantine"] = ", ".join(aside)
    _lines(facts)
    for warning in result.warnings:
        _lines({"warning": warning})


def _describe_events(events: dict[str, Any]) -> None:
    click.echo(f"{events['path']}: economic calendar, {events['rows_imported']} of {events['rows_read']} releases")
    facts = {
        "source": events["source"],
        "time zone": f"{events['time_zone']} ({events['time_zone_how']})",
        "currencies": _counts(events["currencies"]),
        "impacts": _counts(events["impacts"]),
        "span": f"{events['first']} to {events['last']}",
        "in the lake": f"{events['rows_changed']} releases new, changed or gone",
    }
    if events["rows_removed"]:
        facts["in the lake"] += f", of which {events['rows_removed']} are gone"
    if events["quarantined"]:
        facts["quarantine"] = _counts(events["quarantined"])
    _lines(facts)
    for warning in events["warnings"]:
        _lines({"warning": warning})


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _lines(facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        click.echo(f"  {name:11} {value}")


def _next_steps(done: list[ImportResult], limits: _Limits) -> None:
    """Say what stands between the imported bars and a forecast."""
    finest = {
        result.symbol: result for result in sorted(done, key=lambda r: parse_timeframe(r.timeframe), reverse=True)
    }
    for symbol, result in sorted(finest.items()):
        asset = limits.asset(symbol)
        side = result.lake_side or result.side
        if asset is None:
            bars = ",".join([result.timeframe, *_slower(result.timeframe)])
            click.echo(f"Next: fxgpt assets add {symbol} --timeframes {bars} --side {side}")
            continue
        if parse_timeframe(result.timeframe) > asset.base:
            click.echo(
                f"Note: {symbol} is configured with base {asset.base}, finer than these {result.timeframe} bars."
            )
        if asset.price_side not in (None, side):
            click.echo(f"Note: {symbol} is configured as {asset.price_side}, these bars are {side}.")
        if asset.source != "import":
            click.echo(f"Note: {symbol} is configured with source {asset.source}: set it to import to use these bars.")
        click.echo(f"Next: fxgpt materialize --symbol {symbol}")


def _slower(name: str) -> list[str]:
    """Return up to three usual timeframes above `name`, to propose."""
    return [bar for bar in ("5m", "15m", "1h", "4h", "1d") if parse_timeframe(bar) > parse_timeframe(name)][:3]
