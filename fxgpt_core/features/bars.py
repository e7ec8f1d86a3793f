"""What an indicator may look at: the bars of its timeframe, and what surrounds them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.hashing import bytes_hash
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market.candles import Candles

if TYPE_CHECKING:
    from fxgpt_core.market.events.releases import Events

Floats = NDArray[np.float64]
_T = TypeVar("_T")
Times = NDArray[np.datetime64]


@dataclass(frozen=True)
class Releases:
    """Scheduled releases of a pair's two currencies, ascending in time, (releases,) each.

    `ts_utc`: when; `of_base`: of the pair's base currency, otherwise of its quote currency; `impact`: rank within
    `IMPACTS`; `known_at`: since when the date was public, NaT where the source does not say: regular releases are
    announced months ahead, what is called at short notice must carry the time. What they will say does not occur here.
    """

    ts_utc: Times
    of_base: NDArray[np.bool_]
    impact: NDArray[np.int8]
    known_at: Times

    @classmethod
    def of(cls, events: Events, symbol: str) -> Releases:
        """Return those of `events` that belong to the pair."""
        from fxgpt_core.market.events.files import IMPACTS

        base, quote = symbol[:3], symbol[3:]
        ours = np.isin(events.currency.astype(str), (base, quote))
        rank = {name: number for number, name in enumerate(IMPACTS)}
        impact = np.array([rank[name] for name in events.impact[ours]], dtype=np.int8)
        of_base = events.currency[ours].astype(str) == base
        return cls(events.ts_utc[ours], of_base, impact, events.known_at[ours])

    def __len__(self) -> int:
        return len(self.ts_utc)

    def checksum(self) -> str:
        """Return a hash of the releases."""
        arrays = (self.ts_utc, self.of_base, self.impact, self.known_at)
        return bytes_hash(b"".join(array.tobytes() for array in arrays))

    def take(self, rows: NDArray[np.bool_] | slice) -> Releases:
        """Return the chosen releases."""
        return Releases(self.ts_utc[rows], self.of_base[rows], self.impact[rows], self.known_at[rows])

    def public(self, moment: np.datetime64) -> Releases:
        """Return the releases whose date was public at `moment`."""
        return self.take(~(self.known_at > moment))  # NaT compares false

    def between(self, first: np.datetime64, last: np.datetime64) -> Releases:
        """Return the releases in [first, last]."""
        return self.take(slice(*np.searchsorted(self.ts_utc, [first, last + np.timedelta64(1, "ns")])))


@dataclass(frozen=True)
class Surroundings:
    """What a timeframe's features may read besides its own bars: the pair's slower candles by code, and releases.

    `releases` is None where the lake has no economic calendar for both currencies.
    """

    slower: Mapping[str, Candles] = field(default_factory=dict)
    releases: Releases | None = None


@dataclass(frozen=True)
class Bars:
    """The bars of one timeframe from the anchor of a block on, (bars,) each.

    Arrays are contiguous float64 (`volume` and `spread` may be NaN); `ts_utc` and `known_at` are open and close in UTC.
    `slower`: the bars of slower timeframes, joined by what was known. `releases`: the economic calendar, None without.
    """

    symbol: str
    timeframe: Timeframe
    ts_utc: Times
    known_at: Times
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    spread: Floats
    slower: tuple[SlowerBars, ...] = ()
    releases: Releases | None = None
    _made: dict[tuple[Hashable, ...], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, candles: Candles, slower: tuple[SlowerBars, ...] = (), releases: Releases | None = None) -> Bars:
        """Return the view of `candles`."""
        names = ("open", "high", "low", "close", "volume", "spread")
        arrays = {name: np.ascontiguousarray(getattr(candles, name), dtype=np.float64) for name in names}
        return cls(
            candles.symbol,
            candles.timeframe,
            candles.ts_utc,
            candles.known_at,
            **arrays,
            slower=slower,
            releases=releases,
        )

    def __len__(self) -> int:
        return len(self.ts_utc)

    def part(self, rows: slice) -> Bars:
        """Return a view of some rows, without what surrounds them."""
        times = (self.ts_utc[rows], self.known_at[rows])
        prices = (self.open[rows], self.high[rows], self.low[rows], self.close[rows])
        return Bars(self.symbol, self.timeframe, *times, *prices, self.volume[rows], self.spread[rows])

    def once(self, key: tuple[Hashable, ...], make: Callable[[], _T]) -> _T:
        """Return what `make` gives, made once for these bars; `key` says everything that it depends on besides them."""
        if key not in self._made:
            self._made[key] = make()
        made: _T = self._made[key]
        return made

    def checksum(self) -> str:
        """Return a hash of the bars themselves, without what surrounds them."""
        arrays = (self.ts_utc, self.open, self.high, self.low, self.close, self.volume, self.spread)
        return bytes_hash(b"".join(array.tobytes() for array in arrays))

    @cached_property
    def log_return(self) -> Floats:
        """Log of close / previous close, NaN at the first bar: (bars,)."""
        out = np.full(len(self), np.nan)
        out[1:] = np.log(self.close[1:] / self.close[:-1])
        return out

    @cached_property
    def squared_return(self) -> Floats:
        """Squared log return, NaN at the first bar: (bars,)."""
        return np.asarray(self.log_return * self.log_return)

    @cached_property
    def log_range(self) -> Floats:
        """Log of high / low: (bars,)."""
        return np.asarray(np.log(self.high / self.low))


@dataclass(frozen=True)
class SlowerBars:
    """Bars of a slower timeframe and, for each bar of the faster one, the row of the last one known at its close.

    `row`: (faster bars,) int64, -1 where none is known yet; made by `alignment.last_known` alone.
    """

    bars: Bars
    row: NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.row) and self.row.max() >= len(self.bars):
            raise DataError(f"Row {self.row.max()} is none of {len(self.bars)} {self.bars.timeframe} bars.")

    def at(self, values: Floats) -> Floats:
        """Return values of the slower bars, (slower bars,), as they were known at each faster bar: (faster bars,)."""
        out = np.full(len(self.row), np.nan)
        known = self.row >= 0
        out[known] = values[self.row[known]]
        return out
