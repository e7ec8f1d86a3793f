"""Samples of many rows with bounded memory: by the full sampler, or by the student in one pass of its head."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fxgpt_core.common.forecast import LEVELS
from fxgpt_core.diffusion.noise import row_noise
from fxgpt_core.diffusion.student import disagreement
from fxgpt_core.models import margins
from fxgpt_core.models.adjustment import Adjustment
from fxgpt_core.models.sssd.network import Network

Floats = NDArray[np.float64]
Samples = NDArray[np.float32]
Times = NDArray[np.datetime64]


def draw_rows(
    network: Network, contexts: Tensor, moments: Times, seed: int, by_student: bool = False, mask: Tensor | None = None
) -> Samples:
    """Return unadjusted samples (rows, draws, horizons) from contexts (rows, context), noise keyed by seed and time.

    `moments`: (rows,) decision times. `mask` (horizons,) asks for a subset, the others are NaN. A row does not depend
    on the rows beside it.
    """
    settings = network.config.diffusion

    def noise(step: int) -> Tensor:
        values = row_noise(seed, moments, settings.samples, network.horizons, stream=step + 1)
        return torch.from_numpy(values).to(contexts.device)

    if by_student:
        drawn = network.draw_bulk(contexts, noise(-1), mask)
    else:
        drawn = network.draw(contexts, noise(-1), settings.sampling_steps, noise, mask)
    return np.asarray(drawn.float().cpu().numpy())


def draw_all(network: Network, contexts: Tensor, moments: Times, seed: int, by_student: bool = False) -> Samples:
    """Return `draw_rows` of any number of rows, `rows_per_pass` at a time."""
    size, settings = network.config.rows_per_pass, network.config.diffusion
    out = np.empty((len(contexts), settings.samples, network.horizons), dtype=np.float32)
    for at in range(0, len(out), size):
        part = slice(at, at + size)
        out[part] = draw_rows(network, contexts[part], moments[part], seed, by_student)
    return out


def standing_law(network: Network, contexts: Tensor, adjust: Adjustment) -> tuple[Floats, Floats] | None:
    """Return `margins.standing_law` of contexts (rows, context), None where draws are given the context."""
    if bool(network.informed):
        return None
    with torch.no_grad():
        mean, width = (part.double().cpu().numpy() for part in (network.mean(contexts), network.log_scale(contexts)))
    return margins.standing_law(network.margins, mean, width, adjust)


def student_disagreement(network: Network, contexts: Tensor, moments: Times, seed: int) -> Floats:
    """Return how far the student's quantiles lie from the full sampler's on average, in deviations: (horizons,).

    Both start from the same noise; see `diffusion.student.disagreement`. A horizon answers for its margin and for its
    difference to each other horizon, since right margins may still be put together wrongly.
    """
    drawn, full = (_with_differences(draw_all(network, contexts, moments, seed, by)) for by in (True, False))
    columns = zip(
        torch.split(drawn, 1, dim=2), torch.split(full, 1, dim=2), strict=True
    )  # torch limits quantiles' size
    found = np.concatenate([disagreement(a, b, torch.tensor(LEVELS)).double().numpy() for a, b in columns])
    worst = found[: network.horizons].copy()
    for (i, j), value in zip(combinations(range(network.horizons), 2), found[network.horizons :], strict=True):
        worst[[i, j]] = np.maximum(worst[[i, j]], value)
    return np.asarray(worst)


def _with_differences(samples: Samples) -> Tensor:
    """Return samples (rows, draws, horizons) followed by the difference of each pair of horizons."""
    pairs = list(combinations(range(samples.shape[2]), 2))
    differences = [samples[:, :, i] - samples[:, :, j] for i, j in pairs]
    return torch.from_numpy(np.concatenate([samples, *(one[:, :, None] for one in differences)], axis=2))
