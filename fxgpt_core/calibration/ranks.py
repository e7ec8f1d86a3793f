"""Order statistics of scores with the finite-sample correction of conformal prediction."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def conformal_quantiles(scores: Floats, coverage: Floats) -> Floats:
    """Return the ⌈(n+1)·coverage⌉-th smallest score of each column: (n, pairs), (pairs,) -> (pairs,).

    Vovk, Gammerman & Shafer (2005); Lei et al. (2018, eq. 5). Where n is too small for the rank (n < coverage /
    (1 − coverage)) the largest score stands in, and coverage falls short by at most that of the missing rank.
    """
    ranks = conformal_ranks(len(scores), coverage)
    return np.asarray(np.take_along_axis(np.sort(scores, axis=0), ranks[None, :] - 1, axis=0)[0])


def conformal_ranks(rows: int, coverage: Floats) -> NDArray[np.int64]:
    """Return min(n, ⌈(n+1)·coverage⌉), at least 1, for each coverage."""
    # The small term keeps 0.9 * 10 from being rounded up to rank 10 by its binary representation.
    return np.array([max(1, min(rows, math.ceil((rows + 1) * c - 1e-9))) for c in coverage], dtype=np.int64)
