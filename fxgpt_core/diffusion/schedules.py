"""Noise schedules as pure functions: how much signal and noise a level holds.

A noisy value at level t is `alpha(t) * clean + sigma(t) * noise` with alpha^2 + sigma^2 = 1 (variance preserving).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Schedule:
    """The cosine schedule of Nichol & Dhariwal (2021), eq. 17: offset `s`, `steps` levels, floor of alpha^2 `clip`."""

    steps: int = 1000
    offset: float = 0.008
    clip: float = 1e-12


def signal_power(schedule: Schedule, level: Tensor) -> Tensor:
    """Return alpha^2 at `level` in [0, steps] (any shape, need not be whole), within [clip, 1]."""

    def squared_cosine(share: Tensor) -> Tensor:
        return torch.cos((share + schedule.offset) / (1 + schedule.offset) * (math.pi / 2)).square()

    share = level.double() / schedule.steps
    power = squared_cosine(share) / squared_cosine(torch.zeros((), dtype=torch.float64, device=level.device))
    return power.clamp(schedule.clip, 1.0)


def alpha_sigma(schedule: Schedule, level: Tensor) -> tuple[Tensor, Tensor]:
    """Return the amplitudes of signal and noise at `level`, float32, of its shape."""
    power = signal_power(schedule, level)
    return power.sqrt().float(), (1 - power).clamp(min=0).sqrt().float()


def sampling_levels(schedule: Schedule, steps: int) -> Tensor:
    """Return `steps + 1` evenly spaced levels from pure noise (T) down to clean (0)."""
    return torch.linspace(schedule.steps, 0, steps + 1)
