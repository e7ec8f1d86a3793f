"""`fxgpt live`: forecast every bar as it closes."""

from __future__ import annotations

import signal
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from fxgpt_core.common.errors import BadInputError, FxgptError
from fxgpt_pipeline.cli.output import json_option, print_json

if TYPE_CHECKING:
    from fxgpt_core.lifecycle.live_loop import LiveStep


@click.command()
@click.argument("symbols", nargs=-1)
@click.option("--once", is_flag=True, help="Do what is due now and stop.")
@click.option("--until", metavar="TIME", help="Stop at this time (ISO 8601, UTC), such as 2024-03-01T21:00.")
@click.option("--every", default=20.0, show_default=True, metavar="SECONDS", help="Pause between looks for new bars.")
@json_option
def live(symbols: tuple[str, ...], once: bool, until: str | None, every: float, as_json: bool) -> None:
    """Forecast each closed bar of SYMBOLS (all enabled pairs) by champion and shadow, and log what became of it.

    Files in the inbox are imported, providers asked. Ctrl-C or SIGTERM ends it after the bar at hand; whatever ends it,
    the next start carries on where it was.
    """
    from fxgpt_pipeline.homes import prepare
    from fxgpt_pipeline.living import import_waiting, live_loop
    from fxgpt_pipeline.workspace import Workspace

    end = None if until is None else _moment(until)
    if every <= 0:
        raise BadInputError(f"--every {every:g} must be above 0 seconds.")
    workspace = Workspace.from_environment()
    prepare(workspace)
    stopped = threading.Event()
    _stop_on_signals(stopped)
    said: set[str] = set()
    with live_loop(workspace, [symbol.upper() for symbol in symbols]) as loop:
        while not stopped.is_set() and (end is None or workspace.clock.now() < end):
            started = time.monotonic()
            rejected = import_waiting(workspace)
            step = loop.step(stopped.is_set)
            _show(step, rejected, said, as_json)
            if once:
                if step.problems and not step.forecasts:
                    raise FxgptError(" | ".join(step.problems))
                return
            stopped.wait(max(0.0, every - (time.monotonic() - started)))


def _stop_on_signals(stopped: threading.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInputError(f"--until {text!r} is no time such as 2024-03-01T21:00.") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _show(step: LiveStep, rejected: list[str], said: set[str], as_json: bool) -> None:
    """Say what was done, and each problem once as long as it lasts."""
    problems = [*step.problems, *rejected]
    values: list[dict[str, Any]] = [
        {
            "symbol": name,
            "newest": None if one.newest is None else f"{one.newest.astype('datetime64[s]')}Z",
            "versions": one.versions,
            "live": one.live,
            "backfilled": one.backfilled,
            "skipped": one.skipped,
            "failed": one.failed,
            "refused": one.refused,
            "outcomes": one.outcomes,
            "problems": list(one.problems),
        }
        for name, one in step.symbols.items()
    ]
    if as_json:
        print_json(values)
        return
    for value in values:
        if any(value[name] for name in ("live", "backfilled", "skipped", "failed", "outcomes")):
            who = ", ".join(f"{alias} {label}" for alias, label in value["versions"].items())
            click.echo(
                f"{value['symbol']} {value['newest']} by {who}: {value['live']} live, {value['backfilled']} "
                f"backfilled, {value['skipped']} skipped, {value['failed']} failed, {value['outcomes']} outcomes"
            )
    for problem in problems:
        if problem not in said:
            click.echo(problem, err=True)
    said.clear()
    said.update(problems)
