"""What a training step is made of: noise levels drawn, and which weight each horizon carries."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def default_weights(horizons: int, given: tuple[float, ...] | None) -> Tensor:
    """Return loss weights (horizons,) with mean 1: the given ones or n, n-1, ..., 1 (SPEC 3: .4/.3/.2/.1 for four)."""
    values = torch.tensor(given if given is not None else [float(horizons - i) for i in range(horizons)])
    return values / values.mean()


def level_noise(generator: torch.Generator, shape: tuple[int, int], steps: int) -> Tensor:
    """Return levels in (0, steps], (noises, rows), evenly spread over the batch to lower the variance of the loss."""
    count = math.prod(shape)
    spread = (torch.arange(count) + torch.rand(1, generator=generator)) / count
    order = torch.randperm(count, generator=generator)
    return (1 - spread[order]).clamp(min=1e-4).reshape(shape) * steps
