"""A head that convolves along horizons: a small U-Net from neighbours to the whole and back."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fxgpt_core.diffusion.heads.base import ACTIVATIONS, Head, HeadSize, broadcast


class Convolution(nn.Module):
    """Residual convolution of width 3 over places, as one matrix on each place and its two neighbours."""

    def __init__(self, size: HeadSize) -> None:
        super().__init__()
        self.three = nn.Linear(3 * size.width, size.width)
        self.act = ACTIVATIONS[size.activation]()
        self.drop = nn.Dropout(size.dropout)
        self.one = nn.Linear(size.width, size.width)

    def forward(self, values: Tensor, present: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """`values` (rows, places, width), zero where `present` (rows, places, 1) is; films (rows, 1, width)."""
        normed = (functional.layer_norm(values, values.shape[-1:]) * (1 + scale) + shift) * present
        padded = functional.pad(normed, (0, 0, 1, 1))
        three = torch.cat([padded[:, :-2], normed, padded[:, 2:]], dim=-1)
        out: Tensor = (values + self.one(self.drop(self.act(self.three(three))))) * present
        return out


class UNetHead(Head):
    """Temporal U-Net (Ronneberger et al. 2015; Ho et al. 2020, appendix B) over horizons in their order.

    `layers` counts resolutions: each halves the places by the mean of two neighbours that are present, down to at most
    one place, and the way back adds what it passed. A masked horizon is absent on every resolution.
    """

    def __init__(self, size: HeadSize) -> None:
        super().__init__(size, 4 * size.layers)
        self.down = nn.ModuleList(Convolution(size) for _ in range(size.layers))
        self.up = nn.ModuleList(Convolution(size) for _ in range(size.layers))

    def shared(self, mask: Tensor, context: Tensor) -> Tensor:
        """Return places (..., horizons, width): each horizon's name with the context, zero where masked."""
        out: Tensor = (self.context(context)[..., None, :] + self.present(self.table())) * mask[..., None]
        return out

    def denoise(self, x: Tensor, mask: Tensor, shared: Tensor, film: Tensor) -> Tensor:
        """See `Head.denoise`."""
        table, count = self.table(), x.shape[-1]
        lead = broadcast(x.shape[:-1], shared.shape[:-2])
        held = shared + x[..., None] * self.values(table)
        values = held.expand(*lead, count, -1).reshape(-1, count, self.size.width)
        present = mask.expand(*lead, count).reshape(-1, count, 1)
        films = film.expand(*lead, film.shape[-1]).reshape(-1, 1, film.shape[-1]).chunk(4 * self.size.layers, dim=-1)
        passed = []
        for i, block in enumerate(self.down):
            values = cast(Convolution, block)(values, present, films[2 * i], films[2 * i + 1])
            passed.append((values, present))
            values, present = _halved(values, present)
        for i, block in zip(reversed(range(self.size.layers)), self.up, strict=True):
            skip, present = passed[i]
            values = skip + values.repeat_interleave(2, dim=1)[:, : skip.shape[1]] * present
            at = 2 * (self.size.layers + i)
            values = cast(Convolution, block)(values, present, films[at], films[at + 1])
        out: Tensor = (self.read(self.final(values)) * table).sum(-1).view(*lead, count)
        return out


def _halved(values: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Return means over pairs of places that are present (rows, places / 2 rounded up, width), and which hold any."""
    if values.shape[1] % 2:
        values, present = (functional.pad(part, (0, 0, 0, 1)) for part in (values, present))
    rows, places, width = values.shape
    pairs = present.reshape(rows, places // 2, 2, 1).sum(2)
    return values.reshape(rows, places // 2, 2, width).sum(2) / pairs.clamp(min=1), pairs.clamp(max=1)
