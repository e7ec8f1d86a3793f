"""One position: filled, valued, closed, and what rests in the market for it; compiled, so imported where it is used.

The rules are those of `fxgpt_core.backtest.engine`; the records those of `layout`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fxgpt_core.backtest import layout

_STOP, _TRAILING, _TARGET, _NOTHING = layout.STOP, layout.TRAILING, layout.TARGET, layout.NOTHING
Records = NDArray[Any]

BUILT_ON = {"layout": "200aca1b"}
"""Hashes of what is compiled in: numba's cache watches this file alone, and would keep code of an older `layout`."""


@njit(cache=True)
def rate_at(own: bool, price: float, rate: float) -> float:
    """Return account currency per unit of quote currency for a fill at `price`."""
    return 1.0 / price if own else rate


@njit(cache=True)
def unrealised(held: Any, leg: Any, mid: float, rate: float) -> float:
    """Value of an open position at a mid price; the spread and slippage of its entry are paid already."""
    if held.direction == 0:
        return 0.0
    entry = held.entry_mid + held.direction * (held.entry_half + held.entry_slip)
    profit: float = held.direction * held.units * (mid - entry) * rate_at(leg.own_rate, mid, rate)
    return profit


@njit(cache=True)
def enter(held: Any, order: Any, bar: Any, row: int, leg: Any, free: float) -> bool:
    """Fill an entry at the open; returns False where it no longer fits the leverage."""
    rate = rate_at(leg.own_rate, bar.open, bar.rate_open)
    value = order.units * bar.open * rate
    charge = order.units * (bar.half + bar.slip) * rate + value * leg.commission
    if value + charge > free:
        return False
    held.direction, held.units = order.direction, order.units
    held.decision_bar, held.entry_bar = order.decision_bar, row
    held.entry_mid, held.entry_half, held.entry_slip, held.entry_rate = bar.open, bar.half, bar.slip, rate
    held.stop, held.target, held.trail, held.first_stop = order.stop, order.target, order.trail, order.stop
    held.commission, held.swap = value * leg.commission, 0.0
    held.expires, held.latest, held.closing = order.expires, order.latest, _NOTHING
    return True


@njit(cache=True)
def leave(
    held: Any, leg: Any, number: int, row: int, mid: float, half: float, slip: float, rate: float, reason: int,
    trade: Any,
) -> float:  # fmt: skip
    """Write the trade and return what the exit adds to cash; entry commission and swap are booked already."""
    rate = rate_at(leg.own_rate, mid, rate)
    side, units = held.direction, held.units
    fee = units * mid * rate * leg.commission
    trade.leg, trade.reason, trade.direction, trade.units = number, reason, side, units
    trade.decision_bar, trade.entry_bar, trade.exit_bar = held.decision_bar, held.entry_bar, row
    trade.entry_mid, trade.exit_mid = held.entry_mid, mid
    trade.entry_price = held.entry_mid + side * (held.entry_half + held.entry_slip)
    trade.exit_price = mid - side * (half + slip)
    trade.stop, trade.target = held.first_stop, held.target
    trade.level = held.target if reason == _TARGET else held.stop if reason in (_STOP, _TRAILING) else np.nan
    trade.entry_half, trade.exit_half, trade.entry_slip, trade.exit_slip = held.entry_half, half, held.entry_slip, slip
    trade.entry_rate, trade.exit_rate = held.entry_rate, rate
    trade.gross = side * units * (mid - held.entry_mid) * rate
    trade.spread = units * (held.entry_half + half) * rate
    trade.slippage = units * (held.entry_slip + slip) * rate
    trade.commission, trade.swap = held.commission + fee, held.swap
    trade.pnl = trade.gross - trade.spread - trade.slippage - trade.commission + trade.swap
    held.direction, held.units, held.closing = 0, 0.0, _NOTHING
    money: float = trade.gross - trade.spread - trade.slippage - fee
    return money


@njit(cache=True)
def close(held: Any, leg: Any, number: int, row: int, mid: float, half: float, slip: float, rate: float, reason: int,
          trade: Any, booked: Records) -> None:  # fmt: skip
    """Close a position and book it; `booked`: as `layout.PATH`, without open positions."""
    before = held.commission
    booked[0] += leave(held, leg, number, row, mid, half, slip, rate, reason, trade)
    booked[1] += trade.gross
    booked[2] += trade.spread
    booked[3] += trade.slippage
    booked[4] += trade.commission - before


@njit(cache=True)
def resting(held: Any, bar: Any) -> tuple[int, float, float]:
    """Return reason, mid price and slippage of what rests in the market and is touched: the stop before the target.

    A long position is closed at the bid and a short one at the ask. A gap beyond the level fills at the open.
    """
    if held.direction > 0:
        if bar.low - bar.half <= held.stop:
            reason = _TRAILING if held.stop > held.first_stop or math.isnan(held.first_stop) else _STOP
            return reason, min(bar.open, held.stop + bar.half), bar.slip
        if bar.high - bar.half >= held.target:
            return _TARGET, max(bar.open, held.target + bar.half), 0.0
    elif held.direction < 0:
        if bar.high + bar.half >= held.stop:
            reason = _TRAILING if held.stop < held.first_stop or math.isnan(held.first_stop) else _STOP
            return reason, max(bar.open, held.stop - bar.half), bar.slip
        if bar.low + bar.half <= held.target:
            return _TARGET, min(bar.open, held.target - bar.half), 0.0
    return _NOTHING, 0.0, 0.0


@njit(cache=True)
def trail(held: Any, bar: Any) -> None:
    """Let the stop follow the best price of the bar that has closed; it holds from the next bar on."""
    if math.isnan(held.trail):
        return
    if held.direction > 0:
        level = bar.high * math.exp(-held.trail)
        if math.isnan(held.stop) or level > held.stop:
            held.stop = level
    elif held.direction < 0:
        level = bar.low * math.exp(held.trail)
        if math.isnan(held.stop) or level < held.stop:
            held.stop = level


@njit(cache=True)
def bracket(bar: Any, direction: int) -> tuple[float, float]:
    """Return the order prices of stop and target of a position decided at this close, NaN where there is none."""
    return bar.close * math.exp(-direction * bar.stop), bar.close * math.exp(direction * bar.target)
