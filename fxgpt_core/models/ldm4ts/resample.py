"""Resampling as one matrix product: linear between points where a picture is larger, averages where it is smaller."""

from __future__ import annotations

import torch
from torch import Tensor


def weights(points: int, size: int, device: torch.device | None = None) -> Tensor:
    """Return the matrix (size, points) that resamples `points` values to `size`; its rows sum to one.

    Upwards it interpolates linearly with both ends kept, so values at the points are met exactly where a pixel lies on
    them. Downwards pixel i is the average over [i, i + 1) · points / size, which for whole ratios is the piecewise
    aggregate approximation (Keogh et al. 2001).
    """
    index = torch.arange(points, dtype=torch.float64, device=device)
    if size >= points:
        at = torch.linspace(0.0, points - 1.0, size, dtype=torch.float64, device=device)
        made = (1.0 - (at[:, None] - index).abs()).clamp(min=0.0)
    else:
        edges = torch.arange(size + 1, dtype=torch.float64, device=device) * (points / size)
        upper = torch.minimum(edges[1:, None], index + 1.0)
        made = (upper - torch.maximum(edges[:-1, None], index)).clamp(min=0.0) * (size / points)
    return made.float()


def unit(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scale each row and variable of (rows, length, variables) to 0..1 over its own time; return it as float32, and
    its low and its high, (rows, 1, variables).

    What does not move becomes one half: its level says nothing about the window.
    """
    low, high = values.amin(dim=1, keepdim=True), values.amax(dim=1, keepdim=True)
    span = high - low
    still = span <= 4 * torch.finfo(values.dtype).eps * torch.maximum(low.abs(), high.abs())
    scaled = torch.where(still, 0.5, (values - low) / torch.where(still, 1.0, span))
    return scaled.float(), low, high
