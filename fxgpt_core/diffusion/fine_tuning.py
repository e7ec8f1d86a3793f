"""Fine-tuning of what the sampler puts out: fair energy score and CRPS, differentiated through a few steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fxgpt_core.diffusion.denoiser import Denoiser
from fxgpt_core.diffusion.samplers import SamplerName, sample, sampler_levels

Score = Literal["energy", "crps"]


@dataclass(frozen=True)
class FineTuning:
    """Steps of the optimiser, rows and draws in each, steps of the sampler, learning rate, score."""

    updates: int = 200
    rows: int = 256
    draws: int = 8
    sampler: SamplerName = "ddim"
    sampling_steps: int = 8
    lr: float = 1e-4
    score: Score = "energy"


def fair_energy_score(samples: Tensor, outcome: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """Return the fair energy score of independent draws, a mean over rows (Gneiting & Raftery 2007, eq. 22).

    `samples` (rows, draws, horizons), `outcome`, `mask` (rows, horizons), `weights` (horizons,). Distances are
    Euclidean over present horizons, each scaled by its weight. Pairs are averaged without a draw
    and itself (Ferro 2014), so the expected score is smallest for the true law however few draws there are; stratified
    draws would break that.
    """
    scale = mask * weights
    near = _length((samples - outcome[:, None]) * scale[:, None]).mean(dim=1)
    apart = _length((samples[:, :, None] - samples[:, None]) * scale[:, None, None]).sum(dim=(1, 2))
    draws = samples.shape[1]
    score: Tensor = (near - apart / (2 * draws * (draws - 1)))[mask.any(dim=-1)].mean()
    return score


def fair_crps(samples: Tensor, outcome: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean fair CRPS over present horizons; arguments as in `fair_energy_score`."""
    draws = samples.shape[1]
    near = (samples - outcome[:, None]).abs().mean(dim=1)
    ordered = samples.sort(dim=1).values
    rank = 2 * torch.arange(draws, device=samples.device, dtype=samples.dtype) - (draws - 1)
    apart = (ordered * rank[:, None]).sum(dim=1) / (draws * (draws - 1))
    weighed = mask * weights
    score: Tensor = ((near - apart) * weighed).sum() / weighed.sum().clamp(min=1e-8)
    return score


def sampled(denoiser: Denoiser, context: Tensor, start: Tensor, mask: Tensor, name: SamplerName, steps: int) -> Tensor:
    """Return samples (rows, draws, horizons) with gradients to the head and `context`.

    What a step computes is computed again on the way back, so memory holds one step, not all of them.
    """
    bound = denoiser.bind(mask, context, sampler_levels(name, denoiser.schedule, steps)[:-1])

    def denoise(x: Tensor, level: float) -> Tensor:
        clean: Tensor = checkpoint(bound, x, level, use_reentrant=False)
        return clean

    return sample(name, denoise, start, denoiser.schedule, steps)


def fine_tune(
    denoiser: Denoiser,
    context: Tensor,
    clean: Tensor,
    mask: Tensor,
    weights: Tensor,
    options: FineTuning,
    generator: torch.Generator,
) -> list[float]:
    """Train the head on the score of its samples over fixed contexts; return the score of every update.

    `context` (n, context); `clean`, `mask` (n, horizons); `weights` (horizons,). The generator is on the CPU.
    """
    optimiser = torch.optim.AdamW(denoiser.head.parameters(), lr=options.lr, weight_decay=0.0)
    score = fair_energy_score if options.score == "energy" else fair_crps
    history = []
    for _ in range(options.updates):
        rows = torch.randint(len(context), (options.rows,), generator=generator).to(context.device)
        start = torch.randn(options.rows, options.draws, clean.shape[1], generator=generator).to(context.device)
        drawn = sampled(denoiser, context[rows], start, mask[rows], options.sampler, options.sampling_steps)
        loss = score(drawn, clean[rows], mask[rows], weights)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(denoiser.head.parameters(), 1.0)
        optimiser.step()
        history.append(float(loss.detach()))
    return history


def _length(vectors: Tensor) -> Tensor:
    return (vectors.square().sum(dim=-1) + 1e-12).sqrt()  # the square root has no slope at zero
