"""A heterogeneous autoregression on deseasonalised variance: the yardstick's other level (after Corsi 2009).

Realised variance over a horizon, in units of what the EWMA yardstick expects, is regressed on the mean deseasonalised
variance of the last hour, day, week and month in the same units, and on the expectation itself. Dividing by the
expectation is weighting by its inverse square, as a variance's error grows with its size. A ridge prior pulls to the
EWMA forecast until enough labels are known. Coefficients are those of labels known at the end of the previous month.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.features.rolling import rolling_mean

Floats = NDArray[np.float64]

_SURPRISE = 25.0
"""A realised variance counts as at most so many times the expected one: one crash must not rule for months."""
_RANGE = (0.2, 5.0)
"""The forecast stays within these multiples of the EWMA forecast."""


def components(unit: Floats, windows: Sequence[int]) -> Floats:
    """Return mean deseasonalised variance over each window of bars: (bars, windows), NaN until a window is full."""
    clean = np.where(np.isfinite(unit), unit, 0.0)
    return np.stack([rolling_mean(clean, window) for window in windows], axis=1)


def har_weights(
    expected: Floats,
    level: Floats,
    parts: Floats,
    realised: Floats,
    end: NDArray[np.int64],
    blocks: Sequence[slice],
    fades: Sequence[float],
    prior: float,
) -> list[Floats]:
    """Return the weights in force in each month, (components + 1,) each, for one horizon.

    `expected`: (bars,) the EWMA forecast, variance over the horizon; `level`: (bars,) the same per unit of variance
    time. `parts`: (bars, components). `realised`: (bars,) variance that came over the horizon, NaN where not known.
    `end`: (bars,) number of the month in which it became known, -1 where it did not. `blocks`: the bars of each month;
    `fades`: factor by which what was learned before fades over each; `prior`: weight of the EWMA forecast, in labels.
    """
    inputs = _inputs(level, parts)
    with np.errstate(invalid="ignore", divide="ignore"):
        outcome = np.minimum(realised / expected, _SURPRISE)
    taught = np.isfinite(inputs).all(axis=1) & np.isfinite(outcome) & (end >= 0)
    width = inputs.shape[1]
    moments, cross = np.zeros((width, width)), np.zeros(width)
    target = np.zeros(width)
    target[-1] = 1.0
    out = []
    for month in range(len(blocks)):
        out.append(np.linalg.solve(moments + prior * np.eye(width), cross + prior * target))
        seen = taught & (end == month)
        x, y = inputs[seen], outcome[seen]
        moments = moments * fades[month] + (x[:, :, None] * x[:, None, :]).sum(axis=0)
        cross = cross * fades[month] + (x * y[:, None]).sum(axis=0)
    return out


def har_forecast(
    expected: Floats,
    level: Floats,
    parts: Floats,
    realised: Floats,
    end: NDArray[np.int64],
    blocks: Sequence[slice],
    fades: Sequence[float],
    prior: float,
) -> Floats:
    """Return the variance forecast of every bar by the weights of its month: (bars,); arguments as in `har_weights`."""
    out = expected.copy()
    for rows, weights in zip(
        blocks, har_weights(expected, level, parts, realised, end, blocks, fades, prior), strict=True
    ):
        out[rows] = har_variance(expected[rows], level[rows], parts[rows], weights)
    return out


def har_variance(expected: Floats, level: Floats, parts: Floats, weights: Floats) -> Floats:
    """Return the variance forecast of bars by the weights of their month: (bars,); the EWMA's where a component is not
    known yet. Arguments as in `har_weights`.
    """
    inputs = _inputs(level, parts)
    known = np.isfinite(inputs).all(axis=1)
    ratio = (inputs * weights).sum(axis=1)  # not a matrix product, whose bits depend on how many bars there are
    return np.asarray(np.where(known, expected * np.clip(ratio, *_RANGE), expected))


def _inputs(level: Floats, parts: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.concatenate([parts / level[:, None], np.ones((len(level), 1))], axis=1)
