"""Stops that only the spread touched, and from which the price came back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.backtest.table_times import array_times
from fxgpt_core.market.candles import Candles


def averaged_entries(judged: pd.DataFrame) -> pd.DataFrame:
    """Return filled entries by position: `filled` and what columns of `cost` and `expected_cost` there are summed,
    `mid` and `signal_price` averaged by units.
    """
    entries = judged[(judged["purpose"] == "entry") & (judged["filled"] > 0)]
    prices = ["mid", "signal_price"]
    summed = [name for name in ("filled", "cost", "expected_cost") if name in entries]
    weighted = entries.assign(**{name: entries[name] * entries["filled"] for name in prices})
    out = weighted.groupby("position")[[*prices, *summed]].sum()
    out[prices] = out[prices].div(out["filled"], axis=0)
    return out


def false_stops(judged: pd.DataFrame, candles: Mapping[str, Candles], back_bars: int) -> NDArray[Any]:
    """Return for each order True or False where it is a filled stop on known bars, else None: (orders,).

    A long position's stop is touched by the bid. It was false when the mid price of that bar stayed above the level,
    and within it and the next `back_bars` bars the mid was at the average entry price again; mirrored for short ones.
    `judged`: columns symbol, kind, purpose, position, direction, signal_price (the level), mid, filled, filled_at.
    """
    out = np.full(len(judged), None, dtype=object)
    entry_mid = judged["position"].map(averaged_entries(judged)["mid"]).to_numpy(dtype=np.float64)
    chosen = ((judged["kind"] == "stop") & (judged["filled"] > 0) & ~np.isnan(entry_mid)).to_numpy()
    for symbol, bars in candles.items():
        rows = np.flatnonzero(chosen & (judged["symbol"] == symbol).to_numpy())
        at = np.searchsorted(bars.ts_utc, array_times(judged["filled_at"].iloc[rows]), side="right") - 1
        for row, bar in zip(rows[at >= 0], at[at >= 0], strict=True):
            level, side = float(judged["signal_price"].iloc[row]), -int(judged["direction"].iloc[row])
            ahead = slice(bar, bar + back_bars + 1)
            if side > 0:
                out[row] = bool(bars.low[bar] > level and bars.high[ahead].max() >= entry_mid[row])
            else:
                out[row] = bool(bars.high[bar] < level and bars.low[ahead].min() <= entry_mid[row])
    return out
