"""Is one forecast better than another? Diebold–Mariano with errors that respect overlap and persistence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.dependence import TERMS, MeanEstimate, estimate_mean

Floats = NDArray[np.float64]

NOTHING = 1e-7
"""Differences below this share of the mean loss are rounding, of 32-bit numbers too: no skill, however sure."""


@dataclass(frozen=True)
class Comparison:
    """Relative gain of a model over a reference: 1 − mean loss / mean reference loss, with confidence bounds.

    `p_value` is one-sided: how probable such a gain is when the model is no better than the reference.
    """

    value: float
    low: float
    high: float
    p_value: float
    effective_rows: float


def diebold_mariano(loss: Floats, reference: Floats, overlap: int = 1, terms: int = TERMS) -> MeanEstimate:
    """Return the estimate of mean(reference − loss) over (rows,); positive means that the model is better.

    Diebold & Mariano (1995) with the equal-weighted cosine long-run variance and Student critical values.
    """
    return estimate_mean(reference - loss, overlap, terms)


def compare(
    loss: Floats, reference: Floats, overlap: int = 1, confidence: float = 0.95, terms: int = TERMS
) -> Comparison:
    """Return the skill of `loss` against `reference`, both (rows,) positively scaled losses such as CRPS.

    The bounds are those of the loss difference over the mean reference loss, so that bounds and p-value agree. Losses
    that differ by rounding only (`NOTHING`) are equal: a model that falls back to its reference has neither gained nor
    lost.
    """
    test = diebold_mariano(loss, reference, overlap, terms)
    scale = float(reference.mean())
    if negligible(test, scale):
        return Comparison(0.0, 0.0, 0.0, 1.0, test.effective_rows)
    low, high = test.interval(confidence)
    return Comparison(test.mean / scale, low / scale, high / scale, test.p_value_positive(), test.effective_rows)


def negligible(difference: MeanEstimate, scale: float) -> bool:
    """Tell whether a mean difference of losses is rounding only, or there is no reference loss `scale` to beat."""
    return scale <= 0 or max(abs(difference.mean), difference.error) <= NOTHING * scale


def harvey_leybourne_newbold(loss: Floats, reference: Floats, overlap: int = 1) -> MeanEstimate:
    """Return the textbook test: h − 1 lags, equally weighted, with the small-sample factor of Harvey et al. (1997).

    For comparison with published figures only: it rejects three times too often where loss differences persist beyond
    the overlap. Student with rows − 1 degrees of freedom; the error is infinite where the lags make the variance
    negative.
    """
    series = reference - loss
    rows = len(series)
    lags = min(max(overlap, 1), rows - 1)
    centred = series - series.mean()
    covariance = np.array([centred[lag:] @ centred[: rows - lag] for lag in range(lags)]) / rows
    long_run = float(covariance[0] + 2 * covariance[1:].sum())
    factor = (rows + 1 - 2 * lags + lags * (lags - 1) / rows) / rows
    error = float(np.sqrt(long_run / rows / factor)) if long_run > 0 and factor > 0 else float("inf")
    effective = rows if long_run <= 0 else rows * float(series.var()) / long_run
    return MeanEstimate(float(series.mean()), error, rows, float(np.clip(effective, 1, rows)), rows - 1)
