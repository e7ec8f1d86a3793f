"""The network of SSSD: encoder, conditional scale, diffusion of what the scale leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fxgpt_core.diffusion.denoiser import Denoiser, Objective
from fxgpt_core.diffusion.heads import HEADS, HeadSize
from fxgpt_core.diffusion.samplers import Noise, sample, sampler_levels
from fxgpt_core.diffusion.schedules import Schedule
from fxgpt_core.models.sssd.config import DiffusionConfig, SSSDConfig
from fxgpt_core.models.sssd.encoder import Encoder

_FREEDOM = 5.0  # degrees of freedom of the scale likelihood: fat tails must not move the scale


class Network(nn.Module):
    """Standardised target z = exp(log scale(context)) * u, with the joint law of u over horizons from diffusion.

    The scale is a linear read-out of the context that starts at 1, the diffusion starts at the standard normal: an
    untrained network forecasts the yardstick itself.
    """

    def __init__(self, columns: Mapping[str, int], horizons: int, config: SSSDConfig) -> None:
        super().__init__()
        wide = config.diffusion
        self.config = config
        self.horizons = horizons
        self.encoder = Encoder(columns, config.encoder)
        self.scale = nn.Linear(config.encoder.context, horizons)
        nn.init.zeros_(self.scale.weight)
        nn.init.zeros_(self.scale.bias)
        self.denoiser = build_denoiser(wide, horizons, config.encoder.context, config.encoder.dropout)

    def log_scale(self, context: Tensor) -> Tensor:
        """Return the log of the conditional scale (..., horizons), within a factor e^2 of the yardstick."""
        return 2 * torch.tanh(self.scale(context) / 2)

    def losses(
        self, context: Tensor, target: Tensor, mask: Tensor, weights: Tensor, noise: Tensor, level: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return (scale likelihood, diffusion loss), both scalars.

        `context` (rows, context); `target`, `mask` (rows, horizons); `noise` (noises, rows, horizons); `level`
        (noises, rows). The diffusion sees the target divided by the detached scale.
        """
        log_scale = self.log_scale(context)
        weighed = mask * weights
        ratio = target * torch.exp(-log_scale)
        # Student t with unit variance: -log density up to a constant.
        density = log_scale + (_FREEDOM + 1) / 2 * torch.log1p(ratio.square() / (_FREEDOM - 2))
        scale_loss = (density * weighed).sum() / weighed.sum().clamp(min=1e-8)
        return scale_loss, self.denoiser.loss(ratio.detach(), mask, context, weights, noise, level)

    @torch.no_grad()
    def draw(
        self, context: Tensor, start: Tensor, steps: int, noise: Noise | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return samples (rows, draws, horizons) of the standardised target from noise of that shape.

        `mask` (horizons,) asks for a subset, 1 where wanted; the samples of the others are NaN.
        """
        settings, schedule = self.config.diffusion, self.denoiser.schedule
        asked = torch.ones(self.horizons, device=context.device) if mask is None else mask.to(context)
        bound = self.denoiser.bind(asked, context, sampler_levels(settings.sampler, schedule, steps)[:-1])
        u = sample(settings.sampler, bound, start, schedule, steps, noise, settings.eta)
        u = u * torch.exp(self.log_scale(context))[:, None]
        return u if mask is None else u.masked_fill(asked == 0, torch.nan)


def build_denoiser(wide: DiffusionConfig, horizons: int, context: int, dropout: float) -> Denoiser:
    """Return the untrained denoiser that the configuration describes, for `horizons` and a context of this width."""
    size = HeadSize(
        horizons, context, wide.latent, wide.layers, wide.embedding, dropout, wide.activation, wide.attention
    )
    schedule = Schedule(wide.steps, wide.offset, wide.clip, wide.schedule, wide.zero_terminal)
    return Denoiser(HEADS[wide.head](size), schedule, Objective(wide.prediction, wide.min_snr, wide.subsets))


def default_weights(horizons: int, given: tuple[float, ...] | None) -> Tensor:
    """Return loss weights (horizons,) with mean 1: the given ones or n, n-1, ..., 1 (SPEC 3: .4/.3/.2/.1 for four)."""
    values = torch.tensor(given if given is not None else [float(horizons - i) for i in range(horizons)])
    return values / values.mean()


def level_noise(generator: torch.Generator, shape: tuple[int, int], steps: int) -> Tensor:
    """Return levels in (0, steps], (noises, rows), evenly spread over the batch to lower the variance of the loss."""
    count = math.prod(shape)
    spread = (torch.arange(count) + torch.rand(1, generator=generator)) / count
    order = torch.randperm(count, generator=generator)
    return (1 - spread[order]).clamp(min=1e-4).reshape(shape) * steps
