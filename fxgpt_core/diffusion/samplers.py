"""Samplers: turn noise into samples with a denoiser, one short function each.

A denoiser is any callable `(x, level) -> estimate of the clean value` with `x` of any shape and `level` a number in
[0, T]. `x` starts as standard normal noise. Samples are never clamped: returns have fat tails. All of them hold for a
schedule whose last level has no signal at all, and all end at the clean value: the last step returns the estimate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from fxgpt_core.diffusion.schedules import Schedule, amplitudes, sampling_levels

Denoise = Callable[[Tensor, float], Tensor]
Noise = Callable[[int], Tensor]
SamplerName = Literal["ddim", "ddpm", "dpm++"]

# Measured with exact denoisers at 10 steps: half crowded, DPM-Solver++ errs by half as much on a mixture and on narrow
# and wide normals; DDIM gains nothing.
_CROWDING: dict[SamplerName, float] = {"ddim": 0.0, "ddpm": 0.0, "dpm++": 0.5}


def sampler_levels(name: SamplerName, schedule: Schedule, steps: int) -> Tensor:
    """Return the `steps + 1` levels that the sampler called `name` visits."""
    return sampling_levels(schedule, steps, _CROWDING[name])


def ddim(
    denoiser: Denoise, x: Tensor, schedule: Schedule, steps: int, eta: float = 0.0, noise: Noise | None = None
) -> Tensor:
    """Sample by DDIM (Song et al. 2021, eq. 12 and 16): deterministic at `eta` 0, the ancestral process at 1."""
    levels = sampler_levels("ddim", schedule, steps)
    alphas, sigmas = amplitudes(schedule, levels)
    for i, level in enumerate(levels[:-1].tolist()):
        clean = denoiser(x, level)
        fresh = eta * sigmas[i + 1] / sigmas[i] * math.sqrt(max(1 - (alphas[i] / alphas[i + 1]) ** 2, 0.0))
        kept = math.sqrt(max(sigmas[i + 1] ** 2 - fresh**2, 0.0)) / sigmas[i]
        x = kept * x + (alphas[i + 1] - kept * alphas[i]) * clean
        if fresh > 0:
            x = x + fresh * _drawn(noise, i, x)
    return x


def ddpm(denoiser: Denoise, x: Tensor, schedule: Schedule, steps: int, noise: Noise | None = None) -> Tensor:
    """Sample by the ancestral process (Ho et al. 2020, eq. 6-7, on a subsequence of levels).

    `noise(i)` gives the fresh noise of step i in the shape of `x`, so that callers can key it; by default it comes
    from torch's global generator.
    """
    levels = sampler_levels("ddpm", schedule, steps)
    alphas, sigmas = amplitudes(schedule, levels)
    for i, level in enumerate(levels[:-1].tolist()):
        clean = denoiser(x, level)
        ratio, shrink = alphas[i] / alphas[i + 1], (sigmas[i + 1] / sigmas[i]) ** 2
        x = ratio * shrink * x + (1 - ratio**2 * shrink) * alphas[i + 1] * clean
        if i + 1 < steps:
            x = x + math.sqrt(shrink * max(1 - ratio**2, 0.0)) * _drawn(noise, i, x)
    return x


def dpm_solver(denoiser: Denoise, x: Tensor, schedule: Schedule, steps: int) -> Tensor:
    """Sample by DPM-Solver++ 2M, the second-order multistep method (Lu et al. 2022, algorithm 2).

    First order at both ends: the first step has no history, and on the last one the half log signal-to-noise ratio is
    infinite, where the formula's limit is the estimate itself. The estimate at a level without signal lies infinitely
    far back on that scale, so it adds nothing to the step after it.
    """
    levels = sampler_levels("dpm++", schedule, steps)
    alphas, sigmas = amplitudes(schedule, levels)
    log_snr = [_log_ratio(alpha, sigma) for alpha, sigma in zip(alphas, sigmas, strict=True)]
    previous = x
    for i, level in enumerate(levels[:-1].tolist()):
        clean = denoiser(x, level)
        if i + 1 == steps:
            return clean
        width = log_snr[i + 1] - log_snr[i]
        tilt = 0.5 * width / (log_snr[i] - log_snr[i - 1]) if i and math.isfinite(log_snr[i - 1]) else 0.0
        estimate = clean + tilt * (clean - previous) if tilt else clean
        x = sigmas[i + 1] / sigmas[i] * x - alphas[i + 1] * math.expm1(-width) * estimate
        previous = clean
    return x


def sample(
    name: SamplerName,
    denoiser: Denoise,
    x: Tensor,
    schedule: Schedule,
    steps: int,
    noise: Noise | None = None,
    eta: float = 0.0,
) -> Tensor:
    """Run the sampler called `name`; `noise` is used by `ddpm` and by `ddim` with `eta` above 0."""
    if name == "ddpm":
        return ddpm(denoiser, x, schedule, steps, noise)
    if name == "dpm++":
        return dpm_solver(denoiser, x, schedule, steps)
    return ddim(denoiser, x, schedule, steps, eta, noise)


def _log_ratio(alpha: float, sigma: float) -> float:
    return math.log(alpha / sigma) if alpha > 0 and sigma > 0 else math.copysign(math.inf, alpha - sigma)


def _drawn(noise: Noise | None, step: int, x: Tensor) -> Tensor:
    return torch.randn_like(x) if noise is None else noise(step)
