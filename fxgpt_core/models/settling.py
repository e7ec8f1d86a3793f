"""How far a network that is still learning is trusted: its mean and log scale, per horizon, by validation labels."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fxgpt_core.models.adjustment import AdjustmentConfig
from fxgpt_core.models.evidence import Judged, Rows, trust
from fxgpt_core.models.margins import MARGIN_LEVELS

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]
Masks = tuple[NDArray[np.bool_], NDArray[np.bool_]]


class Leaning(Protocol):
    """A network that keeps how far it is trusted: `lean`, `trust`, `centre` (horizons,), `margins` (levels, horizons).

    See `sssd.network.Network`.
    """

    horizons: int
    lean: Tensor
    trust: Tensor
    centre: Tensor
    margins: Tensor


def settle_moments(
    network: Leaning,
    learned: tuple[Tensor, Tensor],
    outcome: Pair,
    counted: Masks,
    overlap: NDArray[np.float64],
    horizon_weights: Tensor,
    prior: AdjustmentConfig,
) -> float:
    """Trust learned means and log scales as far as they pay; return the CRPS with that, horizons weighed.

    `learned`: mean and log scale at training rows followed by validation rows, (rows, horizons) each. `outcome` and
    `counted`: standardised targets and which of them count, of training and of validation rows. `overlap` (horizons,):
    validation rows that one label spans.
    """
    count, found, weights = len(outcome[0]), [], []
    network.centre.copy_(learned[1][:count].mean(dim=0))
    mean, swing = (part.double().cpu().numpy() for part in (learned[0], learned[1] - network.centre))
    for h in range(network.horizons):
        parts = []
        for i, at in enumerate((slice(None, count), slice(count, None))):
            chosen = counted[i][:, h]
            parts.append(Rows(mean[at, h][chosen], swing[at, h][chosen], outcome[i][chosen, h]))
        judged = Judged(*parts)
        if any(not len(part.outcome) for part in parts):
            network.trust[h] = network.lean[h] = 0.0
            continue
        share, lean = trust(judged, float(overlap[h]), prior.scale_errors, prior.mean_errors)
        found.append(float(judged.score(share, lean).mean()))
        weights.append(float(horizon_weights[h]))
        network.trust[h], network.lean[h] = share, lean
        margin = judged.margin(share, lean, MARGIN_LEVELS) / float(torch.exp(network.centre[h]))
        network.margins[:, h] = torch.from_numpy(margin)
    return float(np.average(found, weights=weights))
