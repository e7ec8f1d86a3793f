"""One way of training SSSD, measured in a process of its own so that its peak memory is its own.

`fxgpt bench sssd` runs it: `python -m fxgpt_pipeline.cli.bench_way WAY --preset small …`.
"""

from __future__ import annotations

import json
from dataclasses import asdict

import click


@click.command()
@click.argument("way")
@click.option("--preset", default="small")
@click.option("--seconds", default=20.0)
@click.option("--bars", default=75_000)
@click.option("--columns", default=40)
@click.option("--horizons", default=4)
@click.option("--threads", default=1)
def main(way: str, preset: str, seconds: float, bars: int, columns: int, horizons: int, threads: int) -> None:
    """Measure one WAY and answer as JSON."""
    import torch

    from fxgpt_core.models.sssd.config import SSSDConfig
    from fxgpt_core.models.sssd.throughput import measure

    torch.set_num_threads(threads)
    config = SSSDConfig.model_validate({"preset": preset})
    click.echo(json.dumps(asdict(measure(way, config, seconds, bars, columns, horizons))))


if __name__ == "__main__":
    main()
