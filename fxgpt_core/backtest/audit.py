"""What must be true of any backtest's tables, whoever made them: each function returns sentences, none where it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.backtest.table_times import array_times
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.market.calendar import week_close
from fxgpt_core.market.candles import Candles

_KINDS = {"spread": "spread_cost", "slippage": "slippage_cost", "commission": "commission"}
_TOLERANCE = 1e-6
_SAME_PRICE = 1e-9


def before_their_forecast(orders: pd.DataFrame, fills: pd.DataFrame, forecast: Forecast) -> list[str]:
    """Find entries that were decided at no calibrated forecast, by a model that had seen that time, or that were filled
    before they were decided.
    """
    entries = orders[orders["purpose"] == "entry"]
    decided = array_times(entries["decided_at"])
    usable = np.asarray(forecast.calibration_version != "", dtype=bool)
    ahead = np.asarray(forecast.trained_until < forecast.decided_at, dtype=bool)
    found = first_of(
        "entries were decided when no calibrated forecast was", decided[~np.isin(decided, forecast.decided_at[usable])]
    )
    early = ~np.isin(decided, forecast.decided_at[usable & ahead]) & np.isin(decided, forecast.decided_at[usable])
    found += first_of("entries rest on a model that was trained on their own time", decided[early])
    both = fills.merge(orders[["order", "decided_at"]], on="order")
    at, known = array_times(both["filled_at"]), array_times(both["decided_at"])
    return found + first_of("fills happened before their order was decided", at[at < known])


def against_their_forecast(orders: pd.DataFrame, forecast: Forecast, horizon: int, mid: Candles) -> list[str]:
    """Find entries that go against what the calibrated forecast of their decision says, or that saw another price.

    `horizon`: the traded one in minutes; `mid`: the pair's bars. A side is the sign of P(up) - 1/2; prices agree within
    a billionth. Entries at no forecast or no close are counted here as well.
    """
    entries = orders[orders["purpose"] == "entry"]
    decided, direction = array_times(entries["decided_at"]), entries["direction"].to_numpy()
    rows = forecast.take(np.asarray(forecast.calibration_version != "", dtype=bool))
    side = np.sign(rows.probability_up()[:, rows.column(horizon)] - 0.5)
    wrong = ~(_at(rows.decided_at, side, decided) == direction)
    found = first_of("entries go against the side that their forecast says", decided[wrong])
    seen, close = entries["signal_price"].to_numpy(dtype=np.float64), _at(mid.known_at, mid.close, decided)
    other = ~(np.abs(seen - close) <= _SAME_PRICE * close)
    return found + first_of("entries saw another price than the close at their decision", decided[other])


def _at(times: NDArray[np.datetime64], values: NDArray[Any], when: NDArray[np.datetime64]) -> NDArray[np.float64]:
    """Return the value of exactly each time, NaN where there is none: (when,)."""
    if not len(times):
        return np.full(len(when), np.nan)
    row = np.minimum(np.searchsorted(times, when), len(times) - 1)
    return np.where(times[row] == when, values[row], np.nan)


def over_the_weekend(trades: pd.DataFrame) -> list[str]:
    """Find positions that were still held when their week had closed."""
    entered, left = array_times(trades["entry_time"]), array_times(trades["exit_time"])
    if not len(trades):
        return []
    return first_of("positions were held over the weekend, entered", entered[left > week_close(entered)])


def unreconciled(
    trades: pd.DataFrame, orders: pd.DataFrame, fills: pd.DataFrame, summary: Mapping[str, Any]
) -> list[str]:
    """Find money that does not add up: trades against their fills, and equity against trades and costs.

    `summary`: of `BacktestResult.summary`. Amounts agree within a millionth of the initial cash.
    """
    cash = float(summary["initial_cash"])
    most, found = _TOLERANCE * cash, []
    gross, pnl = trades["gross_pnl"].to_numpy(), trades["pnl"].to_numpy()
    net = gross - sum(trades[name].to_numpy() for name in _KINDS.values()) + trades["swap"].to_numpy()
    found += first_of(
        "trades earned other than gross less costs", array_times(trades["entry_time"])[abs(net - pnl) > most]
    )
    joined = fills.merge(orders[["order", "position", "purpose", "direction"]], on="order").set_index("position")
    enter, leave = (joined[joined["purpose"] == purpose].sort_index() for purpose in ("entry", "exit"))
    if len(enter) != len(trades) or not enter.index.equals(leave.index):
        found.append(f"{len(trades)} trades, but {len(enter)} entries and {len(leave)} exits were filled.")
    else:
        moved = enter["direction"] * leave["units"] * (leave["mid"] - enter["mid"]) * leave["rate"]
        found += _differs("gross profit of the fills", float(moved.sum()), "of the trades", float(gross.sum()), most)
    for kind, column in _KINDS.items():
        paid = float(trades[column].sum())
        found += _differs(f"{kind} of the fills", float(fills[kind].sum()), "of the trades", paid, most)
        found += _differs(f"{kind} of the trades", paid, "of the summary", summary["costs"][f"{kind}_paid"], most)
    swap = -float(trades["swap"].sum())
    found += _differs("swap of the trades", swap, "of the summary", summary["costs"]["swap_paid"], most)
    end = cash * (1 + float(summary["metrics"]["return"]))
    total = cash + float(pnl.sum())
    return found + _differs("final equity", end, "cash and trades", max(total, 0.0), most)


def _differs(what: str, one: float, against: str, other: float, most: float) -> list[str]:
    return [f"The {what} is {one:,.4f}, {against} {other:,.4f}."] if abs(one - other) > most else []


def first_of(what: str, times: NDArray[np.datetime64]) -> list[str]:
    """Return one sentence with count and first time, nothing where there is none."""
    return [f"{len(times)} {what} (first {np.datetime_as_string(times.min(), 'm')} UTC)."] if len(times) else []
