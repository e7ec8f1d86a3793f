"""A head that attends between horizons: one token per horizon and one for the context."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fxgpt_core.diffusion.heads.base import ACTIVATIONS, Head, HeadSize, broadcast


class Block(nn.Module):
    """Attention over tokens and an MLP on each, both behind layer norms that the level scales and shifts."""

    def __init__(self, size: HeadSize) -> None:
        super().__init__()
        self.heads = size.attention
        self.mix = nn.Linear(size.width, 3 * size.width)
        self.out = nn.Linear(size.width, size.width)
        self.wide = nn.Sequential(
            nn.Linear(size.width, 2 * size.width),
            ACTIVATIONS[size.activation](),
            nn.Dropout(size.dropout),
            nn.Linear(2 * size.width, size.width),
        )

    def forward(self, tokens: Tensor, visible: Tensor, film: tuple[Tensor, ...]) -> Tensor:
        """`tokens` (rows, tokens, width), `visible` (rows, 1, 1, tokens), `film` four of (rows, 1, width)."""
        rows, count, width = tokens.shape
        normed = functional.layer_norm(tokens, (width,)) * (1 + film[0]) + film[1]
        parts = self.mix(normed).view(rows, count, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=visible)
        tokens = tokens + self.out(seen.transpose(1, 2).reshape(rows, count, width))
        out: Tensor = tokens + self.wide(functional.layer_norm(tokens, (width,)) * (1 + film[2]) + film[3])
        return out


class TransformerHead(Head):
    """Transformer over horizon tokens (Peebles & Xie 2023 for how levels enter); masked tokens are seen by none.

    Ten to twenty times the cost of `MLPHead` on a CPU.
    """

    def __init__(self, size: HeadSize) -> None:
        super().__init__(size, 4 * size.layers)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))

    def shared(self, mask: Tensor, context: Tensor) -> Tensor:
        """Return tokens (..., 1 + horizons, width): the context, and each horizon's name with the context."""
        name = self.present(self.table())
        place = self.context(context)[..., None, :]
        named = place + name
        return torch.cat([place.expand(*named.shape[:-2], 1, named.shape[-1]), named], dim=-2)

    def denoise(self, x: Tensor, mask: Tensor, shared: Tensor, film: Tensor) -> Tensor:
        """See `Head.denoise`."""
        table = self.table()
        lead = broadcast(x.shape[:-1], shared.shape[:-2])
        held = functional.pad(x[..., None] * self.values(table), (0, 0, 1, 0))
        tokens = (shared + held).expand(*lead, *shared.shape[-2:]).reshape(-1, *shared.shape[-2:])
        asked = functional.pad(mask.expand(*lead, mask.shape[-1]).reshape(-1, mask.shape[-1]), (1, 0), value=1.0) > 0
        films = film.expand(*lead, film.shape[-1]).reshape(-1, 1, film.shape[-1]).chunk(4 * self.size.layers, dim=-1)
        for i, block in enumerate(self.blocks):
            tokens = cast(Block, block)(tokens, asked[:, None, None], films[4 * i : 4 * i + 4])
        out: Tensor = (self.read(self.final(tokens[:, 1:])) * table).sum(-1).view(*lead, x.shape[-1])
        return out
