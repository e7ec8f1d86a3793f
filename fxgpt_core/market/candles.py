"""`Candles`: bars of one symbol and timeframe, stamped by their open, with the invariants that everything believes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import Timeframe, timeframe

SIDES = ("mid", "bid", "ask")
_COLUMNS = ("open", "high", "low", "close", "volume", "spread")

SCHEMA = pa.schema(
    [("ts_utc", pa.timestamp("us", tz="UTC")), *((name, pa.float64()) for name in _COLUMNS)],
)
"""Arrow schema of candles at rest; `volume` and `spread` may be null."""


@dataclass(frozen=True)
class Candles:
    """Bars of one symbol.

    `ts_utc`: (bars,) datetime64[ns], the bar's OPEN in UTC, strictly increasing. OHLC: (bars,) float64 prices.
    `volume`: (bars,) tick count, NaN where the venue gives none. `spread`: (bars,) price units, NaN where unknown.
    `side` is the price side of all OHLC values. Raises DataError when built from bars that contradict themselves.
    """

    symbol: str
    timeframe: Timeframe
    side: str
    ts_utc: NDArray[np.datetime64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    spread: NDArray[np.float64]

    def __post_init__(self) -> None:
        bars = len(self.ts_utc)
        for name in ("ts_utc", *_COLUMNS):
            # NumPy may take another road to a logarithm over strided memory, a last bit apart, by where it lies.
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name)))
        for name in _COLUMNS:
            if getattr(self, name).shape != (bars,):
                self._fail(f"{name} has shape {getattr(self, name).shape}, expected ({bars},)")
        if self.ts_utc.dtype != np.dtype("datetime64[ns]"):
            self._fail(f"ts_utc has type {self.ts_utc.dtype}, expected datetime64[ns]")
        if self.side not in SIDES:
            self._fail(f"side {self.side!r} is none of {SIDES}")
        if bars > 1 and not (np.diff(self.ts_utc) > np.timedelta64(0, "ns")).all():
            self._fail("ts_utc does not increase strictly")
        prices = np.stack([self.open, self.high, self.low, self.close])
        if not (np.isfinite(prices).all() and (prices > 0).all()):
            self._fail("a price is missing, zero or negative")
        if (self.high < np.maximum(self.open, self.close)).any() or (
            self.low > np.minimum(self.open, self.close)
        ).any():
            self._fail("a high or low does not enclose its open and close")

    def _fail(self, what: str) -> None:
        raise DataError(
            f"Candles of {self.symbol} {self.timeframe}: {what}. Quarantine such rows before building candles."
        )

    def __len__(self) -> int:
        return len(self.ts_utc)

    @property
    def known_at(self) -> NDArray[np.datetime64]:
        """The bars' close times, the first instant at which a bar may be used: (bars,) datetime64[ns], UTC."""
        return self.ts_utc + self.timeframe.duration

    def take(self, rows: NDArray[Any] | slice) -> Candles:
        """Return the chosen bars (mask, increasing indices or slice)."""
        arrays = {
            f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name not in ("symbol", "timeframe", "side")
        }
        return Candles(self.symbol, self.timeframe, self.side, **arrays)

    def until(self, moment: np.datetime64) -> Candles:
        """Return the bars known at `moment`."""
        return self.take(slice(0, int(np.searchsorted(self.known_at, moment, side="right"))))

    def to_arrow(self) -> pa.Table:
        """Return the bars as an Arrow table of `SCHEMA`."""
        columns = [pa.array(self.ts_utc.astype("datetime64[us]"), pa.timestamp("us")).cast(SCHEMA.field(0).type)]
        columns += [pa.array(getattr(self, name), from_pandas=True) for name in _COLUMNS]
        return pa.Table.from_arrays(columns, schema=SCHEMA)

    def to_frame(self) -> pd.DataFrame:
        """Return OHLC, volume and spread indexed by `ts_utc` (UTC-aware)."""
        index = pd.DatetimeIndex(self.ts_utc, name="ts_utc").tz_localize("UTC")
        return pd.DataFrame({name: getattr(self, name) for name in _COLUMNS}, index=index)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, symbol: str, bar: str | Timeframe, side: str) -> Candles:
        """Build candles from a frame with `ts_utc` as a UTC-aware index or column; volume and spread are optional."""
        if "ts_utc" in frame.columns:
            frame = frame.set_index("ts_utc")
        index = pd.DatetimeIndex(frame.index)
        if index.tz is None:
            raise DataError(f"Candles of {symbol}: ts_utc has no time zone; localise it before building candles.")
        missing = np.full(len(frame), np.nan)
        values = {
            name: frame[name].to_numpy(dtype=np.float64, na_value=np.nan) if name in frame.columns else missing.copy()
            for name in _COLUMNS
        }
        stamps = index.tz_convert("UTC").tz_localize(None).to_numpy(dtype="datetime64[ns]")
        return cls(symbol, timeframe(bar), side, stamps, **values)

    @classmethod
    def from_arrow(cls, table: pa.Table, symbol: str, bar: str | Timeframe, side: str) -> Candles:
        """Build candles from an Arrow table of `SCHEMA` (extra columns are ignored)."""
        stamps = table["ts_utc"].to_numpy().astype("datetime64[ns]")
        values = {name: table[name].to_numpy().astype(np.float64) for name in _COLUMNS}
        return cls(symbol, timeframe(bar), side, stamps, **values)
