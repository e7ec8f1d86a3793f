"""Supervised bars a second: dense segments against the same network trained window by window, with peak memory.

Both train the encoder of a preset with a linear head and AdamW on one synthetic pair-year of 5-minute bars. Windows
are 500 bars of 5m, 166 of 15m, 41 of 1h and 10 of 4h per target. Each way runs in a process of its own, one after the
other, with everything in its time: the first step, the states that are carried over all history once an epoch.
OMP_NUM_THREADS sets the threads: on cores shared with other work take 1, for waiting threads burn time.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fxgpt_core.models.sssd.config import SSSDConfig
from fxgpt_core.models.sssd.encoder import Encoder
from fxgpt_core.models.sssd.inputs import Inputs
from fxgpt_core.ssm.groups import parameter_groups

WINDOWS = {"5m": 500, "15m": 166, "1h": 41, "4h": 10}
EVERY = (1, 3, 12, 48)
BARS, COLUMNS, HORIZONS, BATCH = 75_000, 40, 4, 64
EVERY_BARS = 128  # own bars between carried states


def pair_year() -> tuple[Inputs, Tensor]:
    """Return random inputs of a pair-year and targets (bars, horizons)."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.arange(1, BARS + 1)
    features = {
        code: torch.randn(BARS // n, COLUMNS, generator=generator) for code, n in zip(WINDOWS, EVERY, strict=True)
    }
    inputs = Inputs(features, torch.stack([rows // n - 1 for n in EVERY], dim=1))
    return inputs, torch.randn(BARS, HORIZONS, generator=generator)


def dense(encoder: Encoder, config: SSSDConfig, inputs: Inputs) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield contexts of dense segments and the base bars they belong to, as training does."""
    training = config.training
    generator = torch.Generator().manual_seed(1)
    stretches = inputs.stretch_lengths(training.segment, training.burn_in)
    while True:
        starts = torch.randint(0, BARS - training.segment, (training.batch,), generator=generator)
        bars = (starts[:, None] + torch.arange(training.segment)).flatten()
        yield encoder.segments(inputs, starts, training.segment, stretches).flatten(0, 1), bars


def carried(encoder: Encoder, config: SSSDConfig, inputs: Inputs) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield as `dense`, but begin from states carried over all history, renewed each epoch, instead of a burn-in."""
    training = config.training
    generator = torch.Generator().manual_seed(1)
    stretches = inputs.stretch_lengths(training.segment, burn_in=0)
    while True:
        states = encoder.carry(inputs, EVERY_BARS)
        for _ in range(BARS // (training.segment * training.batch)):
            starts = torch.randint(0, BARS - training.segment, (training.batch,), generator=generator)
            bars = (starts[:, None] + torch.arange(training.segment)).flatten()
            context = encoder.segments(inputs, starts, training.segment, stretches, carried=states)
            yield context.flatten(0, 1), bars


def windows(encoder: Encoder, config: SSSDConfig, inputs: Inputs) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield contexts of single bars, each from windows of its own, and those bars."""
    generator = torch.Generator().manual_seed(1)
    while True:
        bars = torch.randint(24_000, BARS, (BATCH,), generator=generator)
        tokens = []
        for i, (code, count) in enumerate(WINDOWS.items()):
            index = inputs.last_known[bars, i][:, None] + torch.arange(1 - count, 1)
            tokens.append(encoder.stacks[code](inputs.features[code][index])[:, -1])
        yield encoder.fusion(torch.stack(tokens, dim=1), torch.ones(BATCH, len(WINDOWS), dtype=torch.bool)), bars


WAYS: dict[str, Callable[..., Iterator[tuple[Tensor, Tensor]]]] = {
    "dense": dense,
    "carried": carried,
    "windows": windows,
}


def measure(way: str, preset: str, seconds: float) -> dict[str, float]:
    """Train for about `seconds` and return supervised bars a second (wall and CPU) and peak memory above the data."""
    config = SSSDConfig.model_validate({"preset": preset})
    torch.manual_seed(0)
    inputs, targets = pair_year()
    encoder = Encoder(dict.fromkeys(WINDOWS, COLUMNS), config.encoder).train()
    head = nn.Linear(config.encoder.context, HORIZONS)
    training = config.training
    groups = parameter_groups(nn.ModuleList([encoder, head]), training.lr, training.dynamics_lr, training.weight_decay)
    optimiser, contexts = torch.optim.AdamW(groups), WAYS[way](encoder, config, inputs)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def train() -> int:
        context, bars = next(contexts)
        loss = (head(context) - targets[bars]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return len(bars)

    done, began, cpu = 0, time.perf_counter(), time.process_time()
    least = BARS if way == "carried" else 0  # an epoch, with its share of carrying
    while time.perf_counter() - began < seconds or done < least:
        done += train()
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base
    return {"bars_per_second": done / wall, "bars_per_cpu_second": done / cpu, "peak_mb": peak / 1024}


def compare(presets: list[str], seconds: float) -> dict[str, Any]:
    """Measure both ways for each preset, each in a process of its own."""
    out: dict[str, Any] = {"threads": torch.get_num_threads()}
    for preset in presets:
        out[preset] = {}
        for way in WAYS:
            call = f"import json, sssd_dense; print(json.dumps(sssd_dense.measure({way!r}, {preset!r}, {seconds})))"
            done = subprocess.run(
                [sys.executable, "-c", call], check=True, capture_output=True, cwd=Path(__file__).parent
            )
            out[preset][way] = json.loads(done.stdout)
        ways = out[preset]
        for way in WAYS:
            ways[way]["times"] = ways[way]["bars_per_cpu_second"] / ways["windows"]["bars_per_cpu_second"]
    return out


def table(results: dict[str, Any]) -> str:
    """Return the comparison as a Markdown table."""
    lines = [
        f"Threads: {results['threads']}\n",
        "| preset | way | supervised bars/s | per CPU second | peak MB above data | against windows |",
        "|---|---|---|---|---|---|",
    ]
    for preset, ways in results.items():
        for way in WAYS if isinstance(ways, dict) else ():
            r = ways[way]
            lines.append(
                f"| {preset} | {way} | {r['bars_per_second']:,.0f} | {r['bars_per_cpu_second']:,.0f} | "
                f"{r['peak_mb']:,.0f} | {r['times']:,.0f}x |"
            )
    return "\n".join(lines)
