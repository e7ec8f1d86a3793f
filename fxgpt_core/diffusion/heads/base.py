"""What every head shares: horizon embeddings, level features, and the split that lets draws share work."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

Activation = Literal["relu", "gelu", "silu"]
HeadName = Literal["mlp", "unet", "transformer"]
Evaluate = Callable[[Tensor, float], Tensor]
ACTIVATIONS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


@dataclass(frozen=True)
class HeadSize:
    """Sizes of a head: `horizons`, width of the `context`, hidden `width`, hidden `layers`, width of `embedding`."""

    horizons: int
    context: int
    width: int
    layers: int
    embedding: int
    dropout: float = 0.0
    activation: Activation = "silu"
    attention: int = 4


def level_embedding(share: Tensor, width: int) -> Tensor:
    """Return sinusoidal features of a noise level in [0, 1]: (...,) -> (..., width), as for positions 0..1000."""
    half = width // 2
    rates = torch.exp(-math.log(10_000.0) * torch.arange(half, device=share.device) / half)
    angle = 1000.0 * share[..., None].float() * rates
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1)


def broadcast(*shapes: torch.Size) -> tuple[int, ...]:
    """Return the shape that `shapes` broadcast to."""
    return tuple(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]


class Head(nn.Module):
    """A head maps (x, mask, share of T, context) to an output of the shape of x (..., horizons).

    Horizons enter and leave through learned embeddings alone, one parameter each, so that any subset can be asked for
    by `mask` and a new horizon is one more embedding. What a masked horizon holds never reaches the others.
    The read-out starts at zero: an untrained head says "standard normal" (see `Denoiser`).

    Work is split by what it depends on: `shared` on the row, `film` on the level, `denoise` on the draw.
    """

    def __init__(self, size: HeadSize, films: int) -> None:
        super().__init__()
        self.size = size
        act = ACTIVATIONS[size.activation]
        self.embedding = nn.ParameterList(
            nn.Parameter(torch.randn(size.embedding) / math.sqrt(size.embedding)) for _ in range(size.horizons)
        )
        self.values = nn.Linear(size.embedding, size.width, bias=False)
        self.present = nn.Linear(size.embedding, size.width, bias=False)
        self.context = nn.Linear(size.context, size.width)
        self.level = nn.Sequential(nn.Linear(size.width, size.width), act(), nn.Linear(size.width, films * size.width))
        self.final = nn.LayerNorm(size.width)
        self.read = nn.Linear(size.width, size.embedding, bias=False)
        nn.init.zeros_(self.read.weight)
        last = cast(nn.Linear, self.level[-1])
        nn.init.normal_(last.weight, std=0.02)  # levels act mildly at first, whatever the context says
        nn.init.zeros_(last.bias)

    def table(self) -> Tensor:
        """Return the horizon embeddings (horizons, embedding)."""
        return torch.stack(tuple(self.embedding))

    def film(self, share: Tensor) -> Tensor:
        """Return scales and shifts of a level: (...,) -> (..., films * width)."""
        out: Tensor = self.level(level_embedding(share, self.size.width))
        return out

    def shared(self, mask: Tensor, context: Tensor) -> Tensor:
        """Return what all draws and levels of a row share; `mask` (..., horizons), `context` (..., context)."""
        raise NotImplementedError

    def denoise(self, x: Tensor, mask: Tensor, shared: Tensor, film: Tensor) -> Tensor:
        """Return the output (..., horizons) from `x` of that shape, zero where masked, `shared` and `film`."""
        raise NotImplementedError

    def forward(self, x: Tensor, mask: Tensor, share: Tensor, context: Tensor) -> Tensor:
        """Return the output of the shape of `x` (..., horizons); shapes as in `Denoiser.forward`."""
        return self.denoise(x * mask, mask, self.shared(mask, context), self.film(share))

    def bind(self, mask: Tensor, context: Tensor, shares: Tensor) -> Evaluate:
        """Return `(x, share) -> output` for x (rows, draws, horizons), with rows and levels worked out once.

        `mask` (horizons,) or (rows, horizons), `context` (rows, context), `shares` (levels,) to be visited.
        """
        asked = mask[..., None, :]
        shared = self.shared(asked, context[:, None])
        films = dict(zip(shares.tolist(), self.film(shares.to(context.device)), strict=True))

        def evaluate(x: Tensor, share: float) -> Tensor:
            return self.denoise(x * asked, asked, shared, films[share])

        return evaluate
