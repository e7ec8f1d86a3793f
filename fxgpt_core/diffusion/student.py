"""A one-step student of a sampler: for bulk work, where twenty steps a draw are too many."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fxgpt_core.diffusion.denoiser import Denoiser
from fxgpt_core.diffusion.heads import Head
from fxgpt_core.diffusion.samplers import SamplerName, sample, sampler_levels

_WHOLE = torch.ones(1)  # the student works at one level, the last


@dataclass(frozen=True)
class Distillation:
    """Updates, rows and draws in each, the sampler that teaches, learning rate, share of rows asked for a subset."""

    updates: int = 1500
    rows: int = 64
    draws: int = 16
    sampler: SamplerName = "ddim"
    sampling_steps: int = 20
    lr: float = 3e-3
    subsets: float = 0.2


class Student(nn.Module):
    """Maps starting noise to the sample that a deterministic sampler would make of it, in one pass of a head.

    The head states the difference, so an untrained one returns the noise: the standard normal, like its teacher's.
    """

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, start: Tensor, mask: Tensor, context: Tensor) -> Tensor:
        """Return samples (rows, draws, horizons) from noise of that shape.

        `mask` (horizons,) or (rows, horizons); `context` (rows, context).
        """
        return start - self.head.bind(mask, context, _WHOLE)(start, 1.0)


def distil(
    student: Student, teacher: Denoiser, context: Tensor, options: Distillation, generator: torch.Generator
) -> list[float]:
    """Teach `student` the map from noise to sample of the full sampler; return the squared error of every update.

    Regression of deterministic samples on their starting noise (Luhman & Luhman 2021), over contexts (n, context) of
    real rows. The generator is on the CPU. Raises nothing; judge the result by `disagreement`.
    """
    optimiser = torch.optim.Adam(student.parameters(), lr=options.lr)
    horizons, device = teacher.head.size.horizons, context.device
    levels = sampler_levels(options.sampler, teacher.schedule, options.sampling_steps)[:-1]
    history = []
    for update in range(options.updates):
        for group in optimiser.param_groups:
            group["lr"] = options.lr * 0.5 * (1 + math.cos(math.pi * update / options.updates))
        rows = torch.randint(len(context), (options.rows,), generator=generator).to(device)
        start = torch.randn(options.rows, options.draws, horizons, generator=generator).to(device)
        whole = torch.rand(options.rows, 1, generator=generator) >= options.subsets
        mask = (whole | (torch.rand(options.rows, horizons, generator=generator) < 0.5)).float().to(device)
        with torch.no_grad():
            bound = teacher.bind(mask, context[rows], levels)
            wanted = sample(options.sampler, bound, start, teacher.schedule, options.sampling_steps)
        error = (student(start, mask, context[rows]) - wanted).square() * mask[:, None]
        loss = error.sum() / (mask.sum() * options.draws).clamp(min=1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(float(loss.detach()))
    return history


def student_of(teacher: Denoiser) -> Student:
    """Return an untrained student with a copy of the teacher's head whose read-out starts at zero again."""
    head = copy.deepcopy(teacher.head)
    nn.init.zeros_(head.read.weight)
    return Student(head)


@torch.no_grad()
def disagreement(drawn: Tensor, full: Tensor, levels: Tensor) -> Tensor:
    """Return the mean distance of quantiles at `levels` in units of the full sampler's spread, (horizons,).

    `drawn`, `full`: samples (rows, draws, horizons) of the student and of the full sampler.
    """
    at = levels.to(full)
    gap = (torch.quantile(drawn, at, dim=1) - torch.quantile(full, at, dim=1)).abs()  # (levels, rows, horizons)
    return (gap / full.std(dim=1).clamp(min=1e-8)).mean(dim=(0, 1))
