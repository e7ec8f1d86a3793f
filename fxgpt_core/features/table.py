"""`FeatureTable`: the features of one timeframe, each row usable from `known_at` on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import Timeframe


@dataclass(frozen=True)
class FeatureTable:
    """Features of one timeframe.

    `ts_utc`, `known_at`: (bars,) datetime64[ns], open and close of the bar in UTC; `values`: (bars, columns) float32,
    NaN where a window is not yet full, infinite where a faulty indicator says so; `names`: column names such as
    `rsi_15m_14`. `definition_hash` identifies formulas and parameters. Raises DataError when shapes or order are wrong.
    """

    timeframe: Timeframe
    ts_utc: NDArray[np.datetime64]
    known_at: NDArray[np.datetime64]
    names: tuple[str, ...]
    values: NDArray[np.float32]
    definition_hash: str

    def __post_init__(self) -> None:
        bars = len(self.ts_utc)
        if self.known_at.shape != (bars,) or self.values.shape != (bars, len(self.names)):
            raise DataError(
                f"Feature table {self.timeframe}: {bars} bars, known_at {self.known_at.shape}, "
                f"values {self.values.shape} for {len(self.names)} names do not fit together."
            )
        if bars > 1 and not (np.diff(self.known_at) > np.timedelta64(0, "ns")).all():
            raise DataError(f"Feature table {self.timeframe}: known_at does not increase strictly.")
        if len(set(self.names)) != len(self.names):
            raise DataError(f"Feature table {self.timeframe}: column names repeat.")

    def __len__(self) -> int:
        return len(self.ts_utc)

    def take(self, rows: NDArray[Any] | slice) -> FeatureTable:
        """Return the chosen bars."""
        return FeatureTable(
            self.timeframe, self.ts_utc[rows], self.known_at[rows], self.names, self.values[rows], self.definition_hash
        )

    def to_arrow(self) -> pa.Table:
        """Return `ts_utc`, `known_at` and one float32 column per feature."""
        kind = pa.timestamp("us", tz="UTC")
        times = [
            pa.array(t.astype("datetime64[us]"), pa.timestamp("us")).cast(kind) for t in (self.ts_utc, self.known_at)
        ]
        columns = [pa.array(np.ascontiguousarray(self.values[:, i])) for i in range(len(self.names))]
        return pa.Table.from_arrays([*times, *columns], names=["ts_utc", "known_at", *self.names])

    @classmethod
    def from_arrow(cls, table: pa.Table, timeframe: Timeframe, definition_hash: str) -> FeatureTable:
        """Rebuild a table from `to_arrow`."""
        names = tuple(n for n in table.column_names if n not in ("ts_utc", "known_at"))
        values = np.empty((table.num_rows, len(names)), dtype=np.float32)
        for i, name in enumerate(names):
            values[:, i] = table[name].to_numpy()
        times = [table[n].to_numpy().astype("datetime64[ns]") for n in ("ts_utc", "known_at")]
        return cls(timeframe, times[0], times[1], names, values, definition_hash)
