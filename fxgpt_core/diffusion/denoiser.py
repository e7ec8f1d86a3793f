"""`Denoiser`: owns the parameterisation of a head, so that loss and sampling can never disagree about it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fxgpt_core.diffusion.heads import Head
from fxgpt_core.diffusion.parameterisation import Prediction, error_weight, from_velocity
from fxgpt_core.diffusion.samplers import Denoise
from fxgpt_core.diffusion.schedules import Schedule, alpha_sigma, amplitudes


@dataclass(frozen=True)
class Objective:
    """What the loss measures: error of which prediction, min-SNR gamma if any, share of rows asked for a subset.

    `subsets`: while training, this share of rows is asked for a random subset of its horizons, each with even odds,
    so that a forecast of any subset has been practised.
    """

    prediction: Prediction = "velocity"
    min_snr: float | None = None
    subsets: float = 0.0


class Denoiser(nn.Module):
    """Preconditions a head `(x, mask, level share, context) -> output` of the shape of `x`.

    The head's output is always the velocity v = alpha * noise - sigma * clean (Salimans & Ho 2022), so a head that
    returns zero is the exact denoiser of a standard normal target and nothing is ever divided by a vanishing alpha.
    Noise and x0 follow from it (see `parameterisation`); `Objective.prediction` says whose error the loss measures.
    """

    def __init__(self, head: Head, schedule: Schedule, objective: Objective | None = None) -> None:
        super().__init__()
        self.head = head
        self.schedule = schedule
        self.objective = objective or Objective()

    def forward(self, x: Tensor, level: Tensor, mask: Tensor, context: Tensor) -> Tensor:
        """Return the estimate of the clean value.

        `x`: (..., horizons); `level`: scalar or (...,); `mask`: (..., horizons), 1 where the horizon is asked for;
        `context`: (..., context). Leading dimensions broadcast.
        """
        return self.predict("x0", x, level, mask, context)

    def predict(self, prediction: Prediction, x: Tensor, level: Tensor, mask: Tensor, context: Tensor) -> Tensor:
        """Return the estimate of velocity, noise or the clean value; shapes as in `forward`."""
        alpha, sigma = (part[..., None] for part in alpha_sigma(self.schedule, level))
        velocity = self.head(x, mask, level / self.schedule.steps, context)
        return from_velocity(prediction, x, velocity, alpha, sigma)

    def bind(self, mask: Tensor, context: Tensor, levels: Tensor) -> Denoise:
        """Return `(x, level) -> clean` for samplers, with everything that draws or levels share worked out once.

        `mask` (horizons,) or (rows, horizons); `context` (rows, context); `levels` (n,) that will be visited; x is
        (rows, draws, horizons).
        """
        shares = (levels / self.schedule.steps).float()
        head = self.head.bind(mask, context, shares)
        parts = zip(shares.tolist(), *amplitudes(self.schedule, levels), strict=True)
        known = dict(zip(levels.tolist(), parts, strict=True))

        def denoise(x: Tensor, level: float) -> Tensor:
            share, alpha, sigma = known[level]
            return torch.sub(alpha * x, head(x, share), alpha=sigma)

        return denoise

    def loss(
        self, clean: Tensor, mask: Tensor, context: Tensor, weights: Tensor, noise: Tensor, level: Tensor
    ) -> Tensor:
        """Return the weighted mean squared error over usable horizons, a scalar.

        `clean`, `noise`: (..., horizons); `level`: (...,); `weights`: (horizons,), mean 1 by convention.
        """
        alpha, sigma = (part[..., None] for part in alpha_sigma(self.schedule, level))
        asked = self._asked(mask.expand_as(noise))
        velocity = self.head(alpha * clean + sigma * noise, asked, level / self.schedule.steps, context)
        error = (velocity - (alpha * noise - sigma * clean)).square()
        error = error * error_weight(self.objective.prediction, alpha, sigma, self.objective.min_snr)
        weighed = asked * weights
        total: Tensor = (error * weighed).sum() / weighed.sum().clamp(min=1e-8)
        return total

    def _asked(self, mask: Tensor) -> Tensor:
        if not self.training or self.objective.subsets == 0:
            return mask
        some = torch.rand(*mask.shape[:-1], 1, device=mask.device) < self.objective.subsets
        return mask * torch.where(some, torch.rand(mask.shape, device=mask.device) < 0.5, True)
