"""How fast SSSD trains: dense segments against the same network trained window by window.

Peak memory is that of the process, so that each way wants one of its own: `fxgpt bench sssd` gives it.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor

from fxgpt_core.diffusion.practice import default_weights, level_noise
from fxgpt_core.models.sssd.config import SSSDConfig
from fxgpt_core.models.sssd.inputs import Inputs
from fxgpt_core.models.sssd.network import Network, blindness
from fxgpt_core.ssm.groups import parameter_groups

WINDOWS = {"5m": 500, "15m": 166, "1h": 41, "4h": 10}
"""Own bars of each timeframe that one target sees when it is trained by itself (SPEC 4)."""

_EVERY = (1, 3, 12, 48)  # base bars in a bar of each timeframe
_OLDEST = WINDOWS["5m"]  # base bars before the first target: then every window is full
_TOGETHER = 64  # windows per step: more are not faster on a processor and take more memory


@dataclass(frozen=True)
class Throughput:
    """Supervised targets (base bars with all their horizons) a second of wall and of processor time, over `seconds`;
    peak memory above what the data and the libraries take, in MB."""

    targets_per_second: float
    targets_per_cpu_second: float
    peak_mb: float
    seconds: float


@dataclass(frozen=True)
class History:
    """Synthetic base bars: inputs of four timeframes, and targets (bars, horizons)."""

    inputs: Inputs
    target: Tensor

    @classmethod
    def random(cls, bars: int, columns: int, horizons: int) -> History:
        """Return noise: time does not depend on what there is to learn."""
        generator = torch.Generator().manual_seed(0)
        rows = torch.arange(1, bars + 1)
        features = {
            code: torch.randn(bars // n, columns, generator=generator) for code, n in zip(WINDOWS, _EVERY, strict=True)
        }
        inputs = Inputs(features, torch.stack([rows // n - 1 for n in _EVERY], dim=1))
        return cls(inputs, torch.randn(bars, horizons, generator=generator))

    def starts(self, count: int, length: int, generator: torch.Generator) -> Tensor:
        """Return first bars (count,) of random stretches of `length` targets."""
        return torch.randint(_OLDEST, len(self.target) - length + 1, (count,), generator=generator)


Contexts = Iterator[tuple[Tensor, Tensor]]
"""Contexts (rows, context) and the base bars (rows,) they belong to, batch by batch."""


def dense(network: Network, history: History) -> Contexts:
    """Yield contexts of whole segments after their burn-in, as training does, states carried anew each epoch."""
    training, inputs = network.config.training, history.inputs
    generator = torch.Generator().manual_seed(1)
    stretches = inputs.stretch_lengths(training.segment, training.burn_in)
    while True:
        states = network.encoder.carry(inputs, training.carry_every) if training.carry else None
        for _ in range(max(len(history.target) // (training.segment * training.batch), 1)):
            starts = history.starts(training.batch, training.segment, generator)
            bars = (starts[:, None] + torch.arange(training.segment)).flatten()
            context = network.encoder.segments(inputs, starts, training.segment, stretches, carried=states)
            yield context.flatten(0, 1), bars


def windows(network: Network, history: History) -> Contexts:
    """Yield contexts of single bars, each from windows of its own."""
    generator = torch.Generator().manual_seed(1)
    encoder, inputs = network.encoder, history.inputs
    while True:
        bars = history.starts(_TOGETHER, 1, generator)
        tokens = []
        for i, (code, count) in enumerate(WINDOWS.items()):
            index = inputs.last_known[bars, i][:, None] + torch.arange(1 - count, 1)
            tokens.append(encoder.stacks[code](inputs.features[code][index.clamp(min=0)])[:, -1])
        present = torch.ones(len(bars), len(WINDOWS), dtype=torch.bool)
        yield encoder.fusion(torch.stack(tokens, dim=1), present), bars


WAYS: Mapping[str, Callable[[Network, History], Contexts]] = {"dense": dense, "windows": windows}


def measure(way: str, config: SSSDConfig, seconds: float, bars: int, columns: int, horizons: int) -> Throughput:
    """Train a new network on `bars` synthetic base bars for about `seconds`, with its own loss and optimiser.

    Everything counts: the first step, the diffusion head, the states that are carried anew once an epoch (of which the
    dense way then trains at least a whole one). Peak memory is that of the process, so a process should measure once.
    """
    torch.manual_seed(0)
    history = History.random(bars, columns, horizons)
    network = Network(dict.fromkeys(WINDOWS, columns), horizons, config).train()
    training = config.training
    groups = parameter_groups(network, training.lr, training.dynamics_lr, training.weight_decay)
    optimiser, batches = torch.optim.AdamW(groups, fused=True), WAYS[way](network, history)
    before, generator = _resident_kib(), torch.Generator().manual_seed(2)
    done, began, cpu = 0, time.perf_counter(), time.process_time()
    least = bars if way == "dense" and training.carry else 1
    while time.perf_counter() - began < seconds or done < least:
        context, rows = next(batches)
        loss = _loss(network, context, history.target[rows], generator)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        done += len(rows)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Throughput(done / wall, done / cpu, (_peak_kib() - before) / 1024, wall)


def _loss(network: Network, context: Tensor, target: Tensor, generator: torch.Generator) -> Tensor:
    config, weights = network.config, default_weights(network.horizons, None)
    shape = (config.diffusion.noises, len(target))
    noise = torch.randn(*shape, network.horizons, generator=generator)
    level = level_noise(generator, shape, config.diffusion.steps)
    blind = blindness(generator, shape, config.training.blind)
    scale, diffusion = network.losses(context, target, torch.ones_like(target), weights, noise, level, blind)
    return config.training.scale_weight * scale + diffusion


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _resident_kib() -> int:
    return int(psutil.Process().memory_info().rss) // 1024
