"""Ridge solvers in plain NumPy: least squares, and the scale of a variable by penalised gamma likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Matrix = NDArray[np.float32]

_LIMIT = 3.0  # log scales beyond this are cut while iterating: one outlier must not blow up the weights


@dataclass(frozen=True)
class Linear:
    """`predict(x) = x @ weights + intercept`; `weights`: (columns,)."""

    weights: Floats
    intercept: float

    def predict(self, x: Matrix) -> Floats:
        """Return (rows,) float64."""
        return np.asarray(x @ self.weights.astype(np.float32), dtype=np.float64) + self.intercept


def ridge(x: Matrix, y: Floats, penalty: float, shared: Floats | None = None) -> Linear:
    """Minimise mean (y - xw - b)² + penalty |w|² (Hoerl & Kennard 1970); `x`: (rows, columns), `y`: (rows,).

    `shared`: the covariance of `x` where it is known already.
    """
    mean_x, mean_y = x.mean(axis=0, dtype=np.float64), float(y.mean())
    cross = np.asarray(x.T @ (y - mean_y).astype(np.float32), dtype=np.float64) / len(x)
    shared = covariance(x) if shared is None else shared
    weights = np.linalg.solve(shared + penalty * np.eye(len(mean_x)), cross)
    return Linear(weights, mean_y - float(mean_x @ weights))


def gamma_ridge(x: Matrix, size: Floats, penalty: float, start: Linear | None = None, steps: int = 6) -> Linear:
    """Return the log scale g = xw + b that minimises mean [g + size e^-g] + penalty/2 |w|²; `size` >= 0: (rows,).

    The gamma deviance of |z|, equal to the likelihood of a Laplace scale and, with |z| in place of z², to QLIKE (Patton
    2011). See `GammaRidge`.
    """
    return GammaRidge(x, covariance(x), np.ones(x.shape[1])).fit(size, penalty, start, steps)


def covariance(x: Matrix) -> Floats:
    """Return the covariance of the columns of `x` (rows, columns): (columns, columns)."""
    mean = x.mean(axis=0, dtype=np.float64)
    return np.asarray(x.T @ x, dtype=np.float64) / len(x) - np.outer(mean, mean)


class GammaRidge:
    """Fits log scales of the same rows with many penalties, for the price of one eigendecomposition.

    `prior`: (columns,) prior deviation of each weight against the others'; the penalty is penalty/2 |w / prior|², and
    a column with prior 0 is left out. Fisher scoring, whose weights are constant for a log link (McCullagh & Nelder
    1989, ch. 8), is diagonal in the eigenvectors of prior x covariance x prior, whatever the penalty.
    """

    def __init__(self, x: Matrix, covariance: Floats, prior: Floats) -> None:
        self._columns = x.shape[1]
        self._used = np.flatnonzero(prior)
        self._x = x if len(self._used) == self._columns else np.ascontiguousarray(x[:, self._used])
        self._prior = prior[self._used]
        self._mean = self._x.mean(axis=0, dtype=np.float64)
        inner = self._prior[:, None] * covariance[np.ix_(self._used, self._used)] * self._prior
        values, self._vectors = np.linalg.eigh(inner)
        self._values = np.maximum(values, 0.0)

    def fit(self, size: Floats, penalty: float, start: Linear | None = None, steps: int = 6) -> Linear:
        """Return the log scale of `size` (rows,); `start`: a fit to set out from, such as that of another penalty."""
        intercept = start.intercept if start else float(np.log(max(size.mean(), 1e-12)))
        turned = np.zeros(len(self._used))
        if start is not None:
            turned = np.asarray(self._vectors.T @ (start.weights[self._used] / self._prior), dtype=np.float64)
        at = self._log_scale(turned)
        for _ in range(steps):
            g = intercept + np.clip(at, -_LIMIT, _LIMIT)
            score: Floats = np.asarray(size * np.exp(-g) - 1.0)  # (rows,)
            gradient = np.asarray(self._x.T @ score.astype(np.float32), dtype=np.float64) / len(self._x)
            gradient = self._vectors.T @ (self._prior * (gradient - self._mean * score.mean()))
            step = (gradient - penalty * turned) / (self._values + penalty)
            turned = turned + step
            at = self._log_scale(turned)
            shape = np.clip(at, np.median(at) - _LIMIT, np.median(at) + _LIMIT)
            intercept = float(np.log(max(np.mean(size * np.exp(-shape)), 1e-12)))
            if float(np.abs(self._weights(step)).max(initial=0.0)) < 1e-4:
                break
        weights = np.zeros(self._columns)
        weights[self._used] = self._weights(turned)
        return Linear(weights, intercept)

    def _weights(self, turned: Floats) -> Floats:
        return np.asarray(self._prior * (self._vectors @ turned))

    def _log_scale(self, turned: Floats) -> Floats:
        return np.asarray(self._x @ self._weights(turned).astype(np.float32), dtype=np.float64)
