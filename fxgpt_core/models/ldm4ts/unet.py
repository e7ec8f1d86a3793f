"""The denoiser of latents: a small U-Net, every block of which attends to the conditions."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fxgpt_core.diffusion.heads.base import Evaluate, level_embedding
from fxgpt_core.models.ldm4ts.conditions import Layout
from fxgpt_core.models.ldm4ts.config import UNetConfig

_GROUPS = 8


class Attention(nn.Module):
    """Cross-attention of places to tokens (Vaswani et al. 2017), added to what it reads."""

    def __init__(self, width: int, tokens: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(tokens, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, places: Tensor, tokens: Tensor) -> Tensor:
        """`places` (rows, places, width), those of all draws of a row together; `tokens` (rows, tokens, width)."""
        rows, count, width = places.shape
        query = self.query(self.norm(places)).view(rows, count, self.heads, -1).transpose(1, 2)
        pairs = self.key_value(tokens).view(rows, tokens.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(query, pairs[0], pairs[1])
        out: Tensor = places + self.out(found.transpose(1, 2).reshape(rows, count, width))
        return out


class Block(nn.Module):
    """Residual block with the level as scale and shift (Dhariwal and Nichol 2021), then cross-attention."""

    def __init__(self, width: int, out: int, wide: UNetConfig, level: int) -> None:
        super().__init__()
        self.first = nn.Sequential(_norm(width), nn.SiLU(), nn.Conv2d(width, out, 3, padding=1))
        self.norm = _norm(out)
        self.second = nn.Sequential(nn.SiLU(), nn.Dropout(wide.dropout), nn.Conv2d(out, out, 3, padding=1))
        self.film = nn.Linear(level, 2 * out)
        self.skip = nn.Identity() if width == out else nn.Conv2d(width, out, 1)
        self.attention = Attention(out, wide.tokens, wide.heads)

    def forward(self, x: Tensor, level: Tensor, tokens: Tensor) -> Tensor:
        """`x` (rows * draws, width, side, side); `level` (rows * draws or 1, width); `tokens` (rows, tokens, width)."""
        scale, shift = self.film(level)[:, :, None, None].chunk(2, dim=1)
        x = self.skip(x) + self.second(self.norm(self.first(x)) * (1 + scale) + shift)
        _, width, high, wide = x.shape
        places = x.flatten(2).transpose(1, 2).reshape(len(tokens), -1, width)
        attended = self.attention(places, tokens).reshape(len(x), high * wide, width)
        out: Tensor = attended.transpose(1, 2).reshape(x.shape)
        return out


class LatentUNet(nn.Module):
    """U-Net (Ronneberger et al. 2015; Rombach et al. 2022) over latents that travel as flat vectors.

    It has the form of a diffusion head (`diffusion.heads.base`): (x, mask, level share, context) -> velocity. All of a
    latent is asked for always, so the mask says nothing. The latent of the window's picture enters beside the noisy
    one; spectrum and text are tokens. A condition that is not given is a learned null of its own, which is what
    guidance without a classifier compares with (Ho and Salimans 2022). The read-out starts at zero: an untrained
    U-Net says "standard normal".
    """

    def __init__(self, layout: Layout, wide: UNetConfig) -> None:
        super().__init__()
        self.layout, level = layout, 4 * wide.width
        widths = [wide.width * factor for factor in wide.multipliers]
        self.level_width = wide.width
        self.level = nn.Sequential(nn.Linear(wide.width, level), nn.SiLU(), nn.Linear(level, level), nn.SiLU())
        self.enter = nn.Conv2d(layout.channels, wide.width, 3, padding=1)
        self.see = nn.Conv2d(layout.channels, wide.width, 3, padding=1)
        self.unseen = nn.Parameter(torch.zeros(wide.width))
        self.bands = nn.Linear(layout.band_width, wide.tokens)
        self.band_names = nn.Parameter(0.02 * torch.randn(layout.bands, wide.tokens))
        self.no_bands = nn.Parameter(0.02 * torch.randn(layout.bands, wide.tokens))
        self.words = nn.Linear(layout.text_width, wide.tokens)
        self.no_words = nn.Parameter(0.02 * torch.randn(wide.tokens))
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        before = wide.width
        for width in widths:
            self.down.append(_blocks(before, width, wide, level))
            before = width
        for width in reversed(widths[:-1]):
            self.up.append(_blocks(before + width, width, wide, level))
            before = width
        self.final = nn.Sequential(_norm(before), nn.SiLU())
        self.read = nn.Conv2d(before, layout.channels, 3, padding=1)
        nn.init.zeros_(self.read.weight)
        nn.init.zeros_(cast(Tensor, self.read.bias))

    def forward(self, x: Tensor, mask: Tensor, share: Tensor, context: Tensor) -> Tensor:
        """Return the velocity of the shape of `x` (noises, rows, latent); `share` (noises, rows) or a scalar;
        `context` (rows, conditions). `mask` is not read."""
        rows = x.transpose(0, 1)
        shares = share.expand(x.shape[:-1]).transpose(0, 1)
        return self._denoise(rows, self._film(shares.reshape(-1)), *self._seen(context)).transpose(0, 1)

    def bind(self, mask: Tensor, context: Tensor, shares: Tensor) -> Evaluate:
        """Return `(x, share) -> velocity` for x (rows, draws, latent), with rows and levels worked out once."""
        seen, tokens = self._seen(context)
        films = dict(zip(shares.tolist(), torch.split(self._film(shares.to(context)), 1), strict=True))

        def evaluate(x: Tensor, share: float) -> Tensor:
            return self._denoise(x, films[share], seen, tokens)

        return evaluate

    def _film(self, share: Tensor) -> Tensor:
        film: Tensor = self.level(level_embedding(share, self.level_width))
        return film

    def _seen(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the window's picture adds (rows, width, side, side) and the tokens (rows, tokens, width)."""
        told = self.layout.unpack(context)
        vision, frequency, text = (part[:, :, None] for part in torch.split(told.given, 1, dim=1))
        seen = vision[..., None] * self.see(told.vision) + (1 - vision[..., None]) * self.unseen[:, None, None]
        bands = frequency * (self.bands(told.frequency) + self.band_names) + (1 - frequency) * self.no_bands
        words = text * self.words(told.text)[:, None] + (1 - text) * self.no_words
        return seen, torch.cat([bands, words], dim=1)

    def _denoise(self, x: Tensor, level: Tensor, seen: Tensor, tokens: Tensor) -> Tensor:
        """Return the velocity of `x` (rows, draws, latent); `level` (rows * draws or 1, width)."""
        rows, draws, _ = x.shape
        shape = (self.layout.channels, self.layout.side, self.layout.side)
        entered = self.enter(x.reshape(rows * draws, *shape)).unflatten(0, (rows, draws))
        held = (entered + seen[:, None]).flatten(0, 1)
        passed = []
        for i, blocks in enumerate(self.down):
            held = functional.avg_pool2d(held, 2, ceil_mode=True) if i else held
            for block in cast(nn.ModuleList, blocks):
                held = block(held, level, tokens)
            passed.append(held)
        for blocks, skip in zip(self.up, reversed(passed[:-1]), strict=True):
            held = torch.cat([functional.interpolate(held, skip.shape[-2:], mode="nearest"), skip], dim=1)
            for block in cast(nn.ModuleList, blocks):
                held = block(held, level, tokens)
        out: Tensor = self.read(self.final(held)).reshape(rows, draws, -1)
        return out


def _blocks(width: int, out: int, wide: UNetConfig, level: int) -> nn.ModuleList:
    return nn.ModuleList(Block(width if not i else out, out, wide, level) for i in range(wide.blocks))


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(_GROUPS, width), width)
