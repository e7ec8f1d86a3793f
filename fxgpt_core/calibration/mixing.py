"""The inner loop of `Tracker.learn`, compiled; numba loads slowly, so that this module is imported where it is used."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@njit(cache=True)  # type: ignore[misc]
def follow_rates(
    seen: Floats, rates: Floats, weights: Floats, steps: Floats, target: float, eagerness: float, forget: float
) -> Floats:
    """Move rates and weights, (experts,), in place with each outcome; return the mixed rates, (outcomes + 1,).

    `seen`: (outcomes,) miss rate at which each outcome would lie just on the bound. Gibbs & Candès 2024, algorithm 1:
    weights by the pinball loss of the rates as they are, then rates by γ (α − miss).
    """
    count, experts = len(seen), len(rates)
    path = np.empty(count + 1)
    path[0] = (rates * weights).sum()
    for k in range(count):
        total = 0.0
        for i in range(experts):
            gap = seen[k] - rates[i]
            weights[i] *= np.exp(-eagerness * (target * gap - min(gap, 0.0)))
            total += weights[i]
        mixed = 0.0
        for i in range(experts):
            weights[i] = (1 - forget) * weights[i] / total + forget / experts
            rates[i] += steps[i] * (target - (1.0 if seen[k] < rates[i] else 0.0))
            mixed += weights[i] * rates[i]
        path[k + 1] = mixed
    return path
