"""The one place where a slower timeframe meets the base bars: as-of on `known_at`, never on open time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.features.dataset import Dataset

Times = NDArray[np.datetime64]


def last_known(base_known_at: Times, slower_known_at: Times) -> NDArray[np.int64]:
    """Return for each base bar the row of the last slower bar known by then, -1 where there is none: (bars,).

    Both arrays increase strictly; a slower bar that closes with the base bar counts as known.
    """
    return np.searchsorted(slower_known_at, base_known_at, side="right").astype(np.int64) - 1


def flat(dataset: Dataset, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return the flat form (SPEC 2): features of every timeframe known at the chosen base bars.

    Values are (rows, columns) float32, NaN where a timeframe has no known bar yet; names are unique because each
    carries its timeframe. Raises DataError when rows lie outside the dataset.
    """
    if len(rows) and (rows.min() < 0 or rows.max() >= len(dataset)):
        raise DataError(f"Rows {rows.min()}..{rows.max()} lie outside the {len(dataset)} bars of {dataset.symbol}.")
    tables = [dataset.tables[t.code] for t in dataset.timeframes]
    out = np.empty((len(rows), sum(len(table.names) for table in tables)), dtype=np.float32)
    first = 0
    for index, table in enumerate(tables):
        found = dataset.last_known[rows, index]
        part = out[:, first : first + len(table.names)]
        if len(table):
            part[:] = table.values[np.maximum(found, 0)]
        part[found < 0] = np.nan
        first += len(table.names)
    return out, tuple(name for table in tables for name in table.names)
