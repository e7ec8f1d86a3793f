"""From a decoded picture to features of the forecast, and the gate that joins them with those of the raw series."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fxgpt_core.models.ldm4ts.vision import COLOURS

_FINEST = 32  # pixels a side beyond which a picture is averaged: what a path of 32 points shows is no finer
_BY_MOMENT = 8


class TemporalProjection(nn.Module):
    """Reads a picture column by column, since time runs to the right in every encoding, then all columns together.

    Each column has weights of its own: where a moment meets itself, on the diagonal, is another row in each.
    """

    def __init__(self, size: int, features: int) -> None:
        super().__init__()
        self.side = min(size, _FINEST)
        self.column = nn.Parameter(
            torch.randn(self.side, COLOURS * self.side, _BY_MOMENT) / (COLOURS * self.side) ** 0.5
        )
        self.joined = nn.Linear(self.side * _BY_MOMENT, features)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return features (rows, features) of pictures (rows, 3, size, size)."""
        if pictures.shape[-1] != self.side:
            pictures = functional.adaptive_avg_pool2d(pictures, self.side)
        columns = pictures.flatten(1, 2).transpose(1, 2)  # (rows, moments, 3 * side)
        moments = torch.einsum("rmp,mpk->rmk", columns, self.column)
        out: Tensor = self.joined(functional.silu(moments).flatten(1))
        return out


class GatedFusion(nn.Module):
    """g * picture + (1 - g) * series, the gate g in 0..1 of each feature learned from both; or the picture alone."""

    def __init__(self, columns: int, features: int, dropout: float, gated: bool) -> None:
        super().__init__()
        self.gated = gated
        self.drop = nn.Dropout(dropout)
        if gated:
            self.series = nn.Linear(columns, features)
            self.gate = nn.Linear(2 * features, features)

    def forward(self, picture: Tensor, series: Tensor) -> Tensor:
        """Return fused features (rows, features) of those of the picture and the columns of the series."""
        fused = picture
        if self.gated:
            own = self.series(series)
            gate = torch.sigmoid(self.gate(torch.cat([picture, own], dim=1)))
            fused = gate * picture + (1 - gate) * own
        out: Tensor = self.drop(fused)
        return out
