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


def ridge(x: Matrix, y: Floats, penalty: float) -> Linear:
    """Minimise mean (y - xw - b)² + penalty |w|² (Hoerl & Kennard 1970); `x`: (rows, columns), `y`: (rows,)."""
    mean_x, mean_y = x.mean(axis=0, dtype=np.float64), float(y.mean())
    gram = np.asarray(x.T @ x, dtype=np.float64) / len(x) - np.outer(mean_x, mean_x)
    cross = np.asarray(x.T @ (y - mean_y).astype(np.float32), dtype=np.float64) / len(x)
    weights = np.linalg.solve(gram + penalty * np.eye(len(mean_x)), cross)
    return Linear(weights, mean_y - float(mean_x @ weights))


def gamma_ridge(x: Matrix, size: Floats, penalty: float, start: Linear | None = None, steps: int = 6) -> Linear:
    """Return the log scale g = xw + b that minimises mean [g + size e^-g] + penalty/2 |w|²; `size` >= 0: (rows,).

    The gamma deviance of |z|, equal to the likelihood of a Laplace scale and, with |z| in place of z², to QLIKE (Patton
    2011). Solved by Fisher scoring, whose weights are constant for a log link (McCullagh & Nelder 1989, ch. 8), so that
    the matrix is factored once.
    """
    mean = x.mean(axis=0, dtype=np.float64)
    gram = np.asarray(x.T @ x, dtype=np.float64) / len(x) - np.outer(mean, mean)
    factor = np.linalg.cholesky(gram + penalty * np.eye(len(mean)))
    now = start or Linear(np.zeros(x.shape[1]), float(np.log(max(size.mean(), 1e-12))))
    for _ in range(steps):
        g = np.clip(now.predict(x), now.intercept - _LIMIT, now.intercept + _LIMIT)
        score = size * np.exp(-g) - 1.0  # (rows,)
        gradient = np.asarray(x.T @ score.astype(np.float32), dtype=np.float64) / len(x) - mean * score.mean()
        step = np.linalg.solve(factor.T, np.linalg.solve(factor, gradient - penalty * now.weights))
        weights = now.weights + step
        shape = np.asarray(x @ weights.astype(np.float32), dtype=np.float64)
        shape = np.clip(shape, np.median(shape) - _LIMIT, np.median(shape) + _LIMIT)
        now = Linear(weights, float(np.log(max(np.mean(size * np.exp(-shape)), 1e-12))))
        if float(np.abs(step).max()) < 1e-4:
            break
    return now
