"""Samplers: turn noise into samples with a denoiser, one short function each.

A denoiser is any callable `(x, level) -> estimate of the clean value` with `x` of any shape and `level` a scalar
tensor. `x` starts as standard normal noise. Samples are never clamped: returns have fat tails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from fxgpt_core.diffusion.schedules import Schedule, alpha_sigma, sampling_levels

Denoise = Callable[[Tensor, Tensor], Tensor]
Noise = Callable[[int], Tensor]
SamplerName = Literal["ddim", "ddpm", "dpm++"]


def ddim(denoiser: Denoise, x: Tensor, schedule: Schedule, steps: int) -> Tensor:
    """Sample by deterministic DDIM (Song et al. 2021, eq. 12 with eta = 0)."""
    levels = sampling_levels(schedule, steps).to(x.device)
    alphas, sigmas = alpha_sigma(schedule, levels)
    for i in range(steps):
        clean = denoiser(x, levels[i])
        noise = (x - alphas[i] * clean) / sigmas[i]
        x = alphas[i + 1] * clean + sigmas[i + 1] * noise
    return x


def ddpm(denoiser: Denoise, x: Tensor, schedule: Schedule, steps: int, noise: Noise | None = None) -> Tensor:
    """Sample by the ancestral process (Ho et al. 2020, eq. 6-7, on a subsequence of levels).

    `noise(i)` gives the fresh noise of step i in the shape of `x`, so that callers can key it; by default it comes
    from torch's global generator.
    """
    levels = sampling_levels(schedule, steps).to(x.device)
    alphas, sigmas = alpha_sigma(schedule, levels)
    for i in range(steps):
        clean = denoiser(x, levels[i])
        ratio = alphas[i] / alphas[i + 1]
        kept = (1 - (ratio * sigmas[i + 1] / sigmas[i]).square()) * alphas[i + 1]  # weight of the clean estimate
        spread = sigmas[i + 1] / sigmas[i] * (1 - ratio.square()).clamp(min=0).sqrt()
        x = kept * clean + ratio * (sigmas[i + 1] / sigmas[i]).square() * x
        if i + 1 < steps:
            x = x + spread * (torch.randn_like(x) if noise is None else noise(i))
    return x


def dpm_solver(denoiser: Denoise, x: Tensor, schedule: Schedule, steps: int) -> Tensor:
    """Sample by DPM-Solver++ 2M, the second-order multistep method (Lu et al. 2022, algorithm 2)."""
    levels = sampling_levels(schedule, steps).to(x.device)
    alphas, sigmas = alpha_sigma(schedule, levels)
    log_snr = torch.log(alphas) - torch.log(sigmas)  # half log signal-to-noise ratio; infinite at the clean end
    previous: Tensor | None = None
    for i in range(steps):
        clean = denoiser(x, levels[i])
        if i + 1 == steps:  # the last step lands on the clean value, where the formula's limit is the estimate itself
            return clean
        width = log_snr[i + 1] - log_snr[i]
        estimate = clean
        if previous is not None:
            before = (log_snr[i] - log_snr[i - 1]) / width
            estimate = clean + (clean - previous) / (2 * before)
        x = sigmas[i + 1] / sigmas[i] * x - alphas[i + 1] * torch.expm1(-width) * estimate
        previous = clean
    return x


def sample(
    name: SamplerName, denoiser: Denoise, x: Tensor, schedule: Schedule, steps: int, noise: Noise | None = None
) -> Tensor:
    """Run the sampler called `name`; `noise` is used by `ddpm` only."""
    if name == "ddpm":
        return ddpm(denoiser, x, schedule, steps, noise)
    return (dpm_solver if name == "dpm++" else ddim)(denoiser, x, schedule, steps)
