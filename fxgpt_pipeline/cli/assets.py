"""`fxgpt assets`: the list of currency pairs is the folder `configs/assets/`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from fxgpt_core.common.errors import BadInputError, StoreError
from fxgpt_core.common.symbols import normalise_symbol
from fxgpt_core.store.asset_config import AssetConfig
from fxgpt_core.store.asset_files import asset_for, check_source, load_assets
from fxgpt_core.store.config import validate
from fxgpt_core.store.paths import config_dir
from fxgpt_pipeline.cli.output import console, json_option, print_json, table

_TEMPLATE = """\
# One file per asset; a new file is a new asset after a reload. `fxgpt check config` checks it.
symbol: {symbol}
source: {source}             # import: `fxgpt import` and the inbox; sample: shipped bars; or a provider's name
timeframes: [{timeframes}]   # the finest one is the base: a decision is made at each of its closes
horizons: [{horizons}]   # how far forecasts look, in trading time; whole bars of the base timeframe
{since}{side}   # mid, bid or ask: what the bars must be; left out, whatever was imported

costs:
  spread_pips: {spread}             # paid by every trade, entry and exit together
  commission_per_million: {commission}   # account currency per million traded, per side
  slippage_pips: {slippage}           # added to every fill, per side

# configs/assets/EURUSD.yaml shows the other fields: models, overrides, features, retraining_cron, priority, enabled.
"""


@click.group()
def assets() -> None:
    """List, show and add currency pairs."""


@assets.command("list")
@json_option
def list_assets(as_json: bool) -> None:
    """List the configured assets."""
    found = load_assets(config_dir())
    if as_json:
        print_json([_as_json(asset) for asset in found.values()])
        return
    if not found:
        click.echo(f"No assets in {config_dir() / 'assets'}: add one with `fxgpt assets add EURUSD`.")
        return
    columns = ("symbol", "timeframes", "horizons", "source", "side", "spread pips", "enabled", "models")
    console().print(table("", columns, [_row(asset) for asset in found.values()]))


def _row(asset: AssetConfig) -> tuple[object, ...]:
    return (
        asset.symbol,
        " ".join(asset.timeframes),
        " ".join(asset.horizons),
        asset.source,
        asset.price_side,
        asset.costs.spread_pips,
        "yes" if asset.enabled else "no",
        " ".join(asset.families),
    )


@assets.command("show")
@click.argument("symbol")
@json_option
def show_asset(symbol: str, as_json: bool) -> None:
    """Show every field of one asset, defaults included."""
    asset = asset_for(symbol, config_dir())
    if as_json:
        print_json(_as_json(asset))
        return
    import yaml

    click.echo(f"# {config_dir() / 'assets' / asset.symbol}.yaml with defaults, hash {asset.config_hash}")
    click.echo(yaml.safe_dump(asset.model_dump(mode="json"), sort_keys=False, default_flow_style=None), nl=False)


@assets.command("add")
@click.argument("symbol")
@click.option("--timeframes", default="5m,15m,1h,4h", show_default=True, help="Comma-separated; finest is the base.")
@click.option("--horizons", help="Comma-separated.  [default: the timeframes]")
@click.option("--source", default="import", show_default=True, help="import, sample, or a provider's name.")
@click.option("--since", help="First day to fetch from a provider, such as 2024-01-01.")
@click.option("--side", help="Price side that the bars must have: mid, bid or ask.  [default: as imported]")
@click.option("--spread-pips", default=1.0, show_default=True, help="Spread that every trade pays.")
@click.option("--commission-per-million", default=30.0, show_default=True, help="Per side, in account currency.")
@click.option("--slippage-pips", default=0.0, show_default=True, help="Extra cost of every fill.")
def add_asset(
    symbol: str,
    timeframes: str,
    horizons: str | None,
    source: str,
    since: str | None,
    side: str | None,
    spread_pips: float,
    commission_per_million: float,
    slippage_pips: float,
) -> None:
    """Write a new asset file; an existing one is never touched."""
    values = {
        "symbol": normalise_symbol(symbol),
        "timeframes": _split(timeframes),
        "horizons": _split(horizons or timeframes),
        "source": source,
        "since": since,
        "price_side": side,
        "costs": {
            "spread_pips": spread_pips,
            "commission_per_million": commission_per_million,
            "slippage_pips": slippage_pips,
        },
    }
    asset = validate(AssetConfig, values, "fxgpt assets add")
    from fxgpt_core.market.providers.registry import PROVIDERS

    check_source(asset, PROVIDERS, "fxgpt assets add")
    if asset.source == "sample":
        _require_sample(asset)
    path = _write_new(config_dir() / "assets" / f"{asset.symbol}.yaml", _render(asset))
    click.echo(f"{asset.symbol} added: {path}")
    if asset.source == "import":
        click.echo(f"Next: fxgpt import FILE --symbol {asset.symbol}, then fxgpt materialize --symbol {asset.symbol}.")
    elif asset.remote:
        click.echo(f"Next: fxgpt materialize --symbol {asset.symbol} fetches its bars; `fxgpt dev` keeps them coming.")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _as_json(asset: AssetConfig) -> dict[str, object]:
    return {**asset.model_dump(mode="json"), "config_hash": asset.config_hash}


def _require_sample(asset: AssetConfig) -> None:
    from fxgpt_core.market.providers.sample import SYMBOL, TIMEFRAME

    if (asset.symbol, asset.base.code) != (SYMBOL, TIMEFRAME):
        raise BadInputError(
            f"The sample holds {SYMBOL} {TIMEFRAME} bars, not {asset.symbol} {asset.base}: use --source import."
        )


def _render(asset: AssetConfig) -> str:
    return _TEMPLATE.format(
        symbol=asset.symbol,
        source=asset.source,
        timeframes=", ".join(asset.timeframes),
        horizons=", ".join(asset.horizons),
        since=f"since: {asset.since}   # first day that is fetched\n" if asset.since else "",
        side=f"price_side: {asset.price_side}" if asset.price_side else "# price_side: mid",
        spread=asset.costs.spread_pips,
        commission=asset.costs.commission_per_million,
        slippage=asset.costs.slippage_pips,
    )


def _write_new(path: Path, text: str) -> Path:
    """Create a file whole or not at all; raises BadInputError when it is there already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", encoding="utf-8") as temporary:
            temporary.write(text)
            temporary.flush()
            os.fsync(temporary.fileno())
            os.chmod(temporary.name, 0o644)
            os.link(temporary.name, path)  # unlike a rename, fails where the name is taken
    except FileExistsError:
        raise BadInputError(f"{path.stem} is configured already: edit {path}.") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}.") from error
    return path
