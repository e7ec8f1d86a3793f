"""Targets whose exact denoiser E[clean | x] is known: normals and mixtures of two normals, in any dimension."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from fxgpt_core.diffusion.schedules import Schedule, signal_power

Exact = Callable[[Tensor, float], Tensor]


def gaussian(schedule: Schedule, mean: float, deviation: float) -> Exact:
    def denoise(x: Tensor, level: float) -> Tensor:
        power = signal_power(schedule, torch.tensor(level)).item()
        a = power**0.5
        return mean + a * deviation**2 / (power * deviation**2 + 1 - power) * (x - a * mean)

    return denoise


class Mixture:
    """Two normals in `len(means[0])` dimensions with means (2, d) and full covariances (2, d, d)."""

    def __init__(self, share: float, means: Tensor, covariances: Tensor) -> None:
        self.weights = torch.tensor([share, 1 - share], dtype=torch.float64)
        self.means, self.covariances = means.double(), covariances.double()

    def exact(self, schedule: Schedule) -> Exact:
        eye = torch.eye(self.means.shape[1], dtype=torch.float64)

        def denoise(x: Tensor, level: float) -> Tensor:
            power = signal_power(schedule, torch.tensor(level)).item()
            a = power**0.5
            total = power * self.covariances + (1 - power) * eye
            gap = x.double()[..., None, :] - a * self.means  # (..., 2, d)
            solved = torch.einsum("kij,...kj->...ki", torch.linalg.inv(total), gap)
            odds = self.weights.log() - 0.5 * torch.logdet(total) - 0.5 * (gap * solved).sum(-1)
            each = self.means + a * torch.einsum("kij,...kj->...ki", self.covariances, solved)
            return (torch.softmax(odds, -1)[..., None] * each).sum(-2)

        return denoise

    def draw(self, count: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        which = rng.random(count) > float(self.weights[0])
        parts = [
            rng.multivariate_normal(m, c, count)
            for m, c in zip(self.means.numpy(), self.covariances.numpy(), strict=True)
        ]
        return np.where(which[:, None], parts[1], parts[0])


def mixture(dimensions: int) -> Mixture:
    """One narrow component below and one wide above; neighbours correlated by 0.7 in one and -0.2 in the other."""
    place = torch.arange(dimensions)
    gap = (place[:, None] - place).abs()
    means = torch.stack([torch.full((dimensions,), -1.5), 1.0 + 0.2 * place])
    return Mixture(0.3, means, torch.stack([0.09 * 0.7**gap, 0.36 * (-0.2) ** gap]))
