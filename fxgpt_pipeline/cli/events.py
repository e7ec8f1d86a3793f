"""`fxgpt events`: the economic calendar in the lake."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.store.paths import Home
from fxgpt_pipeline.cli.output import console, json_option, print_json, table


@click.group()
def events() -> None:
    """Import and list scheduled economic releases."""


@events.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--source", help="Who published them; a newer file of a source replaces its older ones.  [default: file]")
@click.option("--tz", help="Time zone of the stamps, such as UTC or America/New_York, where they do not name it.")
@json_option
def import_file(file: Path, source: str | None, tz: str | None, as_json: bool) -> None:
    """Import releases from FILE (CSV or Parquet) and say what was recognised.

    Rows that cannot be used go to the lake's events_quarantine with their reason.
    """
    from fxgpt_core.market.events.releases import import_events
    from fxgpt_core.market.lake import Lake

    result = import_events(Lake(Home.from_environment().create().lake), file, source, tz)
    if as_json:
        print_json(result.to_dict())
        return
    columns = ", ".join(f"{part} from {name}" for part, name in result.columns.items())
    click.echo(f"{result.path}: {result.rows_imported} of {result.rows_read} releases, source {result.source}")
    click.echo(f"  columns     {columns}")
    click.echo(f"  time zone   {result.time_zone} ({result.time_zone_how})")
    click.echo(f"  span        {result.first} to {result.last}")
    click.echo(f"  currencies  {', '.join(f'{name} {count}' for name, count in result.currencies.items())}")
    click.echo(f"  impact      {', '.join(f'{name} {count}' for name, count in result.impacts.items())}")
    click.echo(f"  in the lake {result.rows_changed} releases new, changed or removed")
    if result.quarantined:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(result.quarantined.items()))
        click.echo(f"  quarantine  {reasons}")
    for warning in result.warnings:
        click.echo(f"  warning     {warning}")


@events.command("list")
@click.option("--currency", required=True, help="Comma-separated, such as USD,EUR.")
@click.option("--from", "start", help="First day or moment (UTC), such as 2019-07-01 or 2019-07-01T12:00.")
@click.option("--to", "end", help="Day or moment (UTC) before which the list ends.")
@click.option("--impact", help="Comma-separated: high, medium, low, none.  [default: all]")
@json_option
def list_events(currency: str, start: str | None, end: str | None, impact: str | None, as_json: bool) -> None:
    """List releases of some currencies in time order."""
    from fxgpt_core.market.events.releases import load_events
    from fxgpt_core.market.lake import Lake

    found = load_events(
        Lake(Home.from_environment().lake),
        _split(currency),
        _moment(start),
        _moment(end),
        [level.lower() for level in _split(impact)] if impact is not None else None,
    )
    times = [f"{time}Z" for time in found.ts_utc.astype("datetime64[s]")]
    rows = list(zip(times, found.currency, found.impact, found.name, strict=True))
    if as_json:
        print_json([dict(zip(("ts_utc", "currency", "impact", "name"), row, strict=True)) for row in rows])
        return
    if not rows:
        click.echo("No releases of that kind in that span.")
        return
    console().print(table("", ("time (UTC)", "currency", "impact", "release"), rows))


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _moment(text: str | None) -> np.datetime64 | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInputError(f"{text!r} is no moment: write 2019-07-01 or 2019-07-01T12:00.") from None
    moment = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    return np.datetime64(moment, "ns")
