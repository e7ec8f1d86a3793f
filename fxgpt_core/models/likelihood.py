"""The likelihood that location and scale of standardised targets are learned by."""

from __future__ import annotations

import torch
from torch import Tensor

_FREEDOM = 5.0  # degrees of freedom: fat tails must not move the scale


def student_loss(target: Tensor, mean: Tensor, log_scale: Tensor, weighed: Tensor) -> tuple[Tensor, Tensor]:
    """Return -log density of Student's t with unit variance, a weighed mean up to a constant, and the ratio
    (target - mean) / scale that it is of.

    `target`, `mean`, `log_scale` and the weights `weighed`, zero where masked: (rows, horizons).
    """
    ratio = (target - mean) * torch.exp(-log_scale)
    density = log_scale + (_FREEDOM + 1) / 2 * torch.log1p(ratio.square() / (_FREEDOM - 2))
    return (density * weighed).sum() / weighed.sum().clamp(min=1e-8), ratio
