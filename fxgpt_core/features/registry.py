"""The registry of indicators: each is declared once, with group, parameters, warm-up and source (SPEC 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import ConfigError
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market.candles import Candles

Floats = NDArray[np.float64]
Columns = Mapping[tuple[Any, ...], Floats]
Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Bars:
    """What an indicator may look at: the bars of one timeframe from the anchor of a block on, (bars,) each.

    Arrays are contiguous float64 (`volume` may be NaN); `ts_utc` and `known_at` are open and close in UTC.
    """

    timeframe: Timeframe
    ts_utc: NDArray[np.datetime64]
    known_at: NDArray[np.datetime64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    @classmethod
    def of(cls, candles: Candles) -> Bars:
        """Return the view of `candles`."""
        arrays = {n: np.ascontiguousarray(getattr(candles, n)) for n in ("open", "high", "low", "close", "volume")}
        return cls(candles.timeframe, candles.ts_utc, candles.known_at, **arrays)

    def __len__(self) -> int:
        return len(self.ts_utc)

    @cached_property
    def log_return(self) -> Floats:
        """Log of close / previous close, NaN at the first bar: (bars,)."""
        out = np.full(len(self), np.nan)
        out[1:] = np.log(self.close[1:] / self.close[:-1])
        return out


@dataclass(frozen=True)
class Indicator:
    """One registered indicator.

    `function(bars, **parameters)` returns columns keyed by (stem, *suffixes); the stored name is
    `stem_timeframe_suffix…`, for example `bb_h_5m_20_2.0`. It must be causal: row t depends on bars <= t only.
    `warm_up(parameters)` is the number of leading bars on which some column is not yet defined; `version` rises when
    the formula changes, so that stored tables are recomputed.
    """

    name: str
    group: str
    source: str
    function: Callable[..., Columns]
    warm_up: Callable[[Parameters], int]
    parameters: Parameters = field(default_factory=dict)
    version: int = 1

    def resolved(self, overrides: Parameters) -> dict[str, Any]:
        """Return the parameters with `overrides` laid over; raises ConfigError for a name it does not have."""
        unknown = sorted(set(overrides) - set(self.parameters))
        if unknown:
            known = ", ".join(self.parameters) or "none"
            raise ConfigError(f"Indicator {self.name} has no parameter {unknown[0]!r}: known are {known}.")
        return {**self.parameters, **overrides}

    def compute(self, bars: Bars, parameters: Parameters) -> dict[str, Floats]:
        """Return the columns by stored name, (bars,) float64 each."""
        columns = self.function(bars, **parameters)
        return {column_name(key, bars.timeframe): values for key, values in columns.items()}


def column_name(key: tuple[Any, ...], bar: Timeframe) -> str:
    """Return the stored name of a column: ("bb_h", 20, 2.0) at 5m -> `bb_h_5m_20_2.0`."""
    return "_".join([str(key[0]), bar.code, *(str(part) for part in key[1:])])


_INDICATORS: dict[str, Indicator] = {}


def feature(
    name: str, *, group: str, source: str, warm_up: Callable[[Parameters], int], version: int = 1, **parameters: Any
) -> Callable[[Callable[..., Columns]], Callable[..., Columns]]:
    """Register the decorated function as indicator `name`; keyword arguments are its parameters with defaults."""

    def register(function: Callable[..., Columns]) -> Callable[..., Columns]:
        if name in _INDICATORS:
            raise ConfigError(f"Indicator {name} is registered twice: give one of them another name.")
        frozen = MappingProxyType(dict(parameters))
        _INDICATORS[name] = Indicator(name, group, source, function, warm_up, frozen, version)
        return function

    return register


def indicators() -> Mapping[str, Indicator]:
    """Return every registered indicator by name, in order of registration."""
    import fxgpt_core.features.indicators  # noqa: F401 - importing the groups registers them

    return _INDICATORS
