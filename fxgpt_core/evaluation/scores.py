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
    count = np.zeros(y.shape, dtype=np.int64)  # quantiles below y
    for index in range(len(tau)):
        count += quantiles[..., index] < y
    right = np.clip(count, 1, len(tau) - 1)
    high = np.take_along_axis(quantiles, right[..., None], axis=-1)[..., 0]
    low = np.take_along_axis(quantiles, right[..., None] - 1, axis=-1)[..., 0]
    gap = np.maximum(high - low, np.finfo(np.float64).tiny)
    density = (tau[right] - tau[right - 1]) / gap
    with np.errstate(over="ignore", invalid="ignore"):
        inside = tau[right - 1] + (y - low) * density
        lower = tau[0] * np.exp(np.minimum((y - quantiles[..., 0]) * density / tau[0], 0))
        upper = 1 - (1 - tau[-1]) * np.exp(np.minimum((quantiles[..., -1] - y) * density / (1 - tau[-1]), 0))
    out = np.where(count == 0, lower, np.where(count == len(tau), upper, inside))
    return np.where(np.isfinite(y), out, np.nan)


def direction_hit(y: Floats, mean: Floats) -> Floats:
    """Return 1 where the sign of `mean` was right, 0 where wrong, (rows, horizons).

    NaN where the forecast has no direction (mean exactly zero, as in the baselines), the price did not move or the
    outcome is not known.
    """
    speaks = np.isfinite(y) & (y != 0) & (mean != 0)
    return np.where(speaks, (np.sign(y) == np.sign(mean)).astype(np.float64), np.nan)


def _at_level(quantiles: Floats, level: float, levels: Sequence[float]) -> Floats:
    grid = np.asarray(levels)
    if not grid[0] - 1e-12 <= level <= grid[-1] + 1e-12:
        raise DataError(f"Level {level:g} is outside the stored levels {grid[0]:g}..{grid[-1]:g}.")
    right = int(np.clip(np.searchsorted(grid, level - 1e-12), 1, len(grid) - 1))
    weight = float(np.clip((level - grid[right - 1]) / (grid[right] - grid[right - 1]), 0, 1))
    if weight < 1e-9 or weight > 1 - 1e-9:  # exactly a stored level: no rounding by interpolation
        return np.asarray(quantiles[..., right - (weight < 0.5)])
    return np.asarray(quantiles[..., right - 1] * (1 - weight) + quantiles[..., right] * weight)
