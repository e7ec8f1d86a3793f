"""What trading costs at each bar of a pair: spread, slippage and swap; and the mid prices they are counted from."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.market.calendar import NEW_YORK
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.instrument_config import InstrumentsConfig
from fxgpt_core.market.instruments import Instrument
from fxgpt_core.market.market_hours import MarketHours
from fxgpt_core.market.rollover import rollovers, swap_per_night
from fxgpt_core.market.sessions import sessions_at
from fxgpt_core.market.zones import to_local
from fxgpt_core.store.asset_config import Costs

Floats = NDArray[np.float64]
_TRUE_RANGE_BARS = 24
_TO_MID = {"bid": 1.0, "mid": 0.0, "ask": -1.0}


@dataclass(frozen=True)
class Charges:
    """Costs at each bar (all: (bars,)), in price units of the pair.

    `half`: half the spread that a fill in the bar pays; `slip`: what a fill at market pays on top, known at the close
    before; `nights`: nights charged at the bar's open to positions that came into it; `swap_long`, `swap_short`:
    credited per night and unit of the base currency.
    """

    half: Floats
    slip: Floats
    nights: NDArray[np.int64]
    swap_long: Floats
    swap_short: Floats

    def take(self, rows: NDArray[Any] | slice) -> Charges:
        """Return the charges of the chosen bars; nights are those of the bars alone, not of what was left out."""
        return Charges(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @property
    def constant(self) -> bool:
        """Whether every fill pays the same and no night costs anything."""
        steady = np.ptp(self.half) == 0 and np.ptp(self.slip) == 0
        return bool(steady and not (self.nights * (abs(self.swap_long) + abs(self.swap_short))).any())


def charges(
    candles: Candles, pair: Instrument, costs: Costs, instruments: InstrumentsConfig, hours: MarketHours
) -> Charges:
    """Return what trades on `candles` pay; a spread that the bars do not carry is that of the session."""
    half = half_spread(candles, pair, costs, instruments)
    slip = np.full(len(candles), costs.slippage_pips * pair.pip)
    if costs.slippage_volatility:
        slip += costs.slippage_volatility * np.r_[0.0, true_range(candles)[:-1]]
    nights = np.zeros(len(candles), dtype=np.int64)
    long = short = np.zeros(len(candles))
    if costs.swap:
        opens = candles.ts_utc
        nightly = rollovers(pair, opens[0], opens[-1], hours)
        nights[1:] = nightly.between(opens[:-1], opens[1:])
        long, short = swap_per_night(pair, opens, candles.open, instruments)
    return Charges(half, slip, nights, long, short)


def half_spread(candles: Candles, pair: Instrument, costs: Costs, instruments: InstrumentsConfig) -> Floats:
    """Return half the spread in price units: (bars,)."""
    half = np.full(len(candles), costs.spread_pips * pair.pip / 2)
    if costs.spread == "constant":
        return half
    half *= session_factor(candles.ts_utc, instruments.spread_sessions)
    return np.where(np.isnan(candles.spread), half, candles.spread / 2) if costs.spread == "data" else half


def session_factor(times: NDArray[np.datetime64], factors: dict[str, float]) -> Floats:
    """Return the factor of the liveliest session at work at each time; the hour after 17:00 New York has its own."""
    out = np.full(len(times), np.inf)
    for name, working in sessions_at(times).items():
        out[working] = np.minimum(out[working], factors[name])
    local = to_local(times, NEW_YORK)
    hour = (local - local.astype("datetime64[D]")).astype("timedelta64[h]").astype(np.int64)
    out[hour == 17] = factors["rollover"]
    return np.where(np.isfinite(out), out, factors["rollover"])


def true_range(candles: Candles, bars: int = _TRUE_RANGE_BARS) -> Floats:
    """Return the mean true range of the last `bars` bars (fewer at the start), known at each close: (bars,).

    Wilder (1978), with a plain mean: the high or the close before, less the low or the close before.
    """
    before = np.r_[candles.open[0], candles.close[:-1]]
    reach = np.maximum(candles.high, before) - np.minimum(candles.low, before)
    total = np.r_[0.0, np.cumsum(reach)]
    end = np.arange(1, len(reach) + 1)
    start = np.maximum(end - bars, 0)
    return np.asarray((total[end] - total[start]) / (end - start))


def as_mid(candles: Candles, half: Floats) -> Candles:
    """Return the bars as mid prices: bid bars lie half the spread below, ask bars above."""
    shift = _TO_MID[candles.side] * half
    if not shift.any():
        return candles if candles.side == "mid" else replace(candles, side="mid")
    prices = {name: getattr(candles, name) + shift for name in ("open", "high", "low", "close")}
    return replace(candles, side="mid", **prices)
