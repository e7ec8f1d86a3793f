"""`SmallVae`: the project's own autoencoder of pictures, small enough to be trained on two cores in a minute.

A variational autoencoder (Kingma and Welling 2014) in the form that latent diffusion uses (Rombach et
al. 2022): the posterior is normal with a diagonal covariance, the divergence weighs little, and latents are scaled by
their deviation over the training pictures before anything diffuses. Patches of pixels become channels first and all
convolutions work at the latents' size: on these pictures that errs as little as a pyramid and takes half the time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.hashing import bytes_hash, stable_hash
from fxgpt_core.models.ldm4ts.vae_config import VaeConfig
from fxgpt_core.models.ldm4ts.vision import COLOURS

_GROUPS = 8
_LOG_VARIANCE = (-20.0, 10.0)


class SmallVae(nn.Module):
    """Autoencoder of pictures (rows, 3, size, size) in -1..1; fulfils `Latents` once trained and frozen.

    `shift` (channels,) and `scale` (scalar) are the mean and the inverse deviation of training latents.
    """

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.config = config
        self.channels, self.factor = config.channels, int(config.factor)
        width, patch = config.width, COLOURS * config.factor**2
        self.down = nn.Sequential(
            nn.PixelUnshuffle(config.factor),
            nn.Conv2d(patch, width, 3, padding=1),
            *(Residual(width) for _ in range(config.blocks)),
            _norm(width),
            nn.SiLU(),
            nn.Conv2d(width, 2 * config.channels, 3, padding=1),
        )
        self.up = nn.Sequential(
            nn.Conv2d(config.channels, width, 3, padding=1),
            *(Residual(width) for _ in range(config.blocks)),
            _norm(width),
            nn.SiLU(),
            nn.Conv2d(width, patch, 3, padding=1),
            nn.PixelShuffle(config.factor),
        )
        self.register_buffer("shift", torch.zeros(config.channels))
        self.register_buffer("scale", torch.ones(()))
        self.shift: Tensor
        self.scale: Tensor

    @property
    def identity(self) -> str:
        """A hash of weights and scaling."""
        return weights_hash(self)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log variances of the unscaled latents, (rows, channels, size / factor, size / factor) each.

        Raises BadInputError for pictures whose size is no multiple of `factor`.
        """
        check_size(images, self.factor)
        mean, log_variance = self.down(images).chunk(2, dim=1)
        return mean, log_variance.clamp(*_LOG_VARIANCE)

    def encode(self, images: Tensor) -> Tensor:
        """Return the posterior's means, scaled: (rows, channels, size / factor, size / factor)."""
        return (self.posterior(images)[0] - self.shift[:, None, None]) * self.scale

    def decode(self, latents: Tensor) -> Tensor:
        """Return the pictures (rows, 3, size, size) of scaled latents, not cut to -1..1: gradients pass everywhere."""
        return self.draw(latents / self.scale + self.shift[:, None, None])

    def draw(self, latents: Tensor) -> Tensor:
        """Return the pictures of unscaled latents."""
        made: Tensor = self.up(latents)
        return made

    def losses(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the squared error of a pixel and the divergence of a latent from the standard normal, both means.

        `noise` (rows, channels, size / factor, size / factor) is standard normal (Kingma and Welling 2014, eq. 10).
        """
        mean, log_variance = self.posterior(images)
        error = functional.mse_loss(self.draw(mean + torch.exp(0.5 * log_variance) * noise), images)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean()
        return error, divergence

    @torch.no_grad()
    def settle(self, means: Tensor) -> None:
        """Take shift and scale from the unscaled means of training pictures, and freeze every weight.

        One scale for all channels: a channel that the divergence has silenced must not be blown up to noise.
        """
        self.shift.copy_(means.mean(dim=(0, 2, 3)))
        self.scale.fill_(1.0 / float((means - self.shift[:, None, None]).std().clamp(min=1e-6)))
        self.requires_grad_(False).eval()


class Residual(nn.Module):
    """Two convolutions beside the identity, the second of which starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        last = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(last.weight)
        first = nn.Conv2d(width, width, 3, padding=1)
        self.inner = nn.Sequential(_norm(width), nn.SiLU(), first, _norm(width), nn.SiLU(), last)

    def forward(self, values: Tensor) -> Tensor:
        out: Tensor = values + self.inner(values)
        return out


def weights_hash(module: nn.Module) -> str:
    """Return a hash of the parameters and buffers of a module."""
    state = module.state_dict()
    return stable_hash({n: bytes_hash(v.detach().cpu().contiguous().numpy().tobytes()) for n, v in state.items()})


def check_size(images: Tensor, factor: int) -> None:
    """Raise BadInputError unless images are (rows, 3, size, size) with a size that is a multiple of `factor`."""
    if images.ndim != 4 or images.shape[1] != COLOURS or images.shape[2] % factor or images.shape[3] % factor:
        raise BadInputError(
            f"Pictures of shape {tuple(images.shape)} do not fit an autoencoder that shrinks by {factor}: expected "
            f"(rows, {COLOURS}, size, size) with a size that is a multiple of it; set vision.size so."
        )


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(_GROUPS, width), width)
