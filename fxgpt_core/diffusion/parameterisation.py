"""What a denoiser may be said to predict, and what an error of it weighs.

With x = alpha * clean + sigma * noise, any one of velocity v = alpha * noise - sigma * clean (Salimans & Ho 2022),
noise and the clean value ("x0") gives the others: clean = alpha * x - sigma * v, noise = sigma * x + alpha * v.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Prediction = Literal["velocity", "noise", "x0"]


def from_velocity(prediction: Prediction, x: Tensor, velocity: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Return the `prediction` that `velocity` stands for at `x`."""
    if prediction == "velocity":
        return velocity
    return alpha * x - sigma * velocity if prediction == "x0" else sigma * x + alpha * velocity


def wanted(prediction: Prediction, clean: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Return what a perfect `prediction` would be."""
    if prediction == "velocity":
        return alpha * noise - sigma * clean
    return clean if prediction == "x0" else noise


def error_weight(prediction: Prediction, alpha: Tensor, sigma: Tensor, min_snr: float | None = None) -> Tensor:
    """Return the weight of a squared velocity error that makes it the loss of `prediction`.

    Without `min_snr` the plain squared error of the prediction: 1, alpha^2 for noise, sigma^2 for x0. With it the
    min-SNR weighting of Hang et al. (2023), which weighs a squared x0 error by min(SNR, gamma) whatever is predicted:
    its factors min(SNR, gamma), min(SNR, gamma) / SNR and min(SNR, gamma) / (SNR + 1) for x0, noise and velocity all
    come to min(alpha^2, gamma * sigma^2) on the velocity, SNR being alpha^2 / sigma^2.
    """
    if min_snr is not None:
        return torch.minimum(alpha.square(), min_snr * sigma.square())
    if prediction == "velocity":
        return torch.ones_like(alpha)
    return alpha.square() if prediction == "noise" else sigma.square()
