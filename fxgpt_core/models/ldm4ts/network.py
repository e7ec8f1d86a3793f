"""The network of LDM4TS: latent diffusion of the future's picture, and forecasts from the picture that it expects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fxgpt_core.diffusion.denoiser import Denoiser, Objective
from fxgpt_core.diffusion.heads import Head
from fxgpt_core.diffusion.samplers import Denoise, Noise, sample, sampler_levels
from fxgpt_core.diffusion.schedules import Schedule
from fxgpt_core.models.ldm4ts.conditions import Layout
from fxgpt_core.models.ldm4ts.config import LDM4TSConfig
from fxgpt_core.models.ldm4ts.latents import Latents
from fxgpt_core.models.ldm4ts.projection import GatedFusion, TemporalProjection
from fxgpt_core.models.ldm4ts.unet import LatentUNet
from fxgpt_core.models.likelihood import student_loss
from fxgpt_core.models.margins import normal_margins, placed

Decode = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rows:
    """Rows of a dataset on the device: `context` (rows, conditions), `series` (rows, columns)."""

    context: Tensor
    series: Tensor

    def take(self, at: Tensor | slice) -> Rows:
        """Return some of the rows."""
        return Rows(self.context[at], self.series[at])

    def to(self, device: torch.device | str) -> Rows:
        """Return the rows on `device`."""
        return Rows(self.context.to(device), self.series.to(device))

    def __len__(self) -> int:
        return len(self.context)


@dataclass(frozen=True)
class Losses:
    """What a step learns from: forecast loss, denoising loss, and that of reading outcomes off true pictures."""

    forecast: Tensor
    denoising: Tensor
    reading: Tensor


class Network(nn.Module):
    """Standardised target z = mean + exp(log scale) * u.

    Mean and log scale are read from features: those of the picture that the denoiser expects of the future (its answer
    at the last noise level, where nothing but the conditions speaks), decoded and projected, joined with the raw series
    by a gate. u is read off pictures drawn by the full reverse chain, so that a draw is one coherent future for all
    horizons. Read-outs start at zero and draws are placed on the margins of the standard normal: an untrained network
    forecasts the yardstick itself.

    How far it may leave it is evidence's say, kept in buffers as in `sssd.network.Network`: `lean`, `trust`, `centre`
    (horizons,), `margins` (levels, horizons), `informed`. Where draws are not told conditions, they have one law for
    all rows, so the reverse chain is not run for each of them: `bank` (draws, horizons) holds its draws.

    The autoencoder is no part of the weights: it is frozen, may be large, and is kept apart.
    """

    lean: Tensor
    trust: Tensor
    centre: Tensor
    margins: Tensor
    informed: Tensor
    bank: Tensor

    def __init__(self, layout: Layout, columns: int, horizons: int, config: LDM4TSConfig, latents: Latents) -> None:
        super().__init__()
        wide, fusion = config.diffusion, config.fusion
        self.config, self.layout, self.horizons = config, layout, horizons
        self._latents = (latents,)  # in a tuple, so that torch does not take it for a part of this module
        schedule = Schedule(wide.steps, wide.offset, wide.clip, wide.schedule)
        unet = cast(Head, LatentUNet(layout, config.unet))  # of a head's form, without its horizons
        self.denoiser = Denoiser(unet, schedule, Objective(wide.prediction, wide.min_snr))
        self.project = TemporalProjection(config.vision.size, fusion.features)
        self.outcome = nn.Linear(fusion.features, horizons)
        self.fuse = GatedFusion(columns, fusion.features, fusion.dropout, fusion.gated)
        self.scale, self.location = (nn.Linear(fusion.features, horizons) for _ in range(2))
        for read in (self.scale, self.location):
            nn.init.zeros_(read.weight)
            nn.init.zeros_(read.bias)
        self.register_buffer("given", torch.tensor(config.conditions.given).float())
        self.given: Tensor
        self.register_buffer("lean", torch.ones(horizons))
        self.register_buffer("trust", torch.ones(horizons))
        self.register_buffer("centre", torch.zeros(horizons))
        self.register_buffer("informed", torch.zeros(()))
        self.register_buffer("margins", normal_margins(horizons))
        start = torch.randn(wide.bank, horizons, generator=torch.Generator().manual_seed(0))
        self.register_buffer("bank", start)

    @property
    def latents(self) -> Latents:
        """The frozen autoencoder."""
        return self._latents[0]

    def features(self, rows: Rows) -> Tensor:
        """Return the fused features (rows, features), by way of the picture that the denoiser expects."""
        return cast(Tensor, self.fuse(self.projected(rows.context), rows.series))

    def projected(self, context: Tensor) -> Tensor:
        """Return the features (rows, features) of the picture that the denoiser expects."""
        return cast(Tensor, self.project(self.decoded(self.expected(context))))

    def expected(self, context: Tensor) -> Tensor:
        """Return the latent that the denoiser expects given the conditions alone, (rows, latent)."""
        nothing = context.new_zeros(1, len(context), self.layout.latent)
        last = torch.full((), float(self.denoiser.schedule.steps), device=context.device)
        found: Tensor = self.denoiser(nothing, last, nothing, context)
        return found[0]

    def decoded(self, latent: Tensor) -> Tensor:
        """Return the pictures (rows, 3, size, size) of flat latents (rows, latent)."""
        side = self.layout.side
        return self.latents.decode(latent.reshape(-1, self.layout.channels, side, side))

    def learned_mean(self, features: Tensor) -> Tensor:
        """Return the mean as learned (rows, horizons), within one yardstick of zero; features do not learn for it."""
        return torch.tanh(self.location(features.detach()))

    def learned_log_scale(self, features: Tensor) -> Tensor:
        """Return the log of the scale as learned (rows, horizons), within a factor e^2 of the yardstick."""
        return 2 * torch.tanh(self.scale(features) / 2)

    def moments(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return mean and log scale (rows, horizons), as far as they are trusted."""
        features = self.features(rows)
        log_scale = self.centre + self.trust * (self.learned_log_scale(features) - self.centre)
        return self.lean * self.learned_mean(features), log_scale

    def losses(
        self,
        rows: Rows,
        target: Tensor,
        mask: Tensor,
        weights: Tensor,
        pictured: Tensor,
        future: Tensor,
        kept: Tensor,
        noise: Tensor,
        level: Tensor,
    ) -> Losses:
        """Return what a step learns from.

        `target`, `mask` (rows, horizons), `weights` (horizons,); `future` (rows, latent) is the latent of what came,
        zero where not `pictured` (rows,); `kept` (rows, 3): conditions that are not withheld; `noise` (noises, rows,
        latent), `level` (noises, rows).
        """
        weighed = mask * weights
        features = self.features(rows)
        forecast, _ = student_loss(target, self.learned_mean(features), self.learned_log_scale(features), weighed)
        told = self.layout.withheld(rows.context, kept)
        shape = pictured[:, None].expand_as(future)
        denoising = self.denoiser.loss(future, shape, told, torch.ones_like(future[0]), noise, level)
        with torch.no_grad():
            shown = self.decoded(future)
        read = functional.smooth_l1_loss(self.outcome(self.project(shown)), target, reduction="none")
        both = weighed * pictured[:, None]
        return Losses(forecast, denoising, (read * both).sum() / both.sum().clamp(min=1e-8))

    def read(self, latent: Tensor) -> Tensor:
        """Return the standardised outcomes (rows, horizons) that the pictures of latents (rows, latent) show."""
        return cast(Tensor, self.outcome(self.project(self.decoded(latent))))

    @torch.no_grad()
    def draw(self, context: Tensor, start: Tensor, steps: int, noise: Noise | None = None) -> Tensor:
        """Return outcomes (rows, draws, horizons) read off pictures that the reverse chain makes of noise `start`
        (rows, draws, latent), given contexts (rows, conditions)."""
        wide, schedule = self.config.diffusion, self.denoiser.schedule
        denoise = self._guided(context, sampler_levels(wide.sampler, schedule, steps)[:-1])
        latent = sample(wide.sampler, denoise, start, schedule, steps, noise)
        pieces = torch.split(latent.flatten(0, 1), 4 * self.config.rows_per_pass)
        found = torch.cat([self.read(piece) for piece in pieces])
        return found.reshape(*start.shape[:2], self.horizons)

    def without(self, context: Tensor) -> Tensor:
        """Return contexts with every condition withheld."""
        return self.layout.withheld(context, torch.zeros_like(self.given))

    def _guided(self, context: Tensor, levels: Tensor) -> Denoise:
        """Return the denoiser with guidance: w times the answer with conditions, 1 - w times that without."""
        mask, weight = torch.ones((), device=context.device), self.config.diffusion.guidance
        told = self.denoiser.bind(mask, context, levels)
        if weight == 1.0:
            return told
        blind = self.denoiser.bind(mask, self.without(context), levels)
        return lambda x, level: torch.lerp(blind(x, level), told(x, level), weight)

    def around(self, mean: Tensor, log_scale: Tensor, u: Tensor) -> Tensor:
        """Return samples (rows, draws, horizons) of the standardised target that draws u of that shape make.

        Draws that were told conditions give shape and how horizons go together, mean and scale stay those of the
        features; others keep their order and take the margins.
        """
        if bool(self.informed):
            u = (u - u.mean(dim=1, keepdim=True)) / u.std(dim=1, keepdim=True, correction=0).clamp(min=1e-6)
            u = u * self.margins.std(dim=0, correction=0)
        else:
            u = placed(self.margins, u)
        return mean[:, None] + u * torch.exp(log_scale)[:, None]
