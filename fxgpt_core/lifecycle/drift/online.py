"""`OnlinePart`: what the training span's own stream of bars says about a statistic of the newest rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.lifecycle.drift.columns import DriftTable
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.drift.statistics import median_bandwidth
from fxgpt_core.lifecycle.drift.stream_series import cvm_series, mmd_series
from fxgpt_core.lifecycle.drift.streams import CVM, MMD, OnlineStatistic, online_statistic
from fxgpt_core.lifecycle.drift.windows import DAY, block_threshold, sampled

Floats = NDArray[np.float64]

ONLINE = (MMD, CVM)
_LOOKS_PER_WINDOW = 48  # of the training stream: a window moves little from one to the next
_LEAST_SPREAD = 1e-3


@dataclass(frozen=True)
class OnlinePart:
    """`values`: (rows, columns) sampled from the span, standardised by `location`, `scale` (columns,).

    `sigma`: bandwidth of the kernel; `centre`, `spread`: (streams,) mean and standard deviation of each stream's
    statistic over the training span; `threshold`: of the largest standardised one; `window`: rows that are looked at;
    `weeks`: blocks behind the threshold.
    """

    kind: str
    names: tuple[str, ...]
    values: Floats
    location: Floats
    scale: Floats
    sigma: float
    centre: Floats
    spread: Floats
    threshold: float
    window: int
    weeks: int

    @classmethod
    def build(
        cls, kind: str, span: DriftTable, window: int, config: DriftConfig, monthly: float, rng: np.random.Generator
    ) -> OnlinePart:
        """Return the part of a span; raises DataError when it holds too few complete rows."""
        span = span.complete()
        location, scale = span.values.mean(axis=0, dtype=np.float64), span.values.std(axis=0, dtype=np.float64)
        scale = np.maximum(scale, 1e-12)
        rows = (span.values - location) / scale
        if len(rows) < 2 * window:
            raise DataError(f"{len(rows)} complete bars of {span.symbol} are too few for windows of {window} bars.")
        values = rows[sampled(len(rows), config.mmd_rows, rng)]
        sigma, step = median_bandwidth(values), max(1, window // _LOOKS_PER_WINDOW)
        made = (
            mmd_series(rows, values, sigma, window)[::step] if kind == MMD else cvm_series(rows, values, window, step)
        )
        centre, spread = made.mean(axis=0), np.maximum(made.std(axis=0), _LEAST_SPREAD)
        largest = ((made - centre) / spread).max(axis=1)
        ends = span.known_at[window - 1 :: step]
        block = ((ends - span.known_at[0]) / DAY).astype(np.int64) // config.window_days
        maxima = np.array([largest[block == b].max() for b in np.unique(block)])
        threshold = block_threshold(maxima, config, monthly)
        return cls(
            kind, span.names, values, location, scale, sigma, centre, spread, threshold, window, len(maxima)
        )  # fmt: skip

    def open(self, backend: str) -> OnlineStatistic:
        """Return the statistic with an empty window."""
        return online_statistic(self.kind, backend, self.values, self.sigma, self.window)

    def row(self, values: NDArray[Any]) -> Floats:
        """Return a row as the statistic takes it."""
        return np.asarray((values.astype(np.float64) - self.location) / self.scale)

    def level(self, statistics: Floats) -> float:
        """Return the largest statistic in standard deviations of the training span; NaN until the window is full."""
        return float(((statistics - self.centre) / self.spread).max())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is stored as arrays."""
        return {name: getattr(self, name) for name in ("values", "location", "scale", "centre", "spread")}

    def facts(self) -> dict[str, Any]:
        """Return what is stored as JSON."""
        scalars = {name: getattr(self, name) for name in ("kind", "sigma", "threshold", "window", "weeks")}
        return {"names": list(self.names), **scalars}

    @classmethod
    def read(cls, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> OnlinePart:
        """Rebuild from `facts` and `arrays`."""
        values: dict[str, Any] = {**facts, "names": tuple(facts["names"]), **arrays}
        return cls(**values)
