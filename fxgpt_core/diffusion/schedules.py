"""Noise schedules as pure functions: how much signal and noise a level holds.

A noisy value at level t is `alpha(t) * clean + sigma(t) * noise` with alpha^2 + sigma^2 = 1 (variance preserving).
Levels run from 0 (clean) to `steps` (noise) and need not be whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ScheduleKind = Literal["cosine", "linear"]
_BETAS = (1e-4, 0.02)  # of the linear schedule at 1000 steps (Ho et al. 2020, section 4)


@dataclass(frozen=True)
class Schedule:
    """A schedule of `steps` levels.

    `cosine`: Nichol & Dhariwal (2021), eq. 17, with offset `offset` and floor `clip` of alpha^2. `linear`: betas evenly
    spaced between 1e-4 and 0.02 as in Ho et al. (2020), times 1000 / steps. `zero_terminal` shifts and stretches alpha
    so that the last level holds no signal at all (Lin et al. 2023, algorithm 1, with the clean end kept fixed instead
    of the first level: alpha differs by less than 1e-6).
    """

    steps: int = 1000
    offset: float = 0.008
    clip: float = 1e-12
    kind: ScheduleKind = "cosine"
    zero_terminal: bool = False


def signal_power(schedule: Schedule, level: Tensor) -> Tensor:
    """Return alpha^2 at `level` in [0, steps] (any shape), float64, falling from 1."""
    power = cosine_power(schedule, level) if schedule.kind == "cosine" else linear_power(schedule, level)
    if not schedule.zero_terminal:
        return power
    last = torch.full((), float(schedule.steps), dtype=torch.float64, device=level.device)
    end = (cosine_power if schedule.kind == "cosine" else linear_power)(schedule, last).sqrt()
    return ((power.sqrt() - end) / (1 - end)).square().clamp(max=1.0)


def cosine_power(schedule: Schedule, level: Tensor) -> Tensor:
    """Return alpha^2 of the cosine schedule, within [clip, 1]."""
    share = level.double() / schedule.steps
    power = torch.cos((share + schedule.offset) / (1 + schedule.offset) * (math.pi / 2)).square()
    first = math.cos(schedule.offset / (1 + schedule.offset) * (math.pi / 2)) ** 2
    return (power / first).clamp(schedule.clip, 1.0)


def linear_power(schedule: Schedule, level: Tensor) -> Tensor:
    """Return alpha^2 of the linear schedule: the product of 1 - beta, log-linear between whole levels."""
    logs = torch.tensor(_linear_logs(schedule.steps), dtype=torch.float64, device=level.device)
    at = level.double().clamp(0, schedule.steps)
    below = at.floor().long().clamp(max=schedule.steps - 1)
    return torch.exp(torch.lerp(logs[below], logs[below + 1], at - below))


@lru_cache(maxsize=8)
def _linear_logs(steps: int) -> NDArray[np.float64]:
    # No tensor may be kept: one that is first made while a model is exported holds no numbers, for ever after.
    betas = np.linspace(*_BETAS, steps) * (1000 / steps)
    return np.concatenate([[0.0], np.log1p(-betas).cumsum()])


def alpha_sigma(schedule: Schedule, level: Tensor | float) -> tuple[Tensor, Tensor]:
    """Return the amplitudes of signal and noise at `level`, float32, of its shape."""
    power = signal_power(schedule, torch.as_tensor(level))
    return power.sqrt().float(), (1 - power).clamp(min=0).sqrt().float()


def amplitudes(schedule: Schedule, levels: Tensor) -> tuple[list[float], list[float]]:
    """Return alpha and sigma at `levels` (n,) as Python numbers, double precision: what samplers step with."""
    power = signal_power(schedule, levels)
    return power.sqrt().tolist(), (1 - power).clamp(min=0).sqrt().tolist()


def sampling_levels(schedule: Schedule, steps: int, crowding: float = 0.0) -> Tensor:
    """Return `steps + 1` levels (float64, on the CPU) from pure noise (T) down to clean (0).

    Evenly spaced at `crowding` 0; up to 1 they crowd at both ends, as the cosine of even angles. A multistep solver
    is of first order on its first and last step and gains from short ones there.
    """
    even = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    ends = 0.5 - 0.5 * torch.cos(math.pi * even)
    levels: Tensor = schedule.steps * (crowding * ends + (1 - crowding) * even)
    return levels
