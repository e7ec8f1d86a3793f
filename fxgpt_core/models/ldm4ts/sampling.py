"""Draws of many rows with bounded memory, each keyed by seed and decision time alone."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fxgpt_core.diffusion.noise import row_noise
from fxgpt_core.models.ldm4ts.network import Network, Rows

Samples = NDArray[np.float32]
Times = NDArray[np.datetime64]

_DRAWN = 4096  # latents in the U-Net together


@torch.no_grad()
def draw_rows(
    network: Network,
    rows: Rows,
    times: Times,
    seed: int,
    draws: int | None = None,
    moments: tuple[Tensor, Tensor] | None = None,
) -> Samples:
    """Return samples (rows, draws, horizons) of the standardised target at decision times `times` (rows,).

    A row does not depend on the rows beside it. Where draws are not told conditions, they come from the bank.
    `moments`: what `moments_of` says of the rows, where that is at hand.
    """
    mean, log_scale = moments_of(network, rows) if moments is None else moments
    draws = network.config.diffusion.samples if draws is None else draws
    size = max(1, min(network.config.rows_per_pass, _DRAWN // draws)) if bool(network.informed) else len(rows)
    out = np.empty((len(rows), draws, network.horizons), dtype=np.float32)
    for at in range(0, len(rows), max(size, 1)):
        part = slice(at, at + size)
        u = read_draws(network, rows.context[part], times[part], seed, draws)
        out[part] = network.around(mean[part], log_scale[part], u).float().cpu().numpy()
    return out


@torch.no_grad()
def moments_of(network: Network, rows: Rows) -> tuple[Tensor, Tensor]:
    """Return mean and log scale (rows, horizons), `rows_per_pass` rows at a time."""
    size = network.config.rows_per_pass
    found = [network.moments(rows.take(slice(at, at + size))) for at in range(0, len(rows), size)]
    if not found:
        nothing = rows.series.new_zeros(0, network.horizons)
        return nothing, nothing
    return torch.cat([one[0] for one in found]), torch.cat([one[1] for one in found])


def read_draws(network: Network, context: Tensor, times: Times, seed: int, draws: int) -> Tensor:
    """Return outcomes (rows, draws, horizons) read off drawn pictures, by the reverse chain or from the bank."""
    if not bool(network.informed):
        return network.bank[_picked(times, seed, draws, len(network.bank))]
    return chain(network, context, times, seed, draws)


def chain(network: Network, context: Tensor, times: Times, seed: int, draws: int) -> Tensor:
    """Return outcomes (rows, draws, horizons) by the reverse chain given contexts (rows, conditions)."""

    def noise(step: int) -> Tensor:
        values = row_noise(seed, times, draws, network.layout.latent, stream=step + 1)
        return torch.from_numpy(values).to(context.device)

    return network.draw(context, noise(-1), network.config.diffusion.sampling_steps, noise)


@torch.no_grad()
def fill_bank(network: Network, seed: int) -> None:
    """Draw the bank anew, without conditions."""
    size, count = 256, len(network.bank)
    generator = torch.Generator().manual_seed(seed)
    nothing = network.bank.new_zeros(1, network.layout.width)
    parts = []

    def noise(_: int) -> Tensor:
        return torch.randn(start.shape, generator=generator).to(nothing)

    for at in range(0, count, size):
        start = torch.randn(1, min(size, count - at), network.layout.latent, generator=generator)
        drawn = network.draw(nothing, start.to(nothing), network.config.diffusion.sampling_steps, noise)
        parts.append(drawn[0])
    network.bank.copy_(torch.cat(parts))


def _picked(times: Times, seed: int, draws: int, count: int) -> Tensor:
    """Return which draws of the bank each row takes, (rows, draws); all of them in turn where there are too few."""
    out = np.empty((len(times), draws), dtype=np.int64)
    for row, moment in enumerate(times.astype("datetime64[ns]").astype(np.int64)):
        rng = np.random.default_rng([seed, int(moment) % 2**63])
        whole = np.tile(np.arange(count), draws // count)
        out[row] = np.concatenate([whole, rng.choice(count, draws - len(whole), replace=False)])
    return torch.from_numpy(out)
