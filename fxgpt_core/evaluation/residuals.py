"""What forecasts leave unexplained: autocorrelation of the PIT's normal scores and of their squares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.dependence import TERMS, estimate_mean
from fxgpt_core.evaluation.result import Autocorrelation

Floats = NDArray[np.float64]

_EDGE = 1e-6
_FEWEST = 20  # products behind a bound


def normal_scores(pit: Floats) -> Floats:
    """Return Φ⁻¹ of PIT values, the residual that is standard normal where the forecast is right (Berkowitz 2001)."""
    from scipy.special import ndtri

    return np.asarray(ndtri(np.clip(pit, _EDGE, 1 - _EDGE)))


def autocorrelations(
    pit: Floats, overlap: int, lags: Sequence[int], confidence: float = 0.95, terms: int = TERMS
) -> tuple[Autocorrelation, ...]:
    """Return the autocorrelation of residuals from (rows,) PIT values at `lags` steps of `overlap` rows.

    Labels of rows `overlap` apart do not overlap, so a sound forecast leaves nothing at any lag. The bound comes from
    the long-run variance of the products, which holds where volatility clusters and where products overlap; the
    textbook's 1.96 / sqrt(rows) does in neither case. Lags that leave too few products are left out.
    """
    scores = normal_scores(pit)
    found = []
    for lag in lags:
        shift = lag * max(overlap, 1)
        if len(scores) - shift < max(_FEWEST, 4 * overlap):
            continue
        value, bound = _correlation(scores, shift, overlap, confidence, terms)
        squares, squares_bound = _correlation(scores * scores, shift, overlap, confidence, terms)
        found.append(Autocorrelation(lag, value, bound, squares, squares_bound))
    return tuple(found)


def _correlation(series: Floats, shift: int, overlap: int, confidence: float, terms: int) -> tuple[float, float]:
    """Return the autocorrelation (Box & Jenkins 1970, c_k / c_0) and how far chance reaches."""
    centred = series - series.mean()
    total = float(centred @ centred)
    if total == 0:
        return 0.0, 0.0
    products = centred[shift:] * centred[:-shift]
    low, high = estimate_mean(products, overlap, terms).interval(confidence)
    return float(products.sum() / total), (high - low) / 2 * len(products) / total
