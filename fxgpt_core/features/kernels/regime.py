"""A Gaussian hidden Markov model with diagonal variances: densities, forward filter and maximum likelihood by EM.

Source: Rabiner 1989, eqs. 19-20 (forward), 24-25 (backward), 40 (re-estimation), scaled as in his section V.A.
A component of an observation that is NaN is not observed: it says nothing about the state.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@njit(cache=True)
def densities(seen: Floats, means: Floats, variances: Floats) -> tuple[Floats, Floats]:
    """Return each row's densities by state relative to the likeliest state's, and the log of that: (rows, states),
    (rows,).

    `seen`: (rows, components); `means`, `variances`: (states, components).
    """
    rows, states = len(seen), len(means)
    out, tops = np.empty((rows, states)), np.empty(rows)
    halves, weights = 0.5 * np.log(2.0 * math.pi * variances), 0.5 / variances
    for row in range(rows):
        top = -np.inf
        for state in range(states):
            value = 0.0
            for part in range(seen.shape[1]):
                away = seen[row, part] - means[state, part]
                if not math.isnan(away):
                    value -= halves[state, part] + weights[state, part] * away * away
            out[row, state] = value
            top = max(top, value)
        for state in range(states):
            out[row, state] = math.exp(out[row, state] - top)
        tops[row] = top
    return out, tops


@njit(cache=True)
def forward(density: Floats, transition: Floats, start: Floats) -> tuple[Floats, Floats]:
    """Return the probabilities of the states given all rows so far, and each row's density given those before it.

    `density`: (rows, states); `transition`: (states, states), rows add up to one; `start`: probabilities of the states
    at the first row, before it is seen. Densities are in the units of `density`. (rows, states), (rows,).
    """
    rows, states = density.shape
    out, scales = np.empty((rows, states)), np.empty(rows)
    before = start.copy()
    for row in range(rows):
        total = 0.0
        for state in range(states):
            out[row, state] = before[state] * density[row, state]
            total += out[row, state]
        scales[row] = total
        for state in range(states):
            out[row, state] /= total
        for state in range(states):
            before[state] = 0.0
            for origin in range(states):
                before[state] += out[row, origin] * transition[origin, state]
    return out, scales


@njit(cache=True)
def maximise(
    seen: Floats, means: Floats, variances: Floats, transition: Floats, limits: tuple[int, float, float, float]
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return means, variances and transitions that EM reaches from those given, and the log likelihood at each step.

    `limits`: most steps, gain of log likelihood per row below which it stops, least transition probability, least
    variance. The least probability keeps the filter's memory short. The chain starts in its stationary distribution.
    """
    steps, enough, rarest, narrowest = limits
    means, variances, transition = means.copy(), variances.copy(), transition.copy()
    rows, states = len(seen), len(means)
    history = np.full(steps, np.nan)
    for step in range(steps):
        density, tops = densities(seen, means, variances)
        filtered, scales = forward(density, transition, stationary(transition))
        history[step] = np.log(scales).sum() + tops.sum()
        if step > 0 and history[step] - history[step - 1] < enough * rows:
            break
        moves, weights = _smoothed(density, filtered, scales, transition)
        for state in range(states):
            total = moves[state].sum()
            for other in range(states):
                # Half a count more keeps a state that was hardly visited where it can be left.
                share = (moves[state, other] + 0.5) / (total + 0.5 * states)
                transition[state, other] = rarest + (1.0 - states * rarest) * share
        _moments(seen, weights, means, variances, narrowest)
    return means, variances, transition, history


@njit(cache=True)
def stationary(transition: Floats) -> Floats:
    """Return the distribution that the chain settles in: (states,)."""
    power = transition.copy()
    for _ in range(20):
        power = power @ power
    settled: Floats = power.sum(axis=0) / power.sum()
    return settled


@njit(cache=True)
def _smoothed(density: Floats, filtered: Floats, scales: Floats, transition: Floats) -> tuple[Floats, Floats]:
    """Return expected moves between states, (states, states), and probabilities given all rows, (rows, states)."""
    rows, states = density.shape
    moves, weights = np.zeros((states, states)), np.empty((rows, states))
    later, backward = np.ones(states), np.empty(states)
    weights[rows - 1] = filtered[rows - 1]
    for row in range(rows - 2, -1, -1):
        for state in range(states):
            later[state] *= density[row + 1, state] / scales[row + 1]
        for state in range(states):
            backward[state] = 0.0
            for other in range(states):
                flow = transition[state, other] * later[other]
                backward[state] += flow
                moves[state, other] += filtered[row, state] * flow
            weights[row, state] = filtered[row, state] * backward[state]
        later[:] = backward
    return moves, weights


@njit(cache=True)
def _moments(seen: Floats, weights: Floats, means: Floats, variances: Floats, narrowest: float) -> None:
    """Set means and variances of every state to the weighted ones of what was observed."""
    for state in range(len(means)):
        for part in range(seen.shape[1]):
            total, first, second = 0.0, 0.0, 0.0
            centre = means[state, part]
            for row in range(len(seen)):
                away = seen[row, part] - centre
                if not math.isnan(away):
                    total += weights[row, state]
                    first += weights[row, state] * away
                    second += weights[row, state] * away * away
            if total > 1.0:
                means[state, part] = centre + first / total
                variances[state, part] = max(second / total - (first / total) ** 2, narrowest)
