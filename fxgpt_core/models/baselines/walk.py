"""`Walk`: a random walk whose volatility comes from a path and whose shape from the residuals of training."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.forecast import LEVELS, Forecast
from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.feed import Feed
from fxgpt_core.models.baselines.student import fit_student
from fxgpt_core.models.forecaster import FitReport, Provenance
from fxgpt_core.models.output import check_horizons, split_of, to_forecast
from fxgpt_core.models.session import BulkSession, Session
from fxgpt_core.training.plan import TrainingPlan

Floats = NDArray[np.float64]
Volatility = Callable[[Dataset], Floats]
"""Dataset -> volatility forecast of every base bar and horizon, log-return units: (bars, horizons)."""

_FILE = "walk.json"
_FEWEST = 100  # residuals behind an empirical 1 % quantile


@dataclass(frozen=True)
class Shape:
    """Distribution of returns in units of the volatility: `quantiles` at `LEVELS`, mean, deviation, and facts."""

    mean: float
    std: float
    quantiles: tuple[float, ...]
    facts: dict[str, float]


def student_shape(residuals: Floats) -> Shape:
    """Return the Student-t around zero of residuals (n,)."""
    fitted = fit_student(residuals)
    return Shape(0.0, fitted.std, tuple(fitted.quantiles()), {"degrees": fitted.degrees, "scale": fitted.scale})


def empirical_shape(residuals: Floats) -> Shape:
    """Return the distribution of residuals (n,) and of their mirror image: tails as they were, neither drift nor skew.

    What a pair gained over the training span says nothing about where it goes, and a baseline that leans one way is
    traded for it; a baseline has no direction (SPEC 11). On real bars the mirrored distribution scores as well as the
    lopsided one or better: what it gives up is noise. Quantiles by Hyndman & Fan (1996), definition 8. Raises
    ModelError for fewer than 100 residuals.
    """
    if len(residuals) < _FEWEST:
        raise ModelError(f"An empirical distribution needs {_FEWEST} training labels, there are {len(residuals)}.")
    both = np.quantile(np.concatenate([residuals, -residuals]), LEVELS, method="median_unbiased")
    quantiles = (both - both[::-1]) / 2  # exactly symmetric, without rounding
    std = float(np.sqrt((residuals * residuals).mean()))
    return Shape(0.0, std, tuple(quantiles), {"labels": float(len(residuals))})


class Walk:
    """A baseline: returns are drawn from one shape per horizon, scaled by a volatility path."""

    def __init__(self, family: str, volatility: Volatility, shape: Literal["student", "empirical"] = "student") -> None:
        self.family = family
        self._volatility = volatility
        self._shape = student_shape if shape == "student" else empirical_shape
        self._horizons: tuple[int, ...] = ()
        self._shapes: tuple[Shape, ...] = ()
        self._trained_until = np.datetime64("NaT", "ns")

    def fit(self, dataset: Dataset, plan: TrainingPlan, progress: Progress = silent) -> FitReport:
        """Fit the shape of each horizon to its training labels, in units of the volatility."""
        started = time.perf_counter()
        split = split_of(dataset, self.family)
        returns, path = dataset.returns(), self._volatility(dataset)
        shapes = []
        for column, horizon in enumerate(dataset.horizons):
            rows = split.train[:, column] & np.isfinite(path[:, column])
            if not rows.any():
                raise ModelError(f"{self.family}: no training label of {dataset.symbol} at {horizon} minutes.")
            shapes.append(self._shape(returns[rows, column] / path[rows, column]))
        self._horizons, self._shapes, self._trained_until = dataset.horizons, tuple(shapes), split.trained_until
        metrics = {
            f"{name}_{horizon}": value
            for horizon, shape in zip(self._horizons, shapes, strict=True)
            for name, value in shape.facts.items()
        }
        return FitReport(int(split.train.any(axis=1).sum()), time.perf_counter() - started, metrics)

    def forecast(self, dataset: Dataset, rows: NDArray[np.int64], provenance: Provenance, seed: int = 0) -> Forecast:
        """Return the forecasts of the chosen rows; raises ModelError where the volatility is not known."""
        check_horizons(dataset, self._horizons, self.family)
        return self.along(self._volatility(dataset), dataset, rows, provenance)

    def along(self, path: Floats, dataset: Dataset, rows: NDArray[np.int64], provenance: Provenance) -> Forecast:
        """Return the forecasts of the chosen rows along a volatility path (bars, horizons); errors as of `forecast`."""
        check_horizons(dataset, self._horizons, self.family)
        path = path[rows]  # (rows, horizons)
        unknown = int((~np.isfinite(path)).any(axis=1).sum())
        if unknown:
            raise ModelError(
                f"{self.family}: the volatility of {dataset.symbol} is unknown at {unknown} of the "
                "rows asked for; ask for usable rows only."
            )
        quantiles = np.array([shape.quantiles for shape in self._shapes])  # (horizons, levels)
        mean = path * np.array([shape.mean for shape in self._shapes])
        std = path * np.array([shape.std for shape in self._shapes])
        until = self._trained_until
        return to_forecast(self.family, dataset, rows, provenance, until, mean, std, path[..., None] * quantiles)

    def open(self, feed: Feed, snapshot: Path | None = None) -> Session:
        """Follow the market; there is no state between bars, so a snapshot holds nothing."""
        return BulkSession(self, feed)

    def save(self, folder: Path) -> None:
        """Write the fitted shapes as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _FILE).write_text(json.dumps(self._state(), indent=1))

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        values = json.loads((folder / _FILE).read_text())
        self._horizons = tuple(values["horizons"])
        self._shapes = tuple(
            Shape(one["mean"], one["std"], tuple(one["quantiles"]), dict(one["facts"])) for one in values["shapes"]
        )
        self._trained_until = np.datetime64(values["trained_until"], "ns")

    def _state(self) -> dict[str, Any]:
        return {
            "horizons": self._horizons,
            "shapes": [vars(shape) for shape in self._shapes],
            "trained_until": str(self._trained_until),
        }
