"""`fxgpt replay`: a quarter of the living system in minutes, on simulated markets and its own clock."""

from __future__ import annotations

from pathlib import Path

import click

from fxgpt_pipeline.cli.output import console, json_option, print_json, table


@click.command()
@click.option("--days", default=90, show_default=True, type=click.IntRange(2), help="How long the rehearsal lasts.")
@click.option(
    "--after", default=21, show_default=True, type=click.IntRange(1), help="Days until something happens in a market."
)
@click.option("--retrain-days", default=14.0, show_default=True, type=click.FloatRange(0.1), help="Age that retrains.")
@click.option("--symbol", "symbols", multiple=True, help="One of EURUSD (calm), GBPUSD (break), AUDUSD (outage).")
@click.option(
    "--to", "folder", required=True, type=click.Path(path_type=Path), help="New or empty folder for its home."
)
@json_option
def replay(days: int, after: int, retrain_days: float, symbols: tuple[str, ...], folder: Path, as_json: bool) -> None:
    """Play the living system bar by bar on simulated markets, and print what it does.

    EURUSD stays calm, GBPUSD becomes another market, AUDUSD's feed falls silent. The product's own schedules, sensors,
    jobs and live loop work on a clock that is set; nothing outside the folder is read or written. Afterwards
    `FXGPT_HOME=FOLDER/home FXGPT_CONFIG_DIR=FOLDER/configs fxgpt dev` shows it all.
    """
    from fxgpt_core.common.errors import BadInputError
    from fxgpt_pipeline.rehearsal.rehearsal import rehearse
    from fxgpt_pipeline.rehearsal.script import PARTS, Script

    known = {part.symbol: part for part in PARTS}
    unknown = [name for name in symbols if name.upper() not in known]
    if unknown:
        raise BadInputError(f"No part is called {', '.join(unknown)}: there are {', '.join(known)}.")
    if folder.exists() and any(folder.iterdir()):
        raise BadInputError(f"{folder} is not empty: name a new folder for the rehearsal's home.")
    parts = tuple(part for part in PARTS if not symbols or part.symbol in {name.upper() for name in symbols})
    script = Script(days=days, happens_after=after, retrain_days=retrain_days, parts=parts)
    out = console()
    if not as_json:
        out.print(
            f"{days} days from {script.begin:%Y-%m-%d}; on {script.happens_at:%Y-%m-%d}: "
            + ", ".join(f"{part.symbol} {part.what}" for part in parts)
            + f". Home: {folder / 'home'}"
        )
    done = rehearse(script, folder, (lambda line: None) if as_json else lambda line: out.print(line, markup=False))
    if as_json:
        print_json(done.to_dict())
        return
    weeks = [
        (part.symbol, part.what, " ".join(f"{100 * value:.0f}" for value in done.coverage(part.symbol)))
        for part in parts
    ]
    out.print(table("90 % intervals of what was answered held, % by week", ("symbol", "part", "weeks"), weeks))
    failed = [f"{run.at:%Y-%m-%d %H:%M} {run.job} {run.symbol}: {run.error}" for run in done.runs if not run.success]
    out.print(f"{done.forecasts} forecasts, {len(done.runs)} runs, {len(failed)} failed{': ' if failed else '.'}")
    out.print("\n".join(failed), markup=False)
