"""The network of SSSD: encoder, conditional mean and scale, diffusion of what they leave."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fxgpt_core.common.errors import ModelError
from fxgpt_core.diffusion.consistency import conditional_means, contradiction
from fxgpt_core.diffusion.denoiser import Denoiser, Objective
from fxgpt_core.diffusion.extension import extend
from fxgpt_core.diffusion.heads import HEADS, HeadSize
from fxgpt_core.diffusion.samplers import Noise, sample, sampler_levels
from fxgpt_core.diffusion.schedules import Schedule
from fxgpt_core.diffusion.student import Distillation, distil, student_of
from fxgpt_core.models.likelihood import student_loss
from fxgpt_core.models.margins import normal_margins, placed
from fxgpt_core.models.sssd.config import DiffusionConfig, SSSDConfig
from fxgpt_core.models.sssd.encoder import Encoder


class Network(nn.Module):
    """Standardised target z = mean(context) + exp(log scale(context)) * u, with the joint law of u from diffusion.

    Mean and scale are linear read-outs of the context that start at 0 and 1, the diffusion starts at the standard
    normal: an untrained network forecasts the yardstick itself. How far it may leave it is evidence's say (`evidence`),
    kept in buffers: `lean` (horizons,) is the share of the mean and `trust` (horizons,) that of the log scale's swing
    around `centre` (horizons,) that is used; `informed` whether u is drawn given the context. Where it is not, u has
    one law for all rows: its margin at each horizon is `margins` (levels, horizons), that of training, and the
    diffusion says how horizons go together (ensemble copula coupling, Schefzik et al. 2013).
    """

    lean: Tensor
    trust: Tensor
    centre: Tensor
    informed: Tensor
    margins: Tensor

    def __init__(self, columns: Mapping[str, int], horizons: int, config: SSSDConfig) -> None:
        super().__init__()
        wide = config.diffusion
        self.config = config
        self.horizons = horizons
        self.encoder = Encoder(columns, config.encoder)
        self.scale = nn.Linear(config.encoder.context, horizons)
        nn.init.zeros_(self.scale.weight)
        nn.init.zeros_(self.scale.bias)
        self.register_buffer("lean", torch.ones(horizons))
        self.register_buffer("trust", torch.ones(horizons))
        self.register_buffer("centre", torch.zeros(horizons))
        self.register_buffer("informed", torch.ones(()))
        self.register_buffer("margins", normal_margins(horizons))
        self.denoiser = build_denoiser(wide, horizons, config.encoder.context, config.encoder.dropout)
        self.student = None if wide.student is None else student_of(self.denoiser).requires_grad_(False)
        self.location = nn.Linear(config.encoder.context, horizons)
        nn.init.zeros_(self.location.weight)
        nn.init.zeros_(self.location.bias)

    def learned_mean(self, context: Tensor) -> Tensor:
        """Return the mean as learned (..., horizons), within one yardstick of zero.

        The encoder does not learn for it: that drew it away from volatility, which is what there is to know.
        """
        return torch.tanh(self.location(context.detach()))

    def mean(self, context: Tensor) -> Tensor:
        """Return the mean that draws are laid around (..., horizons): as far as it is trusted, or whole where draws are
        given the context, since then it is theirs, and `Adjustment.shrink` says how far it is believed."""
        return torch.where(self.informed > 0, 1.0, self.lean) * self.learned_mean(context)

    def learned_log_scale(self, context: Tensor) -> Tensor:
        """Return the log of the scale as learned (..., horizons), within a factor e^2 of the yardstick."""
        return 2 * torch.tanh(self.scale(context) / 2)

    def log_scale(self, context: Tensor) -> Tensor:
        """Return the log of the scale as far as it is trusted (..., horizons)."""
        return self.centre + self.trust * (self.learned_log_scale(context) - self.centre)

    def seen(self, context: Tensor) -> Tensor:
        """Return what the denoiser is told of contexts (..., context): themselves, or nothing, which is zeros."""
        return context * self.informed

    def losses(
        self,
        context: Tensor,
        target: Tensor,
        mask: Tensor,
        weights: Tensor,
        noise: Tensor,
        level: Tensor,
        blind: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return (scale likelihood, diffusion loss), both scalars.

        `context` (rows, context); `target`, `mask` (rows, horizons); `noise` (noises, rows, horizons); `level`
        (noises, rows). The diffusion sees what mean and scale leave of the target, detached. `blind` (noises, rows): 0
        where it is told the context, else the sign that the target takes where it is not (nobody is blind where None).
        """
        log_scale = self.learned_log_scale(context)
        weighed = mask * weights
        scale_loss, ratio = student_loss(target, self.learned_mean(context), log_scale, weighed)
        clean, told = ratio.detach(), context
        if blind is not None:
            clean = clean * torch.where(blind == 0, 1.0, blind)[..., None]
            told = context * (blind == 0)[..., None]
        diffusion_loss = self.denoiser.loss(clean, mask, told, weights, noise, level)
        if self.config.diffusion.consistency > 0:
            penalty = contradiction(conditional_means(self.denoiser, mask, context), mask)
            diffusion_loss = diffusion_loss + self.config.diffusion.consistency * penalty
        return scale_loss, diffusion_loss

    def distil(self, context: Tensor, seed: int) -> list[float]:
        """Teach the student over contexts (rows, context) of training bars; return the squared error of each update.

        Raises ModelError when the configuration asks for no student.
        """
        student, wide = self.student, self.config.diffusion
        if student is None or wide.student is None:
            raise ModelError("This SSSD has no student to distil: set diffusion.student in its configuration.")
        student.load_state_dict(student_of(self.denoiser).state_dict())
        options = Distillation(
            wide.student.updates, wide.student.rows, wide.student.draws, wide.sampler, wide.sampling_steps,
            wide.student.lr, wide.subsets,
        )  # fmt: skip
        student.requires_grad_(True)
        history = distil(student, self.denoiser, self.seen(context), options, torch.Generator().manual_seed(seed))
        student.requires_grad_(False)
        return history

    @torch.no_grad()
    def draw_bulk(self, context: Tensor, start: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return what `draw` returns, by the student in one pass of its head; raises ModelError without one."""
        if self.student is None:
            raise ModelError("This SSSD has no student for bulk forecasts: set diffusion.student in its configuration.")
        asked = torch.ones(self.horizons, device=context.device) if mask is None else mask.to(context)
        return self._around(context, self._placed(self.student(start, asked, self.seen(context))), mask)

    def extend(self, like: int, at: int | None = None) -> nn.Parameter:
        """Add a horizon before horizon `at`, or after all, as a copy of horizon `like`; return the embedding to train.

        Forecasts of the other horizons stay as they are (see `diffusion.extension.extend`); nothing else asks for
        gradients. A student is dropped, since it has not seen the new horizon.
        """
        self.requires_grad_(False)
        embedding = extend(self.denoiser.head, like, at)
        rows = list(range(self.horizons))
        rows.insert(len(rows) if at is None else at, like)
        for read in (self.scale, self.location):
            read.weight = nn.Parameter(read.weight[rows].detach().clone(), requires_grad=False)
            read.bias = nn.Parameter(read.bias[rows].detach().clone(), requires_grad=False)
        self.lean, self.trust, self.centre = self.lean[rows], self.trust[rows], self.centre[rows]
        self.margins = self.margins[:, rows]
        self.scale.out_features = self.location.out_features = self.horizons = len(rows)
        self.student = None
        return embedding

    @torch.no_grad()
    def draw(
        self, context: Tensor, start: Tensor, steps: int, noise: Noise | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return samples (rows, draws, horizons) of the standardised target from noise of that shape.

        `mask` (horizons,) asks for a subset, 1 where wanted; the samples of the others are NaN.
        """
        settings, schedule = self.config.diffusion, self.denoiser.schedule
        asked = torch.ones(self.horizons, device=context.device) if mask is None else mask.to(context)
        bound = self.denoiser.bind(asked, self.seen(context), sampler_levels(settings.sampler, schedule, steps)[:-1])
        return self._around(
            context, self._placed(sample(settings.sampler, bound, start, schedule, steps, noise, settings.eta)), mask
        )

    def _around(self, context: Tensor, u: Tensor, mask: Tensor | None) -> Tensor:
        """Return the samples that draws u (rows, draws, horizons) make around mean and scale."""
        z = self.mean(context)[:, None] + u * torch.exp(self.log_scale(context))[:, None]
        return z if mask is None else z.masked_fill(mask.to(z) == 0, torch.nan)

    def _placed(self, u: Tensor) -> Tensor:
        """Return draws (rows, draws, horizons) in the order they have, placed on `margins` if uninformed."""
        return u if bool(self.informed) else placed(self.margins, u)


def build_denoiser(wide: DiffusionConfig, horizons: int, context: int, dropout: float) -> Denoiser:
    """Return the untrained denoiser that the configuration describes, for `horizons` and a context of this width."""
    size = HeadSize(
        horizons, context, wide.latent, wide.layers, wide.embedding, dropout, wide.activation, wide.attention
    )
    schedule = Schedule(wide.steps, wide.offset, wide.clip, wide.schedule, wide.zero_terminal)
    return Denoiser(HEADS[wide.head](size), schedule, Objective(wide.prediction, wide.min_snr, wide.subsets))


def blindness(generator: torch.Generator, shape: tuple[int, int], share: float) -> Tensor:
    """Return what `Network.losses` calls `blind`, (noises, rows): 0, or for a `share` of them a random sign."""
    sign = 1.0 - 2.0 * (torch.rand(shape, generator=generator) < 0.5).float()
    return torch.where(torch.rand(shape, generator=generator) < share, sign, 0.0)
