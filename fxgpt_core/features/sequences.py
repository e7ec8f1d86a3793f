"""The sequence form (SPEC 2): for chosen decision rows the bars of every timeframe that were known then, as indices.

A window of 500 bars shares 499 with the next one, so windows are never copied: `Sequences` holds where each window
starts and stops in the shared `FeatureTable`s of a `Dataset`, 8 bytes a window and timeframe, and `index` spells a
batch of them out. What is known when comes from `Dataset.last_known`, hence from `alignment.last_known` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fxgpt_core.common.config import Config
from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.features.dataset import Dataset

Indices = NDArray[np.int32]


class LookbackConfig(Config):
    """How far back the sequence form looks."""

    bars: int = Field(default=500, ge=1, le=100_000, description="Bars of the base timeframe.")
    least: int = Field(default=10, ge=1, le=100_000, description="Fewest bars of a slower timeframe.")
    timeframes: tuple[str, ...] | None = Field(
        default=None, description="Timeframes that are read; all of the dataset where nothing is said."
    )


@dataclass(frozen=True)
class Window:
    """Windows into one timeframe's table: bars `start` <= i < `stop`, at most `lookback`; empty where none was known.

    `start`, `stop`: (rows,) int32.
    """

    lookback: int
    start: Indices
    stop: Indices

    def index(self, rows: NDArray[Any] | slice = slice(None)) -> tuple[Indices, NDArray[np.bool_]]:
        """Return table rows (rows, lookback) int32, the last known bar last, and where there is a bar at all.

        Places without a bar (too little history) come first, are False in the mask and point at row 0, so that a
        gather stays within the table; an empty table has nothing to gather.
        """
        index = self.stop[rows, None] - np.arange(self.lookback, 0, -1, dtype=np.int32)  # (rows, lookback)
        known = index >= self.start[rows, None]
        return np.where(known, index, np.int32(0)), known


@dataclass(frozen=True)
class Sequences:
    """Windows of every timeframe for the base bars `rows` (rows,) int64; `windows`: timeframe code -> `Window`."""

    rows: NDArray[np.int64]
    windows: Mapping[str, Window]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Return which rows have their whole lookback in every timeframe: (rows,)."""
        full = np.ones(len(self), dtype=bool)
        for window in self.windows.values():
            full &= window.stop - window.start == window.lookback
        return full


def lookbacks(timeframes: Sequence[Timeframe], config: LookbackConfig | None = None) -> dict[str, int]:
    """Return bars per timeframe code: `config.bars` of the first, the same clock time of the others, rounded down.

    With the defaults 5m, 15m, 1h and 4h get 500, 166, 41 and 10. Raises BadInputError for unknown timeframes.
    """
    config = config or LookbackConfig()
    codes = [bar.code for bar in timeframes]
    wanted = config.timeframes if config.timeframes is not None else tuple(codes)
    for code in wanted:
        if code not in codes:
            raise BadInputError(f"Sequences of {code} are asked for, the dataset has {', '.join(codes)}: add it there.")
    span = config.bars * timeframes[0].minutes if codes else 0
    return {
        bar.code: config.bars if bar == timeframes[0] else max(config.least, span // bar.minutes)
        for bar in timeframes
        if bar.code in wanted
    }


def sequences(
    dataset: Dataset,
    rows: NDArray[np.int64],
    config: LookbackConfig | None = None,
    shift: NDArray[np.int64] | None = None,
) -> Sequences:
    """Return the windows that end with the last bar known at each decision row, per timeframe.

    `rows`: base bars. `shift`: (rows,) base bars by which a window ends earlier (see `augmentation`); every timeframe
    is then what was known at that earlier bar. Raises DataError for rows outside the dataset or negative shifts.
    """
    rows = np.asarray(rows, dtype=np.int64)
    if len(rows) and (rows.min() < 0 or rows.max() >= len(dataset)):
        raise DataError(f"Rows {rows.min()}..{rows.max()} lie outside the {len(dataset)} bars of {dataset.symbol}.")
    seen = rows
    if shift is not None:
        if len(shift) != len(rows) or (len(shift) and np.min(shift) < 0):
            raise DataError("Windows shift into the past only: give one number of bars >= 0 per row.")
        seen = np.maximum(rows - shift, 0)
    sizes = lookbacks(dataset.timeframes, config)
    windows = {}
    for column, bar in enumerate(dataset.timeframes):
        if bar.code in sizes:
            stop = (dataset.last_known[seen, column] + 1).astype(np.int32)
            start = np.maximum(stop - np.int32(sizes[bar.code]), np.int32(0))
            windows[bar.code] = Window(sizes[bar.code], start, stop)
    return Sequences(rows, windows)
