"""How strongly the past speaks against the raw coverage of an interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.dependence import estimate_mean, share_interval

Floats = NDArray[np.float64]


def contradicted(hits: NDArray[np.bool_], coverage: Floats, overlap: int, confidence: float) -> NDArray[np.bool_]:
    """Tell for each interval whether its nominal coverage lies outside the confidence interval of its raw one.

    `hits`: (rows, pairs), whether the raw interval held the outcome, in time order; `overlap` as in `estimate_mean`.
    The interval is Wilson's with the effective number of rows, so that a month of overlapping day-long labels, which
    is worth a dozen outcomes, overrules a model fitted on years only where it is clear. Confidence 0: always true.
    """
    if not confidence:
        return np.ones(len(coverage), dtype=bool)
    out = np.empty(len(coverage), dtype=bool)
    for pair, nominal in enumerate(coverage):
        found = estimate_mean(hits[:, pair].astype(np.float64), overlap)
        low, high = share_interval(found.mean, found.effective_rows, confidence, found.terms)
        out[pair] = not low <= nominal <= high
    return out
