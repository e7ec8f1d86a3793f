"""Margins that draws are placed on: evenly spaced quantiles of a law, per horizon."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fxgpt_core.common.forecast import LEVELS
from fxgpt_core.models.adjustment import Adjustment

Floats = NDArray[np.float64]

MARGIN_LEVELS = 999
"""Evenly spaced quantiles that stand for a margin."""


def normal_margins(horizons: int) -> Tensor:
    """Return the standard normal margin of each horizon, (levels, horizons)."""
    normal: Tensor = torch.special.ndtri((torch.arange(MARGIN_LEVELS) + 0.5) / MARGIN_LEVELS)
    return normal[:, None].repeat(1, horizons)


def placed(margins: Tensor, u: Tensor) -> Tensor:
    """Return draws (rows, draws, horizons) in the order they have, placed on `margins` (levels, horizons).

    Ensemble copula coupling (Schefzik et al. 2013). Evenly placed instead of at random: a hundred draws then say of a
    margin what a thousand would.
    """
    ranks = u.argsort(dim=1).argsort(dim=1)
    return spread_out(margins, u.shape[1]).to(u).expand(len(u), -1, -1).gather(1, ranks)


def spread_out(margins: Tensor, draws: int) -> Tensor:
    """Return `draws` equally likely values of each margin (levels, horizons), increasing: (draws, horizons).

    Each is the mean of its share of the margin, so that the mean is the margin's and hardly any of its deviation is
    lost: quantiles in the middle of the shares lose the tails, up to an eighth of the deviation with Student's law.
    """
    levels = len(margins)
    total = torch.cat([torch.zeros_like(margins[:1]), margins.cumsum(dim=0)]).double()
    at = torch.arange(draws + 1, device=margins.device, dtype=torch.float64) * levels / draws
    low = at.long().clamp(max=levels - 1)
    until = total[low] + (at - low)[:, None] * margins.double()[low]  # (draws + 1, horizons)
    return (until.diff(dim=0) * draws / levels).to(margins)


def standing_law(margins: Tensor, mean: Floats, log_scale: Floats, adjust: Adjustment) -> tuple[Floats, Floats]:
    """Return adjusted deviations (rows, horizons) and quantiles (rows, horizons, levels) where all rows share one law.

    `margins` (levels, horizons) are laid around `mean` and stretched by `log_scale`, (rows, horizons) each. The law is
    known, and its quantiles need no draws: a hundred that keep the deviation of fat tails put the first and last
    hundredth too far out.
    """
    values = margins.double().cpu().numpy()
    middle = (np.arange(len(values)) + 0.5) / len(values)
    law = np.stack([np.interp(LEVELS, middle, margin) for margin in values.T])  # (horizons, levels)
    width = adjust.scale * np.exp(log_scale)
    return width * values.std(axis=0), (adjust.shrink * mean)[..., None] + width[..., None] * law
