"""`fxgpt forecast`: what a registered model says at the last stored bar."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import click

from fxgpt_core.common.errors import StoreError
from fxgpt_pipeline.cli.output import console, json_option, table

_SHOWN = (0.05, 0.25, 0.5, 0.75, 0.95)


@click.command()
@click.argument("symbol")
@click.option("--model", default="champion", show_default=True, help="Alias, family or version number.")
@json_option
def forecast(symbol: str, model: str, as_json: bool) -> None:
    """Forecast SYMBOL at its last bar, calibrated, and log it in the operational database."""
    import numpy as np

    from fxgpt_core.common.timeframes import horizon_name
    from fxgpt_core.store.forecast_log import LoggedForecast, save_forecasts
    from fxgpt_pipeline.cli.calibration_table import calibration_note, calibration_summaries
    from fxgpt_pipeline.homes import prepare
    from fxgpt_pipeline.serving import forecast_now, resolve
    from fxgpt_pipeline.workspace import Workspace

    workspace = Workspace.from_environment()
    lineage = workspace.lineage(symbol)
    with _warned():
        prepare(workspace)
    version = resolve(lineage, model)
    made, latency = forecast_now(lineage, version)
    with _warned("The forecast was not logged. "):
        save_forecasts(workspace.database, [LoggedForecast(made, latency, timeframe=lineage.timeframes[0].code)])
    close = float(lineage.candles().close[-1])
    up = made.probability_up()[0]
    if as_json:
        frame = made.to_frame()
        for name in ("decided_at", "made_at", "trained_until"):
            frame[name] = frame[name].map(lambda t: t.isoformat())
        rows = frame.assign(probability_up=up).to_dict("records")
        click.echo(json.dumps({"close": close, "latency_ms": round(latency, 2), "forecasts": rows}, indent=1))
        return
    prices = close * np.exp(np.stack([made.quantile(level)[0] for level in _SHOWN], axis=1))  # (horizons, levels)
    console().print(
        table(
            f"{lineage.symbol} at {made.decided_at[0]} UTC, close {close:g}, by {version.label} ({version.family})",
            ("horizon", *(f"{level:.0%}" for level in _SHOWN), "P(up)"),
            [
                (horizon_name(horizon), *(f"{price:.5f}" for price in prices[row]), f"{up[row]:.1%}")
                for row, horizon in enumerate(made.horizons)
            ],
        )
    )
    console().print(f"made in {latency:.1f} ms; prices are quantiles of the calibrated distribution")
    note = calibration_note(calibration_summaries(lineage), version.family, str(made.calibration_version[0]))
    console().print(note, markup=False)


@contextmanager
def _warned(consequence: str = "") -> Iterator[None]:
    """Turn an outage of a store into a warning: a model that is at hand forecasts without it."""
    try:
        yield
    except StoreError as error:
        click.echo(f"Warning: {consequence}{error}", err=True)
