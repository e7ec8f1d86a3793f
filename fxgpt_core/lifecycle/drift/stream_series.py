"""The statistics of `streams` over a whole span at once: what the training span's own stream would have shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.lifecycle.drift.statistics import mmd2, rbf
from fxgpt_core.lifecycle.drift.streams import CvmScale

Floats = NDArray[np.float64]

_CHUNK = 4096


def mmd_series(rows: Floats, reference: Floats, sigma: float, window: int) -> Floats:
    """Return the squared MMD of the windows that end at rows `window` − 1, `window`, …: (rows − window + 1, 1).

    Pairs of rows are summed lag by lag: the pairs inside a window that lie `lag` apart are a difference of two running
    sums.
    """
    n = len(reference)
    across = np.concatenate([rbf(rows[i : i + _CHUNK], reference, sigma).sum(1) for i in range(0, len(rows), _CHUNK)])
    within = np.zeros(len(rows) - window + 1)
    for lag in range(1, window):
        kernels = np.exp(-((rows[lag:] - rows[:-lag]) ** 2).sum(axis=1) / (2 * sigma**2))
        within += 2 * _sums(kernels, window - lag)
    kernel = rbf(reference, reference, sigma)
    constant = mmd2(kernel, np.zeros((2, 2)), np.zeros((n, 2)))
    found = constant + within / (window * (window - 1)) - 2 * _sums(across, window) / (window * n)
    return np.asarray(found[:, None])


def cvm_series(rows: Floats, reference: Floats, window: int, step: int = 1) -> Floats:
    """Return the Cramér–von Mises statistics of every `step`-th window of `mmd_series`: (windows, columns)."""
    scale = CvmScale(len(reference), window)
    columns = [_cvm(rows[:, c], np.sort(reference[:, c]), window, step) for c in range(rows.shape[1])]
    return scale.of(np.column_stack(columns))


def _cvm(values: Floats, reference: Floats, window: int, step: int) -> Floats:
    n = len(reference)
    apart = np.zeros(len(values[window - 1 :: step]))
    for point in reference:
        share = np.searchsorted(reference, point, side="right") / n
        apart += (share - _sums((values <= point).astype(np.float64), window)[::step] / window) ** 2
    windows = np.lib.stride_tricks.sliding_window_view(values, window)[::step]
    for i in range(0, len(windows), _CHUNK):
        ordered = np.sort(windows[i : i + _CHUNK], axis=1)
        expected = np.searchsorted(reference, ordered, side="right") / n
        apart[i : i + _CHUNK] += ((expected - _ranks(ordered) / window) ** 2).sum(axis=1)
    return apart


def _ranks(ordered: Floats) -> NDArray[np.int64]:
    """Return how many values of its row each value of sorted rows reaches: of equal ones the last one's place."""
    ranks = np.broadcast_to(np.arange(1, ordered.shape[1] + 1), ordered.shape).copy()
    for column in range(ordered.shape[1] - 2, -1, -1):
        ties = ordered[:, column] == ordered[:, column + 1]
        ranks[ties, column] = ranks[ties, column + 1]
    return ranks


def _sums(values: Floats, length: int) -> Floats:
    """Return the sums of `length` consecutive values: (values − length + 1,)."""
    running = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray(running[length:] - running[:-length])
