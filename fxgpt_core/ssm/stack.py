"""Stack of S4D blocks: the causal encoder of one timeframe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from fxgpt_core.ssm.block import Block
from fxgpt_core.ssm.s4d import LayerSettings

States = list[Tensor]
Bars = list[tuple[Tensor, ...]]


class Stack(nn.Module):
    """Projects features to `channels` and runs `layers` S4D blocks over them.

    The output at a bar depends on this bar and earlier ones only. `forward` runs over a stretch, `advance` returns the
    states after it, too (one per layer, so a stretch may be cut anywhere), `step` goes bar by bar. Not `normalised`,
    its output is the linear projection of the inputs plus what the blocks add to it.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        layers: int,
        settings: LayerSettings,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
        normalised: bool = True,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.project = _projection(inputs, channels)
        self.blocks = nn.ModuleList(Block(channels, settings, dropout, generator) for _ in range(layers))
        self.norm: nn.Module = nn.LayerNorm(channels) if normalised else nn.Identity()

    def forward(self, features: Tensor, states: States | None = None) -> Tensor:
        """Map features (batch, bars, inputs) to encodings (batch, bars, channels); `states` None before history."""
        u = self.project(features)
        for i, block in enumerate(self.blocks):
            u = block(u, None if states is None else states[i])
        encoded: Tensor = self.norm(u)
        return encoded

    def advance(self, features: Tensor, states: States | None) -> tuple[Tensor, States]:
        """Map features (batch, bars, inputs) to encodings and the states after them; `states` None before history."""
        u, after = self.project(features), []
        for i, block in enumerate(self._blocks()):
            u, state = block.advance(u, None if states is None else states[i])
            after.append(state)
        return self.norm(u), after

    def step(self, features: Tensor, states: States, bars: Bars | None = None) -> tuple[Tensor, States]:
        """Map one bar (batch, inputs) to its encoding (batch, channels) and the new states; `bars` from `bars()`."""
        u, after = self.project(features), []
        for i, block in enumerate(self._blocks()):
            u, state = block.step(u, states[i], None if bars is None else bars[i])
            after.append(state)
        return self.norm(u), after

    def bars(self) -> Bars:
        """Return each layer in discrete time, for `step` with weights that do not change."""
        return [block.layer.bar() for block in self._blocks()]

    def initial_states(self, batch: int) -> States:
        """Return the states before the first bar of history, each (batch, channels, pairs, 2)."""
        return [block.layer.initial_state(batch) for block in self._blocks()]

    @torch.no_grad()
    def over_history(self, features: Tensor, piece: int) -> Tensor:
        """Encode a whole history (bars, inputs) -> (bars, channels), `piece` bars at a time with the state carried."""
        states, out = None, [features.new_zeros((0, self.channels))]
        for part in torch.split(features, piece) if len(features) else ():
            encoded, states = self.advance(part[None], states)
            out.append(encoded[0])
        return torch.cat(out)

    @torch.no_grad()
    def landmarks(self, features: Tensor, every: int) -> States:
        """Return each layer's states before bars 0, `every`, 2 `every` .. of a history (bars, inputs), bars >= 1.

        Each (count, channels, pairs, 2), count = ceil(bars / every).
        """
        u, out = self.project(features[None]), []
        for block in self._blocks():
            u, states = block.landmarks(u, every)
            before = torch.cat([block.layer.initial_state(1), states[:-1, 0]])
            out.append(before)
        return out

    @torch.no_grad()
    def stream(self, features: Tensor) -> Tensor:
        """Encode a history (bars, inputs) -> (bars, channels) bar by bar, as live use does."""
        states, bars, out = self.initial_states(1), self.bars(), [features.new_zeros((0, self.channels))]
        for bar in features:
            encoded, states = self.step(bar[None], states, bars)
            out.append(encoded)
        return torch.cat(out)

    def _blocks(self) -> Iterator[Block]:
        return iter(cast("list[Block]", self.blocks))


def _projection(inputs: int, channels: int) -> nn.Linear:
    """Return a linear map with torch's starting values; of no inputs at all it is a bias that starts at zero."""
    if inputs:
        return nn.Linear(inputs, channels)
    out = nn.Linear(1, channels)  # torch warns of starting values for a matrix without columns
    out.in_features, out.weight = 0, nn.Parameter(out.weight.detach()[:, :0].clone())
    nn.init.zeros_(out.bias)
    return out
