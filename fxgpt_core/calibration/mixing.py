"""The inner loop of `Tracker.learn`, compiled; numba loads slowly, so that this module is imported where it is used."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@njit(cache=True)
def follow_rates(
    seen: Floats,
    rates: Floats,
    weights: Floats,
    snapshots: Floats,
    outcomes: int,
    block: int,
    steps: Floats,
    target: float,
    eagerness: float,
    forget: float,
    lowest: float,
    highest: float,
) -> Floats:
    """Move rates, weights and snapshots in place with each outcome; return the mixed rates, (outcomes + 1,).

    `seen`: (outcomes,) miss rate at which each outcome would lie just on the bound; `rates`, `weights`: (experts,);
    `snapshots`: (2, experts), rates at the start of the block of outcomes before this one and of this one; `outcomes`:
    how many there were before; `block`: outcomes a block, 0 where an outcome is judged by the rates as they are;
    `lowest`, `highest`: where rates are stopped. Gibbs & Candès 2024, algorithm 1: weights by the pinball loss, then
    rates by γ (α − miss), projected as in Zinkevich 2003, algorithm 1.
    """
    count, experts = len(seen), len(rates)
    path, losses = np.empty(count + 1), np.empty(experts)
    start = 0.0
    for i in range(experts):
        start += weights[i] * rates[i]
    path[0] = start
    for k in range(count):
        if block and (outcomes + k) % block == 0:
            snapshots[0] = snapshots[1]
            snapshots[1] = rates
        least = np.inf
        for i in range(experts):
            gap = seen[k] - (snapshots[0, i] if block else rates[i])
            losses[i] = target * gap - min(gap, 0.0)
            least = min(least, losses[i])
            moved = rates[i] + steps[i] * (target - (1.0 if gap < 0 else 0.0))
            rates[i] = min(max(moved, lowest), highest)
        total = 0.0
        for i in range(experts):
            # Only differences of losses matter; a shock beyond all scores of the past makes every loss itself too big.
            weights[i] *= np.exp(-eagerness * (losses[i] - least))
            total += weights[i]
        mixed = 0.0
        for i in range(experts):
            weights[i] = (1 - forget) * weights[i] / total + forget / experts
            mixed += weights[i] * rates[i]
        path[k + 1] = mixed
    return path
