"""Quantiles of what came before, row by row; numba loads slowly, so that this module is imported where it is used."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@njit(cache=True)
def earlier_quantile(ranks: NDArray[np.int64], ordered: Floats, quantile: float, history: int, before: float) -> Floats:
    """Return per row the lower `quantile` of all earlier values, `before` for the first `history` rows: (rows,).

    `ordered`: (rows,) the values ascending; `ranks`: (rows,) the place of each row's value in it, ties in order of
    rows. Counts of what has been seen stand in a Fenwick tree (Fenwick 1994), so that a row costs log(rows).
    """
    rows = len(ranks)
    out = np.full(rows, before)
    tree = np.zeros(rows + 1, dtype=np.int64)
    top = 1
    while top * 2 <= rows:
        top *= 2
    for row in range(rows):
        if row >= history and row > 0:
            rest = int(quantile * (row - 1)) + 1
            place, step = 0, top
            while step > 0:
                if place + step <= rows and tree[place + step] < rest:
                    place += step
                    rest -= tree[place]
                step //= 2
            out[row] = ordered[place]
        index = ranks[row] + 1
        while index <= rows:
            tree[index] += 1
            index += index & -index
    return out
