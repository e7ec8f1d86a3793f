"""Scores of joint samples: fair CRPS per horizon, energy score across horizons.

Fair (Ferro 2014; Fricker, Ferro & Stephenson 2013): the expected score does not depend on the number of draws, so a
family with few draws is not punished for having few.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import LEVELS

Floats = NDArray[np.float64]

_AT_ONCE = 4_000_000
"""Numbers held in memory at a time."""


def fair_crps(y: Floats, samples: NDArray[Any]) -> Floats:
    """Return the fair CRPS of samples (rows, draws, horizons) at outcomes (rows, horizons): (rows, horizons).

    Mean |X − y| − mean |X − X'| / 2 over different draws; unknown outcomes give NaN.
    """
    draws = _draws(y, samples)
    ordered = np.sort(samples.astype(np.float64), axis=1)
    weights = 2 * np.arange(1, draws + 1) - draws - 1
    spread = np.einsum("rdh,d->rh", ordered, weights) / (draws * (draws - 1))
    return np.asarray(np.abs(ordered - y[:, None]).mean(axis=1) - spread)


def energy_score(y: Floats, samples: NDArray[Any], shifts: int | None = None) -> Floats:
    """Return the fair energy score across horizons, (rows,): mean ‖X − y‖ − mean ‖X − X'‖ / 2.

    Gneiting & Raftery (2007, eq. 22). `samples` (rows, draws, horizons), joint; the unit is that of the outcomes, so
    divide both by the scale of each horizon first where no horizon shall dominate. `shifts`: compare each draw with so
    many others only, which is as fair and costs less than all pairs; draws must then be in no order.
    """
    draws = _draws(y, samples)
    every = draws // 2  # cyclic shifts that meet every pair; half of the last one where draws are even
    used = every if shifts is None else min(shifts, every)
    out = np.empty(len(y))
    step = max(1, _AT_ONCE // (draws * y.shape[1]))
    for begin in range(0, len(y), step):
        part = samples[begin : begin + step].astype(np.float64)  # (part, draws, horizons)
        near = _lengths(part - y[begin : begin + step, None]).mean(axis=1)
        total, weight = np.zeros(len(part)), 0.0
        for shift in range(1, used + 1):
            share = 0.5 if 2 * shift == draws else 1.0
            total += share * _lengths(part - np.roll(part, shift, axis=1)).mean(axis=1)
            weight += share
        out[begin : begin + step] = near - total / weight / 2
    return out


def joint_draws(quantiles: Floats, past: Floats, levels: Sequence[float] = LEVELS) -> Floats:
    """Return joint draws with the margins of a forecast and the dependence of past outcomes: (rows, draws, horizons).

    The Schaake shuffle (Clark et al. 2004; Schefzik, Thorarinsdottir & Gneiting 2013): draw i takes in each horizon the
    quantile at the rank that past outcome i, (draws, horizons), has there. So families that forecast each horizon by
    itself can be scored across horizons too, all with the same dependence. Quantiles are linear between levels and
    constant beyond the outer two.
    """
    draws = len(past)
    if draws < 2 or not np.isfinite(past).all():
        raise DataError(f"Joint draws need at least 2 past outcomes known at every horizon, not {draws}.")
    rank = past.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")  # (draws, horizons)
    place = (np.arange(draws) + 0.5) / draws
    grid = np.asarray(levels)
    right = np.clip(np.searchsorted(grid, place), 1, len(grid) - 1)
    share = np.clip((place - grid[right - 1]) / (grid[right] - grid[right - 1]), 0, 1)
    even = quantiles[..., right - 1] * (1 - share) + quantiles[..., right] * share  # (rows, horizons, draws)
    out = np.take_along_axis(even, np.broadcast_to(rank.T, even.shape), axis=-1)
    return np.asarray(np.swapaxes(out, 1, 2))


def _lengths(vectors: Floats) -> Floats:
    return np.asarray(np.sqrt(np.einsum("rdh,rdh->rd", vectors, vectors)))


def _draws(y: Floats, samples: NDArray[Any]) -> int:
    if samples.ndim != 3 or (samples.shape[0], samples.shape[2]) != y.shape or samples.shape[1] < 2:
        raise DataError(
            f"Samples {samples.shape} must be ({len(y)}, draws, horizons) for outcomes {y.shape}, at least 2 draws."
        )
    return int(samples.shape[1])
