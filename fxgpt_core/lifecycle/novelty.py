"""How far a row of features lies from what a model was trained on, by numbers stored with the model (SPEC 20).

The share of columns outside the training span's own extreme quantiles, over the largest share that the end of the span
shows when only its beginning is known: above 1 a row is stranger than anything that passing time brought then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.features.dataset import Dataset

Floats = NDArray[np.float64]

TAIL = 0.001
"""Share of the training span's rows below the lower and above the upper bound of a column."""
_SELDOM_MISSING = 0.01
_KNOWN_SHARE = 2 / 3
_FEWEST = 300


@dataclass(frozen=True)
class NoveltyReference:
    """Bounds by column; names are `timeframe:column`.

    `low`, `high`: (columns,), infinite where nothing was known; `whole`: (columns,) bool, columns that were seldom
    missing, so that a missing value is strange. `threshold`: share of columns outside from which a row is novel.
    """

    names: tuple[str, ...]
    low: Floats
    high: Floats
    whole: NDArray[np.bool_]
    threshold: float

    def score(self, dataset: Dataset, rows: NDArray[np.int64]) -> Floats | None:
        """Return the novelty of base bars (rows,): above 1 it is novel; None where the data have other columns."""
        names, values = _gathered(dataset, rows)
        return None if names != self.names else _outside(values, self.low, self.high, self.whole) / self.threshold

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            "names": list(self.names),
            "low": [None if not np.isfinite(value) else float(value) for value in self.low],
            "high": [None if not np.isfinite(value) else float(value) for value in self.high],
            "whole": [bool(value) for value in self.whole],
            "threshold": self.threshold,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NoveltyReference:
        """Rebuild from `to_dict`."""
        low = np.array([-np.inf if value is None else value for value in values["low"]], dtype=np.float64)
        high = np.array([np.inf if value is None else value for value in values["high"]], dtype=np.float64)
        return cls(tuple(values["names"]), low, high, np.array(values["whole"], dtype=bool), values["threshold"])


def novelty_reference(dataset: Dataset, rows: NDArray[np.int64]) -> NoveltyReference | None:
    """Return the reference of a training on the base bars `rows` (increasing); None where these are too few."""
    if len(rows) < _FEWEST:
        return None
    names, values = _gathered(dataset, rows)
    known = int(len(rows) * _KNOWN_SHARE)
    later = _outside(values[known:], *_bounds(values[:known]))
    threshold = max(float(later.max()), 1 / len(names))
    low, high, whole = _bounds(values)
    return NoveltyReference(names, low, high, whole, threshold)


def _gathered(dataset: Dataset, rows: NDArray[np.int64]) -> tuple[tuple[str, ...], Floats]:
    """Return all columns of all timeframes as they are known at the base bars: names, (rows, columns)."""
    names: list[str] = []
    parts: list[Floats] = []
    for column, (code, table) in enumerate(dataset.tables.items()):
        at = dataset.last_known[rows, column]
        found = np.asarray(table.values[np.maximum(at, 0)], dtype=np.float64)
        found[at < 0] = np.nan
        parts.append(found)
        names += [f"{code}:{name}" for name in table.names]
    return tuple(names), np.concatenate(parts, axis=1)


def _bounds(values: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    finite = np.isfinite(values)
    some = finite.any(axis=0)
    low, high = np.full(values.shape[1], -np.inf), np.full(values.shape[1], np.inf)
    kept = np.where(finite[:, some], values[:, some], np.nan)
    low[some], high[some] = np.nanquantile(kept, [TAIL, 1 - TAIL], axis=0)
    return low, high, finite.mean(axis=0) > 1 - _SELDOM_MISSING


def _outside(values: Floats, low: Floats, high: Floats, whole: NDArray[np.bool_]) -> Floats:
    """Return the share of columns that are outside their bounds, or missing where they never were: (rows,)."""
    finite = np.isfinite(values)
    strange = np.where(finite, (values < low) | (values > high), whole)
    return np.asarray(strange.mean(axis=1))
