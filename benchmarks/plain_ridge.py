"""A plain ridge HAR on a dozen columns: the line that the families with hundreds of columns have to beat.

Return = yardstick x scale x residual. The log scale is a ridge regression of log |return / yardstick| on logs of ranges
and absolute returns over a bar to a day, in units of what the yardstick expected, and on the yardstick itself; the
residuals are the empirical ones of training. Nothing is chosen on validation labels, nothing is shrunk afterwards.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.config import Config as BaseConfig
from fxgpt_core.common.forecast import LEVELS, Forecast
from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.features.bars import Bars
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.indicators.volatility import parkinson_variance
from fxgpt_core.features.rolling import rolling_mean
from fxgpt_core.models.forecaster import FitReport, Provenance
from fxgpt_core.models.output import check_horizons, split_of, to_forecast
from fxgpt_core.models.tabular.linear import ridge
from fxgpt_core.training.plan import TrainingPlan

Floats = NDArray[np.float64]

WINDOWS = (1, 3, 12, 48, 288)
PENALTY = 1e-3  # of standardised columns: far below what thousands of labels say of a dozen columns
_LEAST_SIZE = 0.1  # added to |return / yardstick|, whose log would have no lower end
_LEAST_MOVE = 0.05  # added to averages, for stretches without a move


class Config(BaseConfig):
    """Nothing to set."""


def columns(dataset: Dataset) -> tuple[Floats, tuple[str, ...]]:
    """Return (bars, 12) and names: five log ranges, five log absolute returns, level and slope of the yardstick."""
    bars = Bars.of(dataset.candles)
    shortest, longest = int(np.argmin(dataset.horizons)), int(np.argmax(dataset.horizons))
    expected = np.full(len(bars), np.nan)  # of this bar, one bar before
    expected[1:] = dataset.yardstick[:-1, shortest] * np.sqrt(dataset.base.minutes / dataset.horizons[shortest])
    out = {}
    for name, size in (("range", np.sqrt(parkinson_variance(bars))), ("return", np.abs(bars.log_return))):
        for window in WINDOWS:
            out[f"{name}_{window}"] = np.log(rolling_mean(size / expected, window) + _LEAST_MOVE)
    out["level"] = np.log(dataset.yardstick[:, shortest])
    out["slope"] = np.log(dataset.yardstick[:, longest] / dataset.yardstick[:, shortest])
    return np.stack(list(out.values()), axis=1), tuple(out)


class PlainRidge:
    """Fits and forecasts like every family; it is never saved."""

    family = "plain_ridge"

    def __init__(self) -> None:
        self._horizons: tuple[int, ...] = ()
        self._heads: list[tuple[Floats, Floats, Floats, float, Floats, float]] = []
        self._trained_until = np.datetime64("NaT", "ns")

    def fit(self, dataset: Dataset, plan: TrainingPlan, progress: Progress = silent) -> FitReport:
        """Fit every horizon to all labels of the span, those of the validation part included."""
        started, split = time.perf_counter(), split_of(dataset, self.family)
        values, _ = columns(dataset)
        known = np.isfinite(values).all(axis=1)
        self._heads = []
        for column in range(len(dataset.horizons)):
            rows = (split.train[:, column] | split.validation[:, column]) & known
            mean, spread = values[rows].mean(axis=0), np.maximum(values[rows].std(axis=0), 1e-12)
            x, z = ((values[rows] - mean) / spread).astype(np.float32), dataset.targets[rows, column]
            fitted = ridge(x, np.log(np.abs(z) + _LEAST_SIZE), PENALTY)
            residuals = z / np.exp(fitted.predict(x) - fitted.intercept)
            quantiles = np.quantile(residuals, LEVELS)
            head = (mean, spread, fitted.weights, float(residuals.std()), quantiles, float(residuals.mean()))
            self._heads.append(head)
        self._horizons, self._trained_until = dataset.horizons, split.trained_until
        return FitReport(int(split.train.any(axis=1).sum()), time.perf_counter() - started)

    def forecast(self, dataset: Dataset, rows: NDArray[np.int64], provenance: Provenance, seed: int = 0) -> Forecast:
        """Return the forecasts of the chosen rows; a column that is not known counts as at its mean."""
        check_horizons(dataset, self._horizons, self.family)
        values = columns(dataset)[0][rows]
        means, stds, quantiles = [], [], []
        for column, (mean, spread, weights, std, shape, centre) in enumerate(self._heads):
            scale = np.exp(np.nan_to_num((values - mean) / spread) @ weights) * dataset.yardstick[rows, column]
            means.append(scale * centre)
            stds.append(scale * std)
            quantiles.append(scale[:, None] * shape)
        stacked = [np.stack(parts, axis=1) for parts in (means, stds, quantiles)]
        return to_forecast(self.family, dataset, rows, provenance, self._trained_until, *stacked)


def create(config: Config) -> PlainRidge:
    """Return an unfitted forecaster."""
    return PlainRidge()
