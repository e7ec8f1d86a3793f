"""`Denoiser`: owns the parameterisation of a head, so that loss and sampling can never disagree about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from fxgpt_core.diffusion.schedules import Schedule, alpha_sigma

Prediction = Literal["velocity", "noise"]
Head = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


class Denoiser(nn.Module):
    """Preconditions a head `(x, mask, level share, context) -> output` of the shape of `x`.

    The head's output is always the velocity v = alpha * noise - sigma * clean (Salimans & Ho 2022), so a head that
    returns zero is the exact denoiser of a standard normal target and nothing is ever divided by a vanishing alpha.
    `prediction` chooses which error the loss measures: `velocity` weighs all levels alike; `noise` is the noise MSE of
    Ho et al. (2020) with estimate sigma * x + alpha * v, i.e. velocity error times alpha^2.
    """

    def __init__(self, head: nn.Module, schedule: Schedule, prediction: Prediction = "velocity") -> None:
        super().__init__()
        self.head = head
        self.schedule = schedule
        self.prediction = prediction

    def forward(self, x: Tensor, level: Tensor, mask: Tensor, context: Tensor) -> Tensor:
        """Return the estimate of the clean value.

        `x`: (..., horizons); `level`: scalar or (...,); `mask`: (..., horizons), 1 where the horizon is asked for;
        `context`: (..., context). Leading dimensions broadcast.
        """
        alpha, sigma = (part[..., None] for part in alpha_sigma(self.schedule, level))
        output: Tensor = self.head(x * mask, mask, level / self.schedule.steps, context)
        clean: Tensor = alpha * x - sigma * output
        return clean

    def loss(
        self, clean: Tensor, mask: Tensor, context: Tensor, weights: Tensor, noise: Tensor, level: Tensor
    ) -> Tensor:
        """Return the weighted mean squared error over usable horizons, a scalar.

        `clean`, `noise`: (..., horizons); `level`: (...,); `weights`: (horizons,), mean 1 by convention.
        """
        alpha, sigma = (part[..., None] for part in alpha_sigma(self.schedule, level))
        x = alpha * clean + sigma * noise
        output = self.head(x * mask, mask, level / self.schedule.steps, context)
        error = (output - (alpha * noise - sigma * clean)).square()
        if self.prediction == "noise":
            error = error * alpha.square()
        weighed = mask * weights
        total: Tensor = (error * weighed).sum() / torch.clamp((weighed + torch.zeros_like(error)).sum(), min=1e-8)
        return total
