"""`fxgpt download`: a provider's bars into the lake."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import click

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.symbols import normalise_symbol
from fxgpt_core.common.timeframes import timeframe as parse_timeframe
from fxgpt_core.store.asset_config import AssetConfig
from fxgpt_core.store.asset_files import load_assets
from fxgpt_core.store.clock import SystemClock, to_datetime64
from fxgpt_core.store.paths import Home, config_dir
from fxgpt_pipeline.cli.output import json_option, print_json, reporter

if TYPE_CHECKING:
    from fxgpt_core.market.providers.downloading import DownloadSummary


@click.command("download")
@click.argument("symbol")
@click.option("--provider", "name", help="dukascopy, tiingo, alpha_vantage …; by default the source of the asset.")
@click.option("--timeframe", help="Bar length, such as 1m; by default the asset's finest.")
@click.option("--from", "since", help="First day or time (UTC), such as 2024-01-01; by default the asset's since.")
@click.option("--to", "until", help="Day or time (UTC) before which to end; by default now.")
@click.option("--month", "months", multiple=True, help="Fetch this month (2024-03) anew, whatever came before.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the provider.")
@json_option
@click.pass_context
def download_bars(
    ctx: click.Context,
    symbol: str,
    name: str | None,
    timeframe: str | None,
    since: str | None,
    until: str | None,
    months: tuple[str, ...],
    options: tuple[str, ...],
    as_json: bool,
) -> None:
    """Fetch bars of SYMBOL that are not in the lake yet, and say what came.

    A download that broke off carries on where it stopped; nothing that was answered is asked for twice. Keys come from
    the environment: TIINGO_API_KEY, ALPHAVANTAGE_API_KEY (or *_FILE).
    """
    pair, clock = normalise_symbol(symbol), SystemClock()
    asset = load_assets(config_dir()).get(pair)
    source = _chosen(name, asset.source if asset is not None and asset.remote else None, "--provider", pair)
    bar = parse_timeframe(_chosen(timeframe, asset.base.code if asset is not None else None, "--timeframe", pair))
    begin = _moment(_chosen(since, asset.since if asset is not None else None, "--from", pair), "--from")
    end = _moment(until, "--to") if until else clock.now()
    if end <= begin:
        raise BadInputError(f"--to {until or 'now'} does not lie after --from {begin:%Y-%m-%d %H:%M}.")

    from fxgpt_core.market.lake import Lake
    from fxgpt_core.market.providers.downloading import BrokenOff, download
    from fxgpt_core.market.providers.registry import provider
    from fxgpt_pipeline.settings import load_settings

    configured = asset.provider if asset is not None and asset.source == source else {}
    bars = provider(source, {**configured, **_options(options)}, clock)
    quality = load_settings(config_dir(), asset).quality
    lake = Lake(Home.from_environment().create().lake)
    error: BrokenOff | None = None
    with reporter() as progress:
        try:
            summary = download(
                lake, bars, pair, bar, to_datetime64(begin), to_datetime64(end), quality, clock, progress, months=months
            )
        except BrokenOff as broken:
            error, summary = broken, broken.summary
    if as_json:
        print_json({**summary.to_dict(), "error": None if error is None else str(error)})
    else:
        _describe(summary)
    if error is not None:
        click.echo(f"Error: {error}", err=True)
        ctx.exit(error.exit_code)
    if not as_json and summary.answered_bars:
        _next_step(pair, summary, asset)


def _chosen(given: Any, configured: Any, option: str, symbol: str) -> Any:
    """Return what was given, else what the asset says; raises BadInputError naming the option without either."""
    if given is None and configured is None:
        raise BadInputError(f"Say {option}: {symbol} is not configured with it.")
    return configured if given is None else given


def _moment(value: str | date, option: str) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise BadInputError(f"{option} {value!r} is no day or time such as 2024-01-01 or 2024-01-01T12:00.") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _options(given: tuple[str, ...]) -> dict[str, Any]:
    """Return NAME=VALUE pairs with values read as YAML; raises BadInputError for anything else."""
    import yaml

    out: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise BadInputError(f"--option {text!r} is not written as NAME=VALUE, for example ticks=true.")
        try:
            out[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise BadInputError(f"--option {text!r}: the value is not understood.") from None
    return out


def _describe(summary: DownloadSummary) -> None:
    click.echo(f"{summary.symbol} {summary.timeframe} from {summary.provider}, price side {summary.side}")
    if not summary.asked:
        click.echo("  asked       nothing: all of it was answered before, or is not over yet")
    else:
        shown = [f"{start} to {end}" for start, end in summary.asked[:3]]
        more = f" and {len(summary.asked) - 3} spans more" if len(summary.asked) > 3 else ""
        click.echo(f"  asked       {', '.join(shown)}{more} ({summary.expected} bars of market hours)")
        span = f", {summary.first} to {summary.last}" if summary.first else ""
        click.echo(f"  came        {summary.answered_bars} bars{span}")
        click.echo(f"  in the lake {summary.rows_changed} rows new or changed")
    click.echo(f"  requests    {summary.requests}")
    if summary.quarantined:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(summary.quarantined.items()))
        click.echo(f"  quarantine  {reasons}")
    if summary.open_from:
        click.echo(f"  still open  from {summary.open_from}")
    for warning in summary.warnings:
        click.echo(f"  warning     {warning}")


def _next_step(symbol: str, summary: DownloadSummary, asset: AssetConfig | None) -> None:
    """Say what stands between the bars and a forecast."""
    if asset is None:
        click.echo(f"Next: fxgpt assets add {symbol} --timeframes {summary.timeframe} --side {summary.side}")
    else:
        click.echo(f"Next: fxgpt materialize --symbol {symbol}")
