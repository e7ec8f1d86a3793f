"""`fxgpt quality`: how good the stored bars of a symbol are, and the page that shows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fxgpt_core.common.symbols import normalise_symbol
from fxgpt_core.store.asset_files import load_assets
from fxgpt_core.store.clock import SystemClock
from fxgpt_core.store.paths import Home, config_dir
from fxgpt_pipeline.cli.output import console, json_option, print_json, table

if TYPE_CHECKING:
    from fxgpt_core.market.config import QualityConfig
    from fxgpt_core.reports.stored_quality import StoredQuality

_MONTHS, _INCIDENTS = 12, 8


@click.command()
@click.argument("symbol")
@click.option("--timeframe", help="Bars to judge, such as 5m.  [default: the asset's base, else the finest stored]")
@click.option(
    "--open-page", type=bool, default=False, show_default="no", help="Show the page in a browser (yes or no)."
)
@json_option
def quality(symbol: str, timeframe: str | None, open_page: bool, as_json: bool) -> None:
    """Judge the stored bars of SYMBOL month by month and write reports/SYMBOL/quality.html."""
    from fxgpt_core.common.timeframes import timeframe as parse_timeframe
    from fxgpt_core.market.lake import Lake
    from fxgpt_core.reports.stored_quality import finest_bar, stored_quality, write_stored_quality
    from fxgpt_pipeline.settings import load_settings

    pair, home = normalise_symbol(symbol), Home.from_environment()
    lake, asset = Lake(home.lake), load_assets(config_dir()).get(pair)
    limits = load_settings(config_dir(), asset).quality
    finest = finest_bar(lake, pair)
    base = asset.base if asset is not None and asset.base >= finest else finest
    found = stored_quality(lake, pair, parse_timeframe(timeframe) if timeframe else base, limits)
    made_at = SystemClock().now().strftime("%Y-%m-%d %H:%M UTC")
    page = write_stored_quality(home.reports / pair / "quality.html", found, limits, made_at)
    if as_json:
        _print_json(found, limits, page)
    else:
        _print_tables(found, limits, page)
    if open_page:
        click.launch(page.as_uri())


def _print_json(found: StoredQuality, limits: QualityConfig, page: Path) -> None:
    print_json(
        {
            **found.report.to_dict(),
            "failures": found.failures(limits),
            "incidents": [incident.to_dict() for incident in found.incidents],
            "page": str(page),
        }
    )


def _print_tables(found: StoredQuality, limits: QualityConfig, page: Path) -> None:
    report, failures = found.report, found.failures(limits)
    set_aside = sum(report.quarantined.values())
    click.echo(
        f"{report.symbol} {report.timeframe} {found.side}, {report.first} to {report.last}: {report.usable} bars, "
        f"{report.coverage:.2%} of those expected, {report.gaps} gaps, {set_aside} rows set aside."
    )
    for sentence in failures:
        click.echo(f"Over the limit: {sentence}")
    if not failures:
        click.echo("Within the limits.")
    failed = [month for month in report.months if report.month_failures(month, limits)]
    shown = sorted({*failed, *list(report.months)[-_MONTHS:]})
    columns = ("expected", "missing", "quarantined", "unsorted", "stale_runs", "outliers", "shifted_weeks")
    rows = [
        (month, *(report.months[month][name] for name in columns), "over the limit" if month in failed else "")
        for month in shown
    ]
    title = f"{len(failed)} months over their limits, and the last {_MONTHS}" if failed else "The last months"
    console().print(table(title, ("month", *(name.replace("_", " ") for name in columns), ""), rows))
    worst = [
        (item.kind, str(item.start)[:16].replace("T", " "), item.bars, item.detail)
        for item in found.incidents[:_INCIDENTS]
    ]
    if worst:
        count = len(found.incidents)
        console().print(table(f"The worst of {count} incidents", ("kind", "from (UTC)", "bars", "what"), worst))
    click.echo(f"Page: {page}")
