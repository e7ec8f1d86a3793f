"""The default head: a residual MLP over the horizon vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fxgpt_core.diffusion.heads.base import ACTIVATIONS, Evaluate, Head, HeadSize

_TILE = 1 << 17  # numbers a layer works on at a time, so that it stays in a core's cache

_ACT_IN_PLACE: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.ReLU: torch.relu_,
    nn.SiLU: lambda x: functional.silu(x, inplace=True),
    nn.GELU: functional.gelu,
}

_Weights = tuple[Tensor, Tensor, Callable[[Tensor], Tensor], Tensor]
_Film = tuple[tuple[Tensor, ...], ...]


class MLPHead(Head):
    """Residual MLP that denoises all horizons jointly, so that one draw is one coherent future.

    Levels act as the scale and shift of each block's layer norm (FiLM, Perez et al. 2018).
    """

    def __init__(self, size: HeadSize) -> None:
        super().__init__(size, 2 * size.layers)
        width, act = size.width, ACTIVATIONS[size.activation]
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), act(), nn.Dropout(size.dropout), nn.Linear(width, width, bias=False))
            for _ in range(size.layers)
        )

    def shared(self, mask: Tensor, context: Tensor) -> Tensor:
        """Return (..., width): which horizons are asked for, and the context."""
        out: Tensor = self.present(mask @ self.table()) + self.context(context)
        return out

    def denoise(self, x: Tensor, mask: Tensor, shared: Tensor, film: Tensor) -> Tensor:
        """See `Head.denoise`."""
        table, width = self.table(), (self.size.width,)
        hidden = x @ self.values(table) + shared
        films = film.chunk(2 * self.size.layers, dim=-1)
        for i, block in enumerate(self.blocks):
            hidden = hidden + block(functional.layer_norm(hidden, width) * (1 + films[2 * i]) + films[2 * i + 1])
        out: Tensor = self.read(self.final(hidden)) @ table.T
        return out

    def bind(self, mask: Tensor, context: Tensor, shares: Tensor) -> Evaluate:
        """See `Head.bind`; without gradients, works in place on tiles of rows and lets layer norms apply the levels."""
        if torch.is_grad_enabled() or self.training:
            return super().bind(mask, context, shares)
        asked = mask[..., None, :].expand(len(context), 1, self.size.horizons)
        whole = bool(mask.all())
        shared = self.shared(asked, context[:, None])
        enter, leave = self.values(self.table()), (self.table() @ self.read.weight).T
        levels = self.film(shares.to(context.device)).view(len(shares), self.size.layers, 2, -1)
        levels[:, :, 0] += 1
        films = {share: tuple(map(tuple, film)) for share, film in zip(shares.tolist(), levels, strict=True)}
        weights = self._weights()

        def evaluate(x: Tensor, share: float) -> Tensor:
            rows = max(1, _TILE // (x.shape[1] * self.size.width)) if x.device.type == "cpu" else len(x)
            parts = []
            for at in range(0, len(x), rows):
                part = x[at : at + rows] if whole else x[at : at + rows] * asked[at : at + rows]
                hidden = (part @ enter).add_(shared[at : at + rows]).flatten(0, 1)
                parts.append((self._blocks(hidden, films[share], weights) @ leave).view(part.shape))
            return torch.cat(parts) if len(parts) > 1 else parts[0]

        return evaluate

    def _weights(self) -> tuple[_Weights, ...]:
        """Return what each block multiplies by, looked up once for all steps of a sampler."""
        found = []
        for block in self.blocks:
            first, act, second = (cast(nn.Linear, cast(nn.Sequential, block)[i]) for i in (0, 1, 3))
            found.append((first.bias, first.weight.T, _ACT_IN_PLACE[type(act)], second.weight.T))
        return tuple(found)

    def _blocks(self, hidden: Tensor, film: _Film, weights: tuple[_Weights, ...]) -> Tensor:
        """Run the blocks on `hidden` (draws, width), overwriting it; `film`: scale and shift (width,) of each block."""
        width = (self.size.width,)
        for (bias, enter, act, leave), (scale, shift) in zip(weights, film, strict=True):
            normed = torch.layer_norm(hidden, width, scale, shift)
            hidden.addmm_(act(torch.addmm(bias, normed, enter)), leave)
        out: Tensor = self.final(hidden)
        return out
