"""Stack of S4D blocks: the causal encoder of one timeframe."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from fxgpt_core.ssm.block import Block
from fxgpt_core.ssm.initialisation import Initialisation
from fxgpt_core.ssm.s4d import S4D

States = list[Tensor]


class Stack(nn.Module):
    """Projects features to `channels` and runs `layers` S4D blocks over them.

    The output at a bar depends on this bar and earlier ones only. `forward` runs over a stretch, `step` bar by bar;
    both carry one state per layer, so a stretch may be cut anywhere.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        state_size: int,
        layers: int,
        dropout: float,
        initialisation: Initialisation = "legs",
        steps: tuple[float, float] = (1e-3, 1e-1),
        chunk: int = 256,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.project = nn.Linear(inputs, channels)
        self.blocks = nn.ModuleList(
            Block(
                S4D(channels, state_size, initialisation, *steps, chunk, seed + layer),
                channels,
                dropout,
            )
            for layer in range(layers)
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, features: Tensor, states: States | None = None) -> tuple[Tensor, States]:
        """Map features (batch, bars, inputs) to encodings (batch, bars, channels) and the states after them."""
        u, after = self.project(features), []
        for i, block in enumerate(self.blocks):
            u, state = block(u, None if states is None else states[i])
            after.append(state)
        return self.norm(u), after

    def step(self, features: Tensor, states: States) -> tuple[Tensor, States]:
        """Map one bar (batch, inputs) to its encoding (batch, channels) and the new states."""
        u, after = self.project(features), []
        for block, state in zip(self.blocks, states, strict=True):
            u, new = cast(Block, block).step(u, state)
            after.append(new)
        return self.norm(u), after

    def initial_states(self, batch: int) -> States:
        """Return the states before the first bar of history."""
        return [cast(Block, block).layer.initial_state(batch) for block in self.blocks]

    @torch.no_grad()
    def over_history(self, features: Tensor, piece: int) -> Tensor:
        """Encode a whole history (bars, inputs) -> (bars, channels), `piece` bars at a time with the state carried."""
        states, out = self.initial_states(1), []
        for part in torch.split(features, piece):
            encoded, states = self(part[None], states)
            out.append(encoded[0])
        return torch.cat(out) if out else features.new_zeros((0, self.norm.normalized_shape[0]))

    @torch.no_grad()
    def stream(self, features: Tensor) -> Tensor:
        """Encode a history (bars, inputs) -> (bars, channels) bar by bar, as live use does."""
        states, out = self.initial_states(1), []
        for bar in features:
            encoded, states = self.step(bar[None], states)
            out.append(encoded[0])
        return torch.stack(out)
