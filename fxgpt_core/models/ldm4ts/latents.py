"""`Latents`: what turns pictures into the space that diffuses and back; frozen while the forecaster trains."""

from __future__ import annotations

from typing import Protocol, Self

import torch
from torch import Tensor


class Latents(Protocol):
    """A frozen autoencoder of pictures (rows, 3, size, size) in -1..1, whose size is a multiple of `factor`.

    Latents have `channels` channels and a deviation of about one over the pictures that the autoencoder knows.
    `identity` is a hash of weights and scaling: what latents kept elsewhere belong to.
    """

    channels: int
    factor: int

    @property
    def identity(self) -> str: ...

    def encode(self, images: Tensor) -> Tensor:
        """Return the posterior's means, scaled: (rows, channels, size / factor, size / factor)."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures (rows, 3, size, size) of scaled latents; gradients pass to the latents."""
        ...

    def to(self, device: torch.device | str) -> Self: ...
