"""`fxgpt alerts`: what was told, telling it now, and trying a channel."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from fxgpt_pipeline.cli.output import console, json_option, print_json, table


@click.group()
def alerts() -> None:
    """List alerts, send what waits, try a channel. Channels: configs/alerts.yaml."""


@alerts.command("list")
@click.argument("symbol", required=False)
@click.option("--days", type=click.FloatRange(min=0.01), default=7.0, show_default=True, help="How far back.")
@json_option
def list_alerts(symbol: str | None, days: float, as_json: bool) -> None:
    """List the alerts of the last days, of SYMBOL or of all, with what became of each."""
    from fxgpt_core.common.symbols import normalise_symbol
    from fxgpt_core.store.alerts import alerts_between, deliveries
    from fxgpt_pipeline.workspace import Workspace

    workspace = Workspace.from_environment()
    now = workspace.clock.now()
    pair = None if symbol is None else normalise_symbol(symbol)
    told = alerts_between(workspace.database, now - timedelta(days=days), now, pair)
    tried = deliveries(workspace.database, [row.id for row in told])
    rows: list[dict[str, Any]] = []
    for row in told:
        states = {channel: each.status for (alert, channel), each in tried.items() if alert == row.id}
        rows.append({"at": row.at.isoformat(timespec="seconds"), "severity": row.severity, "kind": row.kind,
                     "symbol": row.symbol, "title": row.title, "body": row.body, "repeated": row.repeated,
                     "channels": states})  # fmt: skip
    if as_json:
        print_json(rows)
        return
    shown = [
        (row["at"], row["severity"], row["kind"], row["title"], _states(row["repeated"], row["channels"]))
        for row in rows
    ]
    console().print(table("", ("at", "severity", "kind", "what", "told"), shown) if shown else "No alerts.")


@alerts.command()
@json_option
def send(as_json: bool) -> None:
    """Gather what happened and send what waits, as the sensor `alerts` does under `fxgpt dev`."""
    from dagster import DagsterInstance

    from fxgpt_pipeline.alerting import tell
    from fxgpt_pipeline.homes import prepare
    from fxgpt_pipeline.workspace import Workspace

    workspace = Workspace.from_environment()
    prepare(workspace)
    with DagsterInstance.from_config(str(workspace.home.dagster)) as instance:
        done, _ = tell(workspace, instance)
    if as_json:
        channels = {name: vars(each) for name, each in done.delivered.items()}
        print_json({"new": done.new, "channels": channels, "problems": done.problems})
        return
    click.echo(done.sentence)


@alerts.command()
@click.argument("channel")
def test(channel: str) -> None:
    """Send one message to CHANNEL, to see whether it arrives."""
    from fxgpt_core.common.errors import BadInputError
    from fxgpt_core.lifecycle.alerts.channels import open_channels
    from fxgpt_core.lifecycle.alerts.config import load_alerts
    from fxgpt_core.store.config import suggestion
    from fxgpt_core.store.paths import config_dir

    config = load_alerts(config_dir())
    channels, problems = open_channels(config)
    if channel in config.channels and channel not in channels:
        raise BadInputError(next(problem for problem in problems if f"channel {channel}" in problem))
    if channel not in channels:
        raise BadInputError(f"There is no alert channel {channel!r}{suggestion(channel, channels)}")
    channels[channel].send("fxgpt: a test message", "This channel works. Nothing has happened.", "warning")
    click.echo(f"{channel} took the message.")


def _states(repeated: bool, channels: dict[str, str]) -> str:
    said = ", ".join(f"{name} {status.replace('_', ' ')}" for name, status in sorted(channels.items()))
    return said or ("left to the digest" if repeated else "waits")
