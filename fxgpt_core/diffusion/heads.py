"""Diffusion heads: small networks over the masked horizon vector, a context and the noise level."""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from torch import Tensor, nn

Activation = Literal["relu", "gelu", "silu"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


def level_embedding(share: Tensor, width: int) -> Tensor:
    """Return sinusoidal features of a noise level in [0, 1]: (...,) -> (..., width), as for positions 0..1000."""
    half = width // 2
    rates = torch.exp(-math.log(10_000.0) * torch.arange(half, device=share.device) / half)
    angle = 1000.0 * share[..., None].float() * rates
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1)


class MLPHead(nn.Module):
    """Residual MLP that denoises all horizons jointly, so that one draw is one coherent future.

    Horizons enter and leave through learned embeddings (horizons, embedding); a masked horizon contributes nothing.
    The output layer starts at zero: an untrained head says "standard normal" (see `Denoiser`).
    """

    def __init__(
        self,
        horizons: int,
        context: int,
        width: int,
        layers: int,
        embedding: int,
        dropout: float,
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        act = _ACTIVATIONS[activation]
        self.width = width
        self.embedding = nn.Parameter(torch.randn(horizons, embedding) / math.sqrt(embedding))
        self.values = nn.Linear(embedding, width)
        self.present = nn.Linear(embedding, width, bias=False)
        self.context = nn.Linear(context, width)
        self.level = nn.Sequential(nn.Linear(width, width), act(), nn.Linear(width, 2 * width * layers))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), act(), nn.Dropout(dropout), nn.Linear(width, width))
            for _ in range(layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(layers))
        self.final = nn.LayerNorm(width)
        self.output = nn.Linear(width, horizons)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        # FiLM starts as identity, so early training sees the level through the context-free path only mildly.
        last = cast(nn.Linear, self.level[-1])
        nn.init.normal_(last.weight, std=0.02)
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, mask: Tensor, share: Tensor, context: Tensor) -> Tensor:
        """Return the output of the shape of `x` (..., horizons); shapes as in `Denoiser.forward`."""
        hidden = self.values(x @ self.embedding) + self.present(mask @ self.embedding) + self.context(context)
        film = self.level(level_embedding(share, self.width)).chunk(2 * len(self.blocks), dim=-1)
        for i, (norm, block) in enumerate(zip(self.norms, self.blocks, strict=True)):
            hidden = hidden + block(norm(hidden) * (1 + film[2 * i]) + film[2 * i + 1])
        out: Tensor = self.output(self.final(hidden))
        return out
