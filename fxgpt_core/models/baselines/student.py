"""Random walk with Student-t innovations: zero mean, scale from a volatility path, shape from training residuals."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.forecast import LEVELS, Forecast
from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.forecaster import FitReport, Provenance
from fxgpt_core.models.output import check_horizons, split_of, to_forecast
from fxgpt_core.training.plan import TrainingPlan

Floats = NDArray[np.float64]
Volatility = Callable[[Dataset], Floats]

_DEGREES = (2.25, 2.5, 2.75, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 10.0, 13.0, 20.0, 50.0)
_FILE = "student.json"


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


class StudentWalk:
    """A baseline: log returns are Student-t around zero, with the volatility that `volatility(dataset)` forecasts."""

    def __init__(self, family: str, volatility: Volatility) -> None:
        self.family = family
        self._volatility = volatility
        self._horizons: tuple[int, ...] = ()
        self._shapes: tuple[Student, ...] = ()
        self._trained_until = np.datetime64("NaT", "ns")

    def fit(self, dataset: Dataset, plan: TrainingPlan, progress: Progress = silent) -> FitReport:
        """Fit scale and degrees of freedom of each horizon to its training labels, in units of the volatility."""
        started = time.perf_counter()
        split = split_of(dataset, self.family)
        returns, path = dataset.returns(), self._volatility(dataset)
        shapes = []
        for column, horizon in enumerate(dataset.horizons):
            rows = split.train[:, column] & np.isfinite(path[:, column])
            if not rows.any():
                raise ModelError(f"{self.family}: no training label of {dataset.symbol} at {horizon} minutes.")
            shapes.append(fit_student(returns[rows, column] / path[rows, column]))
        self._horizons, self._shapes, self._trained_until = dataset.horizons, tuple(shapes), split.trained_until
        metrics = {f"degrees_{h}": s.degrees for h, s in zip(self._horizons, shapes, strict=True)}
        metrics |= {f"scale_{h}": s.scale for h, s in zip(self._horizons, shapes, strict=True)}
        return FitReport(int(split.train.any(axis=1).sum()), time.perf_counter() - started, metrics)

    def forecast(self, dataset: Dataset, rows: NDArray[np.int64], provenance: Provenance, seed: int = 0) -> Forecast:
        """Return zero-mean Student-t forecasts; raises ModelError where the volatility is not known."""
        check_horizons(dataset, self._horizons, self.family)
        path = self._volatility(dataset)[rows]  # (rows, horizons)
        unknown = int((~np.isfinite(path)).any(axis=1).sum())
        if unknown:
            raise ModelError(
                f"{self.family}: the volatility of {dataset.symbol} is unknown at {unknown} of the "
                "rows asked for; ask for usable rows only."
            )
        shape = np.stack([student.quantiles() for student in self._shapes])  # (horizons, levels)
        std = path * np.array([student.std for student in self._shapes])
        mean, quantiles = np.zeros(path.shape), path[..., None] * shape
        return to_forecast(
            self.family,
            dataset,
            rows,
            provenance,
            self._trained_until,
            mean,
            std,
            quantiles,
        )

    def save(self, folder: Path) -> None:
        """Write the fitted shapes as JSON."""
        check = {
            "horizons": self._horizons,
            "degrees": [s.degrees for s in self._shapes],
            "scale": [s.scale for s in self._shapes],
            "trained_until": str(self._trained_until),
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _FILE).write_text(json.dumps(check, indent=1))

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        values = json.loads((folder / _FILE).read_text())
        self._horizons = tuple(values["horizons"])
        self._shapes = tuple(Student(*pair) for pair in zip(values["degrees"], values["scale"], strict=True))
        self._trained_until = np.datetime64(values["trained_until"], "ns")
