"""`DriftTable`: the columns that are judged for drift, each row stamped with when it was known."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.evaluation.residuals import normal_scores
from fxgpt_core.evaluation.scores import pit
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.lifecycle.drift.config import DriftConfig

Times = NDArray[np.datetime64]

_FEWEST_ONLINE = 20
ABS_RETURN, SURPRISE = "abs_return", "surprise"


@dataclass(frozen=True)
class DriftTable:
    """`known_at`: (rows,) datetime64[ns], UTC, increasing; `values`: (rows, columns) float32, NaN where not known."""

    symbol: str
    names: tuple[str, ...]
    known_at: Times
    values: NDArray[np.float32]

    def between(self, start: np.datetime64, end: np.datetime64) -> DriftTable:
        """Return the rows known in (start, end]."""
        first, last = np.searchsorted(self.known_at, np.array([start, end], dtype="datetime64[ns]"), side="right")
        return self.rows(slice(int(first), int(last)))

    def rows(self, chosen: slice | NDArray[np.bool_]) -> DriftTable:
        """Return the chosen rows."""
        return DriftTable(self.symbol, self.names, self.known_at[chosen], self.values[chosen])

    def select(self, names: tuple[str, ...]) -> DriftTable:
        """Return the named columns; raises DataError when a column is missing."""
        missing = [name for name in names if name not in self.names]
        if missing:
            raise DataError(
                f"Drift columns {', '.join(missing[:3])} of {self.symbol} are missing: features were redefined since "
                "the reference was built, build it again."
            )
        return DriftTable(self.symbol, names, self.known_at, self.values[:, [self.names.index(name) for name in names]])

    def complete(self) -> DriftTable:
        """Return the rows in which nothing is missing."""
        return self.rows(np.isfinite(self.values).all(axis=1))

    def __len__(self) -> int:
        return len(self.known_at)


def drift_table(dataset: Dataset, config: DriftConfig, after: np.datetime64 | None = None) -> DriftTable:
    """Return the judged features of the base timeframe, and two columns that show volatility plainly.

    `after`: only bars known after it, all by default.

    `abs_return`: absolute log return of the bar. `surprise`: |standardised target| of the shortest horizon, of the last
    label that had ended by then: how large moves were against what the yardstick foresaw.
    """
    table = dataset.tables[dataset.base.code]
    kept = [
        i
        for i, name in enumerate(table.names)
        if any(fnmatch(name, rule) for rule in config.include)
        and not any(fnmatch(name, rule) for rule in config.exclude)
    ]
    if len(kept) > config.max_columns:
        kept = [kept[int(i)] for i in np.linspace(0, len(kept) - 1, config.max_columns).round()]
    known_at = dataset.known_at
    first = 0 if after is None else int(np.searchsorted(known_at, after, side="right"))
    closes = np.log(dataset.candles.close[max(first - 1, 0) :])
    returns = np.abs(np.diff(closes)) if first else np.abs(np.diff(closes, prepend=np.nan))
    values = np.column_stack([returns, _surprise(dataset)[first:], table.values[first:, kept]]).astype(np.float32)
    names = (ABS_RETURN, SURPRISE, *(table.names[i] for i in kept))
    return DriftTable(dataset.symbol, names, known_at[first:], values)


def online_names(table: DriftTable, config: DriftConfig) -> tuple[str, ...]:
    """Return the columns that are watched bar by bar."""
    return tuple(name for name in table.names if any(fnmatch(name, rule) for rule in config.online_columns))


def online_rows(dataset: Dataset, config: DriftConfig) -> int:
    """Return how many base bars the online statistics look at."""
    return max(_FEWEST_ONLINE, round(config.online_hours * 60 / dataset.base.minutes))


def _surprise(dataset: Dataset) -> NDArray[np.float64]:
    shortest = int(np.argmin(dataset.horizons))
    size, ended = np.abs(dataset.targets[:, shortest]), dataset.label_end[:, shortest]
    known = np.isfinite(size) & ~np.isnat(ended)
    size, ended = size[known], ended[known]
    if not len(ended):
        return np.full(len(dataset), np.nan)
    last = np.searchsorted(ended, dataset.known_at, side="right") - 1  # ends increase with their bars
    return np.asarray(np.where(last >= 0, size[np.maximum(last, 0)], np.nan))


def prediction_table(forecast: Forecast) -> DriftTable:
    """Return what a model says, by horizon: log of its standard deviation and mean / standard deviation."""
    std = np.maximum(forecast.std, 1e-12)
    names = tuple(f"{what}_{h}m" for what in ("log_std", "mean_std") for h in forecast.horizons)
    values = np.column_stack([np.log(std), forecast.mean / std]).astype(np.float32)
    return DriftTable(forecast.symbol, names, forecast.decided_at, values)


def pit_table(forecast: Forecast, outcomes: Outcomes) -> DriftTable:
    """Return the PIT value of every horizon, of decisions whose outcomes are all known, stamped with when they were."""
    real = outcomes.aligned(forecast.decided_at, forecast.horizons)
    ended = np.isfinite(real.returns).all(axis=1) & ~np.isnat(real.label_end).any(axis=1)
    values = pit(real.returns[ended], forecast.quantiles[ended], forecast.levels)
    known_at = np.maximum.accumulate(real.label_end[ended].max(axis=1)) if ended.any() else forecast.decided_at[:0]
    names = tuple(f"pit_{h}m" for h in forecast.horizons)
    return DriftTable(forecast.symbol, names, known_at, values.astype(np.float32))


def residual_table(values: DriftTable) -> DriftTable:
    """Return the normal scores of a PIT table: residuals that are standard normal where the forecast is right."""
    names = tuple(name.replace("pit_", "residual_") for name in values.names)
    scores = normal_scores(values.values.astype(np.float64))
    return DriftTable(values.symbol, names, values.known_at, scores.astype(np.float32))
