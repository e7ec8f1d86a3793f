"""Horizons that contradict each other: one mean up, the other down."""

from __future__ import annotations

import torch
from torch import Tensor

from fxgpt_core.diffusion.denoiser import Denoiser


def contradiction(means: Tensor, mask: Tensor) -> Tensor:
    """Return how much conditional means of horizons contradict each other, a scalar (SPEC 4).

    Mean over rows and over pairs that are both present of max(0, -mean_i * mean_j): zero where signs agree or a mean
    is zero, so it draws the weaker opinion to "no opinion" and never turns one round. `means` in standardised units
    and `mask`: (rows, horizons). Draws are free to rise for an hour and fall over four; only means are judged.
    """
    pairs = torch.triu_indices(means.shape[-1], means.shape[-1], offset=1, device=means.device)
    product = means[..., pairs[0]] * means[..., pairs[1]]
    both = mask[..., pairs[0]] * mask[..., pairs[1]]
    penalty: Tensor = ((-product).clamp(min=0) * both).sum() / both.sum().clamp(min=1)
    return penalty


def conditional_means(denoiser: Denoiser, mask: Tensor, context: Tensor) -> Tensor:
    """Return the means (rows, horizons) that the denoiser states given the context alone.

    At the last level the noisy value says nothing, so the best estimate of the clean value is its conditional mean.
    """
    last = torch.full((), float(denoiser.schedule.steps), device=context.device)
    means: Tensor = denoiser(torch.zeros_like(mask), last, mask, context)
    return means
