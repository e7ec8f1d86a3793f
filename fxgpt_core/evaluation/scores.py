"""Scores of probabilistic forecasts from their quantiles: one estimator for every family.

Shapes: outcomes `y` are (rows, horizons), quantiles (rows, horizons, levels); scores keep (rows, horizons). Units:
those of the outcome (log return) unless said otherwise. Unknown outcomes (NaN) give NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import LEVELS

Floats = NDArray[np.float64]


def pinball(y: Floats, quantiles: Floats, levels: Sequence[float] = LEVELS) -> Floats:
    """Return the pinball (quantile) loss at every level, (rows, horizons, levels) (Koenker & Bassett 1978)."""
    tau = np.asarray(levels)
    error = y[..., None] - quantiles
    return np.asarray(np.maximum(tau * error, (tau - 1) * error))


def mean_pinball(y: Floats, quantiles: Floats, levels: Sequence[float] = LEVELS) -> tuple[float, ...]:
    """Return the mean of `pinball` over all outcomes at every level, all of them known, level by level in memory."""
    found = []
    for index, tau in enumerate(levels):
        error = y - quantiles[..., index]
        found.append(float(np.maximum(tau * error, (tau - 1) * error).mean()))
    return tuple(found)


def crps_weights(levels: Sequence[float] = LEVELS) -> Floats:
    """Return the weight of each level in `crps`, (levels,).

    Trapezoid rule over the levels; on the two outer stretches, beyond the first and the last level, the loss of the
    outer level falls linearly to nothing. All weights are positive, hence the score is proper for the quantiles.
    """
    grid = np.concatenate([[0.0], np.asarray(levels, dtype=np.float64), [1.0]])
    if (np.diff(grid) <= 0).any():
        raise DataError(f"Quantile levels {tuple(levels)} must increase strictly within (0, 1).")
    return np.asarray((grid[2:] - grid[:-2]) / 2)


def crps(y: Floats, quantiles: Floats, levels: Sequence[float] = LEVELS) -> Floats:
    """Return the quantile approximation of the CRPS, (rows, horizons).

    CRPS = 2 ∫ pinball(τ) dτ (Laio & Tamea 2007; Gneiting & Ranjan 2011, eq. 10) with `crps_weights`. Every family is
    scored by this sum, also those that have samples, so that nobody wins by estimator.
    """
    total = np.zeros(y.shape)
    for index, (tau, weight) in enumerate(zip(levels, crps_weights(levels), strict=True)):
        error = y - quantiles[..., index]
        total += weight * np.maximum(tau * error, (tau - 1) * error)
    return 2 * total


def central(quantiles: Floats, coverage: float, levels: Sequence[float] = LEVELS) -> tuple[Floats, Floats]:
    """Return lower and upper bound of the central interval, each (rows, horizons), linear between levels."""
    low = _at_level(quantiles, (1 - coverage) / 2, levels)
    return low, _at_level(quantiles, (1 + coverage) / 2, levels)


def covered(y: Floats, quantiles: Floats, coverage: float, levels: Sequence[float] = LEVELS) -> Floats:
    """Return 1 where the central interval holds the outcome, 0 where not, NaN where it is not known."""
    low, high = central(quantiles, coverage, levels)
    return np.where(np.isfinite(y), ((y >= low) & (y <= high)).astype(np.float64), np.nan)


def width(quantiles: Floats, coverage: float, levels: Sequence[float] = LEVELS) -> Floats:
    """Return the width of the central interval, (rows, horizons)."""
    low, high = central(quantiles, coverage, levels)
    return high - low


def pit(y: Floats, quantiles: Floats, levels: Sequence[float] = LEVELS) -> Floats:
    """Return the probability integral transform F(y), (rows, horizons): uniform when calibrated (Dawid 1984).

    Linear between quantiles; beyond the outer ones an exponential tail that continues the density there.
    """
    tau = np.asarray(levels)
    count, right, low, gap = _piece(y, quantiles, tau)
    density = (tau[right] - tau[right - 1]) / np.maximum(gap, np.finfo(np.float64).tiny)
    with np.errstate(over="ignore", invalid="ignore"):
        inside = tau[right - 1] + (y - low) * density
        lower = tau[0] * np.exp(np.minimum((y - quantiles[..., 0]) * density / tau[0], 0))
        upper = 1 - (1 - tau[-1]) * np.exp(np.minimum((quantiles[..., -1] - y) * density / (1 - tau[-1]), 0))
    out = np.where(count == 0, lower, np.where(count == len(tau), upper, inside))
    return np.where(np.isfinite(y), out, np.nan)


def log_score(y: Floats, quantiles: Floats, levels: Sequence[float] = LEVELS) -> Floats:
    """Return −log f(y), (rows, horizons), of the density whose distribution function `pit` is (Good 1952).

    Lower is better. Quantiles closer together than a millionth of the outer two count as so far apart: a point mass
    has no density.
    """
    tau = np.asarray(levels)
    _, right, _, gap = _piece(y, quantiles, tau)
    span = np.maximum(quantiles[..., -1] - quantiles[..., 0], 1e-30)
    density = (tau[right] - tau[right - 1]) / np.maximum(gap, 1e-6 * span)
    below = np.maximum(quantiles[..., 0] - y, 0) / tau[0]
    above = np.maximum(y - quantiles[..., -1], 0) / (1 - tau[-1])
    return np.asarray(density * (below + above) - np.log(density))


def interval_score(y: Floats, quantiles: Floats, coverage: float, levels: Sequence[float] = LEVELS) -> Floats:
    """Return the interval (Winkler) score of a central interval, (rows, horizons): width and penalty for a miss.

    Gneiting & Raftery (2007, eq. 43).
    """
    low, high = central(quantiles, coverage, levels)
    missed = np.maximum(low - y, 0) + np.maximum(y - high, 0)
    return np.asarray(high - low + 2 / (1 - coverage) * missed)


def sampling_excess(quantiles: Floats, draws: int, levels: Sequence[float] = LEVELS) -> Floats:
    """Return by how much `crps` is raised on average where quantiles come from `draws` samples, (rows, horizons).

    That is ∫ F (1 − F) / draws, what the fair CRPS of an ensemble takes off (Ferro 2014). `crps` without it is the
    score of what is delivered; less it, that of the same model with infinitely many draws, which is fair between
    families that sample and families that do not. Raises DataError below two draws.
    """
    if draws < 2:
        raise DataError(f"Quantiles of {draws} draws cannot be scored fairly: at least 2 are needed.")
    tau = np.asarray(levels)
    a, b = tau[:-1], tau[1:]
    gaps = np.diff(quantiles, axis=-1)  # (rows, horizons, levels - 1)
    inside = gaps @ ((a + b) / 2 - (a * a + a * b + b * b) / 3)
    lower = gaps[..., 0] / (b[0] - a[0]) * a[0] ** 2 * (1 - a[0] / 2)
    upper = gaps[..., -1] / (b[-1] - a[-1]) * (1 - b[-1]) ** 2 * (1 - (1 - b[-1]) / 2)
    return np.asarray((inside + lower + upper) / draws)


def direction_hit(y: Floats, mean: Floats) -> Floats:
    """Return 1 where the sign of `mean` was right, 0 where wrong, (rows, horizons).

    NaN where the forecast has no direction (mean exactly zero, as in the baselines), the price did not move or the
    outcome is not known.
    """
    speaks = np.isfinite(y) & (y != 0) & (mean != 0)
    return np.where(speaks, (np.sign(y) == np.sign(mean)).astype(np.float64), np.nan)


def _piece(y: Floats, quantiles: Floats, tau: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats, Floats]:
    """Return how many quantiles lie below y, the upper end of the piece that holds it, its lower bound and width."""
    count = np.zeros(y.shape, dtype=np.int64)
    for index in range(len(tau)):
        count += quantiles[..., index] < y
    right = np.clip(count, 1, len(tau) - 1)
    high = np.take_along_axis(quantiles, right[..., None], axis=-1)[..., 0]
    low = np.take_along_axis(quantiles, right[..., None] - 1, axis=-1)[..., 0]
    return count, right, low, high - low


def _at_level(quantiles: Floats, level: float, levels: Sequence[float]) -> Floats:
    grid = np.asarray(levels)
    if not grid[0] - 1e-12 <= level <= grid[-1] + 1e-12:
        raise DataError(f"Level {level:g} is outside the stored levels {grid[0]:g}..{grid[-1]:g}.")
    right = int(np.clip(np.searchsorted(grid, level - 1e-12), 1, len(grid) - 1))
    weight = float(np.clip((level - grid[right - 1]) / (grid[right] - grid[right - 1]), 0, 1))
    if weight < 1e-9 or weight > 1 - 1e-9:  # exactly a stored level: no rounding by interpolation
        return np.asarray(quantiles[..., right - (weight < 0.5)])
    return np.asarray(quantiles[..., right - 1] * (1 - weight) + quantiles[..., right] * weight)
