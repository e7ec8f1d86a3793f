"""`fxgpt bench`: how fast this machine does what takes longest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import click

from fxgpt_pipeline.cli.output import console, json_option, print_json, table

GOAL = 100.0
"""Dense training is meant to be at least so many times as fast as training window by window."""


@click.group()
def bench() -> None:
    """Measure how fast this machine trains."""


@bench.command()
@click.option("--preset", default="small", show_default=True, help="A file of configs/sssd.")
@click.option("--seconds", default=20.0, show_default=True, type=click.FloatRange(0.1), help="Time for each way.")
@click.option("--threads", type=click.IntRange(1), help="Threads of each way; default: one a core.")
@click.option("--bars", default=75_000, show_default=True, type=click.IntRange(2_500), help="Bars of 5m to train on.")
@json_option
def sssd(preset: str, seconds: float, threads: int | None, bars: int, as_json: bool) -> None:
    """Train SSSD on dense segments and window by window, and compare.

    The same network with its own loss, on synthetic bars of 5m, 15m, 1h and 4h. Windows are 500, 166, 41 and 10 of
    them for every target. Each way runs in a process of its own, one after the other.
    """
    from fxgpt_core.models.sssd.config import read_preset

    read_preset(preset)  # an unknown one is refused before anything is measured
    threads = threads or _cores()
    ways = {name: _measured(name, preset, seconds, threads, bars) for name in ("dense", "windows")}
    slow = ways["windows"]
    for found in ways.values():
        found["times"] = found["targets_per_cpu_second"] / slow["targets_per_cpu_second"]
        found["times_wall"] = found["targets_per_second"] / slow["targets_per_second"]
    if as_json:
        print_json({"preset": preset, "threads": threads, "bars": bars, "goal": GOAL, "ways": ways})
        return
    columns = ("way", "targets/s", "per CPU second", "times (CPU)", "times (wall)", "peak MB above data")
    rows = [
        (
            name,
            round(found["targets_per_second"]),
            round(found["targets_per_cpu_second"]),
            round(found["times"], 1),
            round(found["times_wall"], 1),
            round(found["peak_mb"]),
        )
        for name, found in ways.items()
    ]
    title = f"SSSD {preset}, {threads} threads: dense training is meant to be {GOAL:g} times as fast as windows"
    console().print(table(title, columns, rows))


def _measured(way: str, preset: str, seconds: float, threads: int, bars: int) -> dict[str, Any]:
    """Return what a process of its own measures; raises FxgptError with its last words where it fails."""
    from fxgpt_core.common.errors import FxgptError

    call = [sys.executable, "-m", "fxgpt_pipeline.cli.bench_way", way, "--preset", preset]
    call += ["--seconds", str(seconds), "--threads", str(threads), "--bars", str(bars)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise FxgptError(f"Measuring SSSD {preset} by way {way!r} ended with code {done.returncode}: {last}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
