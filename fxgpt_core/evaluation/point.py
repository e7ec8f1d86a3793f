"""Errors of the mean forecast: a log return, and the price that follows from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PointErrors:
    """`rmse`, `mae`: log-return units; `mape`: mean absolute error of the price as a share of it; `r2`: share of the
    variance of outcomes explained; `r2_zero`: share of their square explained, against "no change" (Campbell &
    Thompson 2008). Both are None where outcomes do not vary or are all zero."""

    rmse: float
    mae: float
    mape: float
    r2: float | None
    r2_zero: float | None


def point_errors(y: Floats, mean: Floats) -> PointErrors:
    """Return the errors of `mean` at known outcomes `y`, both (rows,) log returns; DataError without rows.

    A price forecast p exp(mean) misses p exp(y) by |exp(mean − y) − 1| of the latter, whatever p is. Errors of a price
    look tiny for every model, the price of now included: read `r2_zero` instead.
    """
    if not len(y) or not np.isfinite(y).all():
        raise DataError(f"Point errors need known outcomes; of {len(y)} given {int(np.isnan(y).sum())} are not.")
    error = y - mean
    squares, variation, size = float((error**2).sum()), float(((y - y.mean()) ** 2).sum()), float((y**2).sum())
    return PointErrors(
        rmse=float(np.sqrt((error**2).mean())),
        mae=float(np.abs(error).mean()),
        mape=float(np.abs(np.expm1(-error)).mean()),
        r2=1 - squares / variation if variation > 0 else None,
        r2_zero=1 - squares / size if size > 0 else None,
    )
