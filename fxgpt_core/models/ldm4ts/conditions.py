"""What the denoiser is told of a row, as one vector: it travels through the diffusion's own code like any context."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Told:
    """Conditions of rows: latent of the window's picture (rows, channels, side, side), spectrum (rows, bands, width),
    text (rows, width), and which of the three are given (rows, 3), 1 or 0."""

    vision: Tensor
    frequency: Tensor
    text: Tensor
    given: Tensor


@dataclass(frozen=True)
class Layout:
    """Shapes of latents and conditions: where each lies in a vector."""

    channels: int
    side: int
    bands: int
    band_width: int
    text_width: int

    @property
    def latent(self) -> int:
        """Numbers of a latent."""
        return self.channels * self.side**2

    @property
    def width(self) -> int:
        """Numbers of all conditions of a row, with three flags that say which are given."""
        return self.latent + self.bands * self.band_width + self.text_width + 3

    def pack(self, told: Told) -> Tensor:
        """Return (rows, width)."""
        return torch.cat([told.vision.flatten(1), told.frequency.flatten(1), told.text, told.given], dim=1)

    def unpack(self, context: Tensor) -> Told:
        """Return what `pack` was given."""
        sizes = [self.latent, self.bands * self.band_width, self.text_width, 3]
        vision, frequency, text, given = torch.split(context, sizes, dim=-1)
        shape = (-1, self.channels, self.side, self.side)
        return Told(vision.reshape(shape), frequency.reshape(-1, self.bands, self.band_width), text, given)

    def withheld(self, context: Tensor, kept: Tensor) -> Tensor:
        """Return contexts of which only what is also `kept` (rows, 3) or (3,) is given."""
        return torch.cat([context[..., :-3], context[..., -3:] * kept], dim=-1)
