"""The distribution of standardised residuals: empirical where there are many, Student-t where there are few."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.forecast import LEVELS
from fxgpt_core.models.baselines.student import fit_student

Floats = NDArray[np.float64]

_PRIOR_ROWS = 2000.0  # at this many residuals the empirical quantiles weigh as much as the fitted Student-t


@dataclass(frozen=True)
class Residuals:
    """`quantiles`: (levels,) at `LEVELS`; `std`: standard deviation."""

    quantiles: Floats
    std: float


def fit_residuals(values: Floats) -> Residuals:
    """Return the symmetric distribution of residuals (n,).

    Symmetric, because the skew of past returns says little about that of future ones; a mixture of the empirical
    quantiles of both tails and those of a fitted Student-t, weighted by the number of residuals.
    """
    student = fit_student(values)
    empirical = np.quantile(values, LEVELS)
    symmetric = (empirical - empirical[::-1]) / 2
    weight = len(values) / (len(values) + _PRIOR_ROWS)
    quantiles = np.maximum.accumulate(weight * symmetric + (1 - weight) * student.quantiles())
    return Residuals(quantiles, float(np.sqrt(np.mean(values * values))))
