"""Residual block around one S4D layer: norm, state space, GELU, gated mixing of channels, dropout."""

from __future__ import annotations

from torch import Tensor, nn

from fxgpt_core.ssm.s4d import S4D


class Block(nn.Module):
    """Pre-norm residual block; `forward` and `step` have the shapes of `S4D`."""

    def __init__(self, layer: S4D, channels: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.layer = layer
        self.mix = nn.Sequential(nn.GELU(), nn.Dropout(dropout), nn.Linear(channels, 2 * channels), nn.GLU(dim=-1))
        self.dropout = nn.Dropout(dropout)

    def forward(self, u: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run over a stretch (batch, bars, channels)."""
        y, state = self.layer(self.norm(u), state)
        return u + self.dropout(self.mix(y)), state

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run over one bar (batch, channels)."""
        y, state = self.layer.step(self.norm(u), state)
        return u + self.dropout(self.mix(y)), state
