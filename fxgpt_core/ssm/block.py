"""Residual block around one S4D layer: norm, state space, GELU, gated mixing of channels, dropout."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fxgpt_core.ssm.s4d import S4D, LayerSettings


class Block(nn.Module):
    """Pre-norm residual block; its modes have the shapes of those of `S4D`."""

    def __init__(
        self, channels: int, settings: LayerSettings, dropout: float, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.layer = S4D(channels, settings, generator)
        self.mix = nn.Sequential(nn.GELU(), nn.Dropout(dropout), nn.Linear(channels, 2 * channels), nn.GLU(dim=-1))
        self.dropout = nn.Dropout(dropout)

    def forward(self, u: Tensor, state: Tensor | None = None) -> Tensor:
        """Run over a stretch (batch, bars, channels) from `state`, None being zero."""
        return self._mixed(u, self.layer(self.norm(u), state))

    def advance(self, u: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run over a stretch (batch, bars, channels) from `state`; return the state after it, too."""
        y, after = self.layer.advance(self.norm(u), state)
        return self._mixed(u, y), after

    def landmarks(self, u: Tensor, every: int) -> tuple[Tensor, Tensor]:
        """Run over a stretch (batch, bars, channels); return the states after each `every` bars, too."""
        y, states = self.layer.landmarks(self.norm(u), every)
        return self._mixed(u, y), states

    def step(self, u: Tensor, state: Tensor, bar: tuple[Tensor, ...] | None = None) -> tuple[Tensor, Tensor]:
        """Run over one bar (batch, channels)."""
        y, after = self.layer.step(self.norm(u), state, bar)
        return self._mixed(u, y), after

    def _mixed(self, u: Tensor, y: Tensor) -> Tensor:
        mixed: Tensor = u + self.dropout(self.mix(y))
        return mixed
