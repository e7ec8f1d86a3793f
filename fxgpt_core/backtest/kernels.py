"""The compiled loop of the ledger; numba loads slowly, so that this module is imported where it is used.

The rules are those of `fxgpt_core.backtest.engine`; the records those of `layout`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fxgpt_core.backtest import layout
from fxgpt_core.backtest.exposure import tightest

_HOLDING, _REVERSAL, _WEEKEND, _MAXIMUM = layout.HOLDING, layout.REVERSAL, layout.WEEKEND, layout.MAXIMUM
_STOP, _TRAILING, _TARGET, _END, _RUIN = layout.STOP, layout.TRAILING, layout.TARGET, layout.END, layout.RUIN
_NOTHING, _MARGIN, _SIZE, _TIME = layout.NOTHING, layout.BY_MARGIN, layout.BY_SIZE, layout.BY_TIME
_COLUMNS = len(layout.PATH)
Records = NDArray[Any]

BUILT_ON = {"layout": "06ba2e2a", "exposure": "1e3cc5f1"}
"""Hashes of what is compiled in: numba's cache watches this file alone, and would keep code of older ones."""


@njit(cache=True)
def rate_at(own: bool, price: float, rate: float) -> float:
    """Return account currency per unit of quote currency for a fill at `price`."""
    return 1.0 / price if own else rate


@njit(cache=True)
def asked(leg: Any, fraction: float, base: float, value: float) -> float:
    """Return the units that the sizing wants, within the pair's own caps.

    `base`: equity or balance; `value`: account currency per unit of base currency.
    """
    units = leg.fixed_units if leg.fixed_units > 0 else fraction * base / value
    most: float = min(units, leg.max_fraction * base / value, leg.max_units)
    return most


@njit(cache=True)
def whole_lots(leg: Any, units: float) -> float:
    """Return `units` in whole steps of the lot, 0 where the broker's smallest is out of reach."""
    if not units > 0:
        return 0.0
    whole: float = math.floor(units / leg.lot + 1e-9) * leg.lot
    return whole if whole >= leg.min_units else 0.0


@njit(cache=True)
def _unrealised(held: Any, leg: Any, mid: float, rate: float) -> float:
    """Value of an open position at a mid price; the spread and slippage of its entry are paid already."""
    if held.direction == 0:
        return 0.0
    entry = held.entry_mid + held.direction * (held.entry_half + held.entry_slip)
    profit: float = held.direction * held.units * (mid - entry) * rate_at(leg.own_rate, mid, rate)
    return profit


@njit(cache=True)
def _enter(held: Any, order: Any, bar: Any, row: int, leg: Any, free: float) -> bool:
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
def _leave(
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
def _resting(held: Any, bar: Any) -> tuple[int, float, float]:
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
def _trail(held: Any, bar: Any) -> None:
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
def wants(held: Any, bar: Any, account: Any) -> tuple[int, bool]:
    """Return the reason to close at the next open (-1: none) and whether to enter there."""
    signal = bar.direction
    if bar.flat:
        return (_WEEKEND if held.direction != 0 else _NOTHING), False
    if held.direction == 0:
        return _NOTHING, signal != 0
    if held.bars >= held.latest:
        return _MAXIMUM, False
    if signal == held.direction:
        return _NOTHING, False
    if signal != 0 and account.exit_on_opposite:
        return _REVERSAL, True
    return (_HOLDING if held.bars >= held.expires else _NOTHING), False


@njit(cache=True)
def bracket(bar: Any, direction: int) -> tuple[float, float]:
    """Return the order prices of stop and target of a position decided at this close, NaN where there is none."""
    return bar.close * math.exp(-direction * bar.stop), bar.close * math.exp(direction * bar.target)


@njit(cache=True)
def _order(order: Any, held: Any, bar: Any, row: int, leg: Any, units: float) -> None:
    order.direction, order.units, order.decision_bar = bar.direction, units, row
    order.stop, order.target = bracket(bar, bar.direction)
    order.trail = bar.trail
    order.expires, order.latest = held.bars + leg.hold, held.bars + leg.longest


@njit(cache=True, nogil=True)
def run(bars: Records, legs: Records, account: Any, limits: Any, returns: Records, held: Records, orders: Records,
        trades: Records, limited: Records, path: Records,
        equity: Records) -> tuple[int, int, int, int, int]:  # fmt: skip
    """Run the book bar by bar; returns how many trades were written, orders refused for margin, orders too small for
    the broker, entries cancelled because their bar opened late, and entries noted in `limited`.

    `bars`: (bars, legs) of `layout.BAR`; `returns`: (legs, bars before them and bars) as `Book.returns`; `held`,
    `orders`: (legs,) of `layout.POSITION`, zeroed; `trades`: (at least as many as signals,) of `layout.TRADE`;
    `limited`: (at least twice as many,) of `layout.LIMITED`; `path`: (bars, 6); `equity`: (bars,). From `held` on all
    are filled.
    """
    rows, count = bars.shape
    cash, done, refused, small, late, noted = account.cash, 0, 0, 0, 0, 0
    exposed = np.zeros(count)
    paid = np.zeros(_COLUMNS)  # gross, spread, slippage, commission, swap of what is closed or booked: columns 1..
    for row in range(rows):
        for leg in range(count):
            bar, mine = bars[row, leg], held[leg]
            if mine.direction != 0 and bar.nights > 0:
                night = bar.swap_long if mine.direction > 0 else bar.swap_short
                price = bar.open if bar.present else mine.last_mid
                swap = mine.units * night * bar.nights * rate_at(legs[leg].own_rate, price, bar.rate_open)
                mine.swap += swap
                cash += swap
                paid[5] += swap
        for leg in range(count):
            bar, mine = bars[row, leg], held[leg]
            if bar.present and mine.direction != 0 and mine.closing != _NOTHING:
                cash += _close(mine, legs[leg], leg, row, bar.open, bar.half, bar.slip, bar.rate_open, mine.closing,
                               trades[done], paid)  # fmt: skip
                done += 1
        for leg in range(count):
            bar, order = bars[row, leg], orders[leg]
            if bar.present and order.direction != 0:
                free = _free(bars[row], legs, held, account.leverage, cash, True)
                if bar.late:
                    late += 1
                    _note(limited[noted], leg, order.decision_bar, order.direction, _TIME, -1, order.units, 0.0, False)
                    noted += 1
                elif _enter(held[leg], order, bar, row, legs[leg], free):
                    cash -= held[leg].commission
                    paid[4] += held[leg].commission
                else:
                    refused += 1
                    _note(limited[noted], leg, order.decision_bar, order.direction, _MARGIN, -1, order.units,
                          order.units, True)  # fmt: skip
                    noted += 1
                order.direction = 0
        for leg in range(count):
            bar, mine = bars[row, leg], held[leg]
            if not bar.present:
                continue
            reason, mid, slip = _resting(mine, bar)
            if reason != _NOTHING:
                cash += _close(mine, legs[leg], leg, row, mid, bar.half, slip, bar.rate_open, reason,
                               trades[done], paid)  # fmt: skip
                done += 1
            mine.last_mid = bar.close
        equity[row] = _mark(bars[row], legs, held, cash, paid, path[row])
        ruined = equity[row] <= 0
        for leg in range(count):
            bar, mine = bars[row, leg], held[leg]
            if mine.direction != 0 and (ruined or row == legs[leg].last):
                cash += _close(mine, legs[leg], leg, row if ruined else row + 1, mine.last_mid, bar.half,
                               bar.slip if ruined or bar.present else 0.0, bar.rate_close,
                               _RUIN if ruined else _END, trades[done], paid)  # fmt: skip
                done += 1
        if ruined:
            equity[row:] = 0.0
            path[row:, 0] = 0.0
            path[row:, 1:] = paid[1:]
            break
        equity[row] = _mark(bars[row], legs, held, cash, paid, path[row])
        few, noted = _decide(bars[row], row, legs, account, limits, returns, held, orders, exposed, limited, noted,
                             cash, equity[row])  # fmt: skip
        small += few
    return done, refused, small, late, noted


@njit(cache=True)
def _close(held: Any, leg: Any, number: int, row: int, mid: float, half: float, slip: float, rate: float, reason: int,
           trade: Any, paid: Records) -> float:  # fmt: skip
    before = held.commission
    money: float = _leave(held, leg, number, row, mid, half, slip, rate, reason, trade)
    paid[1] += trade.gross
    paid[2] += trade.spread
    paid[3] += trade.slippage
    paid[4] += trade.commission - before
    return money


@njit(cache=True)
def _mark(bars: Records, legs: Records, held: Records, cash: float, paid: Records, path: Records) -> float:
    """Return equity at the close and write the account's path: open positions are valued at mid."""
    path[0] = cash
    path[1:] = paid[1:]
    equity = cash
    for leg in range(len(legs)):
        mine = held[leg]
        if mine.direction != 0:
            rate = rate_at(legs[leg].own_rate, mine.last_mid, bars[leg].rate_close)
            equity += _unrealised(mine, legs[leg], mine.last_mid, bars[leg].rate_close)
            path[1] += mine.direction * mine.units * (mine.last_mid - mine.entry_mid) * rate
            path[2] += mine.units * mine.entry_half * rate
            path[3] += mine.units * mine.entry_slip * rate
    return equity


@njit(cache=True)
def _free(bars: Records, legs: Records, held: Records, leverage: float, cash: float, at_open: bool) -> float:
    """Return the notional value that leverage still allows, from all positions at the open or the close."""
    equity, used = cash, 0.0
    for leg in range(len(legs)):
        mine, bar = held[leg], bars[leg]
        if mine.direction != 0:
            mid = bar.open if at_open and bar.present else mine.last_mid
            rate = bar.rate_open if at_open else bar.rate_close
            equity += _unrealised(mine, legs[leg], mid, rate)
            used += mine.units * mid * rate_at(legs[leg].own_rate, mid, rate)
    return max(0.0, leverage * equity - used)


@njit(cache=True)
def _note(note: Any, leg: int, row: int, direction: int, cause: int, what: int, wanted: float, units: float,
          sent: bool) -> None:  # fmt: skip
    note.leg, note.bar, note.direction, note.cause, note.what = leg, row, direction, cause, what
    note.wanted, note.units, note.sent = wanted, units, sent


@njit(cache=True)
def _hold(bars: Records, legs: Records, account: Any, held: Records, orders: Records, exposed: Records) -> float:
    """Order exits and let stops and clocks move on; returns the notional value of what stays.

    `exposed`: (legs,) is filled with the signed notional values of what stays or waits for its fill.
    """
    used = 0.0
    for leg in range(len(legs)):
        mine, bar, order = held[leg], bars[leg], orders[leg]
        exposed[leg] = 0.0
        if bar.present:
            _trail(mine, bar)
            mine.closing, _ = wants(mine, bar, account)
            if mine.direction != 0 and bar.direction == mine.direction:
                mine.expires = mine.bars + legs[leg].hold
            if mine.closing != _NOTHING:
                continue
        if mine.direction != 0:
            value = mine.units * mine.last_mid * rate_at(legs[leg].own_rate, mine.last_mid, bar.rate_close)
            used += value
            exposed[leg] = mine.direction * value
        elif order.direction != 0:  # it was decided at the pair's last bar and waits for its next
            rate = rate_at(legs[leg].own_rate, mine.last_mid, bar.rate_close)
            exposed[leg] = order.direction * order.units * mine.last_mid * rate
    return used


@njit(cache=True)
def _decide(bars: Records, row: int, legs: Records, account: Any, limits: Any, returns: Records, held: Records,
            orders: Records, exposed: Records, limited: Records, noted: int, cash: float,
            equity: float) -> tuple[int, int]:  # fmt: skip
    """Order exits and entries for each pair's next open, earlier legs first; returns how many entries were too small
    for the broker, and how many are noted by now.
    """
    small = 0
    room = account.margin_use * account.leverage * equity - _hold(bars, legs, account, held, orders, exposed)
    for leg in range(len(legs)):
        mine, bar = held[leg], bars[leg]
        if not bar.present:
            continue
        _, entering = wants(mine, bar, account)
        if entering and row < legs[leg].last:
            value = bar.close * rate_at(legs[leg].own_rate, bar.close, bar.rate_close)
            raw = asked(legs[leg], bar.fraction, cash if account.of_balance else equity, value)
            wanted = whole_lots(legs[leg], raw)
            most, cause, what = room, _MARGIN if wanted > 0 else _SIZE, -1
            if limits.on and wanted > 0:
                most, cause, what = tightest(
                    leg, bar.direction, room, equity, exposed, legs, limits, returns, limits.window + row
                )
            units = wanted if wanted * value <= most else whole_lots(legs[leg], min(raw, most / value))
            if units > 0:
                _order(orders[leg], mine, bar, row, legs[leg], units)
                room -= units * value
                exposed[leg] = bar.direction * units * value
            elif cause in (_MARGIN, _SIZE):
                small += 1
            if units < wanted or (wanted == 0 and raw > 0):
                _note(limited[noted], leg, row, bar.direction, cause, what, wanted if wanted > 0 else raw, units,
                      False)  # fmt: skip
                noted += 1
        mine.bars += 1
    return small, noted
