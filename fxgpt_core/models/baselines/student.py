"""A Student-t distribution around zero, fitted by maximum likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.forecast import LEVELS

Floats = NDArray[np.float64]

_DEGREES = (2.25, 2.5, 2.75, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 10.0, 13.0, 20.0, 50.0)


@dataclass(frozen=True)
class Student:
    """A Student-t distribution around zero: `degrees` of freedom (> 2) and `scale`."""

    degrees: float
    scale: float

    @property
    def std(self) -> float:
        """Standard deviation."""
        return float(self.scale * np.sqrt(self.degrees / (self.degrees - 2)))

    def quantiles(self) -> Floats:
        """Return the quantiles at `LEVELS`, exactly symmetric: (levels,)."""
        from scipy.stats import t

        values = self.scale * t.ppf(np.asarray(LEVELS), self.degrees)
        return np.asarray((values - values[::-1]) / 2)


def fit_student(residuals: Floats) -> Student:
    """Return the maximum-likelihood Student-t of residuals (n,), degrees of freedom from a grid, scale by EM.

    (Lange, Little & Taylor 1989, eq. 8.) Raises ModelError when all residuals are zero.
    """
    from scipy.special import gammaln

    squares = residuals * residuals
    start = float(np.median(squares)) * 1.5 or float(squares.mean())
    if not start > 0:
        raise ModelError("All training residuals are zero: the prices do not move.")
    best, best_likelihood = Student(_DEGREES[-1], np.sqrt(start)), -np.inf
    for degrees in _DEGREES:
        scale2 = start
        for _ in range(30):
            updated = float(np.mean((degrees + 1) * squares / (degrees + squares / scale2)))
            done = abs(updated - scale2) < 1e-6 * scale2
            scale2 = updated
            if done:
                break
        start = scale2
        constant = gammaln((degrees + 1) / 2) - gammaln(degrees / 2) - 0.5 * np.log(degrees * np.pi * scale2)
        likelihood = constant - (degrees + 1) / 2 * float(np.mean(np.log1p(squares / (degrees * scale2))))
        if likelihood > best_likelihood:
            best, best_likelihood = Student(degrees, float(np.sqrt(scale2))), likelihood
    return best
