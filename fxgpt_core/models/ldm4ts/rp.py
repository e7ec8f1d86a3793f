"""Recurrence plots (RP; Eckmann et al. 1987), graded: how near the series is at one moment to where it was at another.

Time runs along both axes. Several variables are one point in space, and the distance is that of two points (the root
of the mean square over variables): a moment recurs when everything recurs, which a mean of plots would not say.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def draw(scaled: Tensor, kernel: Literal["gaussian", "distance"], scale: float, out: Tensor) -> None:
    """Write the plots of series (rows, length, variables) that span 0..1 into `out` (rows, length, length).

    Pixels are 2k - 1, one on the diagonal, where k is exp(-d²/2s²) with s = `scale`, or 1 - d.
    """
    squares(scaled, out)
    if kernel == "gaussian":
        out.mul_(-0.5 / scale**2).exp_().mul_(2.0).sub_(1.0)
    else:
        out.sqrt_().mul_(-2.0).add_(1.0)


def squares(scaled: Tensor, out: Tensor) -> None:
    """Write d² between the moments of series (rows, length, variables) into `out` (rows, length, length): 0..1 for
    series that span 0..1.

    d²_ij = |x_i|² + |x_j|² - 2 x_i·x_j is one product of matrices, with the two squares as columns of their own.
    """
    # Centred first: the product loses what the points have in common.
    points = (scaled - scaled.mean(dim=1, keepdim=True)) / scaled.shape[2] ** 0.5
    power = points.square().sum(dim=2, keepdim=True)
    one = torch.ones_like(power)
    torch.bmm(torch.cat([-2.0 * points, power, one], dim=2), torch.cat([points, one, power], dim=2).mT, out=out)
    out.clamp_(min=0.0)
