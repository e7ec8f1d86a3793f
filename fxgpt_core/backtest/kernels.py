"""The compiled loop of the ledger; numba loads slowly, so that this module is imported where it is used.

The rules are those of `fxgpt_core.backtest.engine`; the records those of `layout`. Throughout: `bars`: (legs,) of
`layout.BAR`, those of one time; `booked`: (6,) as `layout.PATH`, without open positions; `counts`: (5,) as `COUNTS`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fxgpt_core.backtest import layout
from fxgpt_core.backtest.exposure import tightest
from fxgpt_core.backtest.positions import bracket, close, enter, rate_at, resting, trail, unrealised

_HOLDING, _REVERSAL, _WEEKEND, _MAXIMUM = layout.HOLDING, layout.REVERSAL, layout.WEEKEND, layout.MAXIMUM
_STOPPED_OUT, _END, _RUIN = layout.STOPPED_OUT, layout.END, layout.RUIN
_NOTHING, _MARGIN, _SIZE, _TIME = layout.NOTHING, layout.BY_MARGIN, layout.BY_SIZE, layout.BY_TIME
_COLUMNS = len(layout.PATH)
COUNTS = ("trades", "refused", "small", "late", "noted")
"""Trades written, entries refused for margin, too small for the broker, come too late, and rows of `limited`."""
_DONE, _REFUSED, _SMALL, _LATE, _NOTED = range(len(COUNTS))
_COUNTS = len(COUNTS)
Records = NDArray[Any]

BUILT_ON = {"layout": "200aca1b", "exposure": "7fe8e405", "positions": "a3add0c7"}
"""Hashes of what is compiled in: numba's cache watches this file alone, and would keep code of older ones."""


@njit(cache=True, nogil=True)
def run(bars: Records, legs: Records, account: Any, limits: Any, returns: Records, held: Records, orders: Records,
        trades: Records, limited: Records, path: Records, equity: Records) -> Records:  # fmt: skip
    """Run the book bar by bar; returns `COUNTS`.

    `bars`: (bars, legs) of `layout.BAR`; `returns`: (legs, bars before them and bars) as `Book.returns`; `held`,
    `orders`: (legs,) of `layout.POSITION`, zeroed; `trades`: (at least as many as signals,) of `layout.TRADE`;
    `limited`: (at least twice as many,) of `layout.LIMITED`; `path`: (bars, 6); `equity`: (bars,). From `held` on all
    are filled.
    """
    counts, exposed, booked = np.zeros(_COUNTS, dtype=np.int64), np.zeros(len(legs)), np.zeros(_COLUMNS)
    booked[0] = account.cash
    for row in range(len(bars)):
        now = bars[row]
        _nights(now, legs, held, booked)
        _exits(now, row, legs, held, trades, booked, counts)
        _stop_outs(now, row, legs, account, held, trades, booked, counts)
        _entries(now, row, legs, account, held, orders, limited, booked, counts)
        _touched(now, row, legs, held, trades, booked, counts)
        equity[row] = _mark(now, legs, held, booked, path[row])
        ruined = equity[row] <= 0
        if _ended(now, row, legs, held, ruined, trades, booked, counts):
            equity[row] = _mark(now, legs, held, booked, path[row])
        if ruined:
            equity[row:] = 0.0
            path[row:, 0] = 0.0
            path[row:, 1:] = booked[1:]
            break
        _decide(now, row, legs, account, limits, returns, held, orders, exposed, limited, booked[0], equity[row],
                counts)  # fmt: skip
    return counts


@njit(cache=True)
def _nights(bars: Records, legs: Records, held: Records, booked: Records) -> None:
    """Book the swap of the nights before these opens to what came into them."""
    for leg in range(len(legs)):
        bar, mine = bars[leg], held[leg]
        if mine.direction != 0 and bar.nights > 0:
            night = bar.swap_long if mine.direction > 0 else bar.swap_short
            price = bar.open if bar.present else mine.last_mid
            swap = mine.units * night * bar.nights * rate_at(legs[leg].own_rate, price, bar.rate_open)
            mine.swap += swap
            booked[0] += swap
            booked[5] += swap


@njit(cache=True)
def _exits(bars: Records, row: int, legs: Records, held: Records, trades: Records, booked: Records,
           counts: Records) -> None:  # fmt: skip
    """Fill the exits ordered for these opens."""
    for leg in range(len(legs)):
        bar, mine = bars[leg], held[leg]
        if bar.present and mine.direction != 0 and mine.closing != _NOTHING:
            close(mine, legs[leg], leg, row, bar.open, bar.half, bar.slip, bar.rate_open, mine.closing,
                  trades[counts[_DONE]], booked)  # fmt: skip
            counts[_DONE] += 1


@njit(cache=True)
def _stop_outs(bars: Records, row: int, legs: Records, account: Any, held: Records, trades: Records, booked: Records,
               counts: Records) -> None:  # fmt: skip
    """Close what the broker closes at these opens: the largest loss first, until equity carries the margin again."""
    while True:
        equity, used, least, worst = booked[0], 0.0, np.inf, -1
        for leg in range(len(legs)):
            bar, mine = bars[leg], held[leg]
            if mine.direction != 0:
                mid = bar.open if bar.present else mine.last_mid
                profit = unrealised(mine, legs[leg], mid, bar.rate_open)
                equity += profit
                used += mine.units * mid * rate_at(legs[leg].own_rate, mid, bar.rate_open)
                if bar.present and profit < least:
                    least, worst = profit, leg
        if worst < 0 or equity * account.leverage >= account.stop_out * used:
            return
        bar = bars[worst]
        close(held[worst], legs[worst], worst, row, bar.open, bar.half, bar.slip, bar.rate_open, _STOPPED_OUT,
              trades[counts[_DONE]], booked)  # fmt: skip
        counts[_DONE] += 1


@njit(cache=True)
def _entries(bars: Records, row: int, legs: Records, account: Any, held: Records, orders: Records, limited: Records,
             booked: Records, counts: Records) -> None:  # fmt: skip
    """Fill the entries ordered for these opens, earlier legs first, and note what is late or no longer fits."""
    for leg in range(len(legs)):
        bar, order = bars[leg], orders[leg]
        if not bar.present or order.direction == 0:
            continue
        note = limited[counts[_NOTED]]
        if bar.late:
            _note(note, leg, order.decision_bar, order.direction, _TIME, -1, order.units, 0.0, False)
            counts[_LATE] += 1
            counts[_NOTED] += 1
        elif enter(held[leg], order, bar, row, legs[leg], _free(bars, legs, held, account.leverage, booked[0])):
            booked[0] -= held[leg].commission
            booked[4] += held[leg].commission
        else:
            _note(note, leg, order.decision_bar, order.direction, _MARGIN, -1, order.units, order.units, True)
            counts[_REFUSED] += 1
            counts[_NOTED] += 1
        order.direction = 0


@njit(cache=True)
def _touched(bars: Records, row: int, legs: Records, held: Records, trades: Records, booked: Records,
             counts: Records) -> None:  # fmt: skip
    """Fill the stops and targets that these bars touch."""
    for leg in range(len(legs)):
        bar, mine = bars[leg], held[leg]
        if not bar.present:
            continue
        reason, mid, slip = resting(mine, bar)
        if reason != _NOTHING:
            close(mine, legs[leg], leg, row, mid, bar.half, slip, bar.rate_open, reason, trades[counts[_DONE]],
                  booked)  # fmt: skip
            counts[_DONE] += 1
        mine.last_mid = bar.close


@njit(cache=True)
def _ended(bars: Records, row: int, legs: Records, held: Records, ruined: bool, trades: Records, booked: Records,
           counts: Records) -> bool:  # fmt: skip
    """Close at these closes what ends with its pair's bars, or everything with the account; returns whether any did."""
    before = counts[_DONE]
    for leg in range(len(legs)):
        bar, mine = bars[leg], held[leg]
        if mine.direction != 0 and (ruined or row == legs[leg].last):
            close(mine, legs[leg], leg, row if ruined else row + 1, mine.last_mid, bar.half,
                  bar.slip if ruined or bar.present else 0.0, bar.rate_close, _RUIN if ruined else _END,
                  trades[counts[_DONE]], booked)  # fmt: skip
            counts[_DONE] += 1
    done: bool = counts[_DONE] > before
    return done


@njit(cache=True)
def _mark(bars: Records, legs: Records, held: Records, booked: Records, path: Records) -> float:
    """Return equity at the close and write the account's path: open positions are valued at mid."""
    path[:] = booked
    equity = booked[0]
    for leg in range(len(legs)):
        mine = held[leg]
        if mine.direction != 0:
            rate = rate_at(legs[leg].own_rate, mine.last_mid, bars[leg].rate_close)
            equity += unrealised(mine, legs[leg], mine.last_mid, bars[leg].rate_close)
            path[1] += mine.direction * mine.units * (mine.last_mid - mine.entry_mid) * rate
            path[2] += mine.units * mine.entry_half * rate
            path[3] += mine.units * mine.entry_slip * rate
    worth: float = equity
    return worth


@njit(cache=True)
def _free(bars: Records, legs: Records, held: Records, leverage: float, cash: float) -> float:
    """Return the notional value that leverage still allows at these opens, from all positions."""
    equity, used = cash, 0.0
    for leg in range(len(legs)):
        mine, bar = held[leg], bars[leg]
        if mine.direction != 0:
            mid = bar.open if bar.present else mine.last_mid
            equity += unrealised(mine, legs[leg], mid, bar.rate_open)
            used += mine.units * mid * rate_at(legs[leg].own_rate, mid, bar.rate_open)
    return max(0.0, leverage * equity - used)


@njit(cache=True)
def _note(note: Any, leg: int, row: int, direction: int, cause: int, what: int, wanted: float, units: float,
          sent: bool) -> None:  # fmt: skip
    note.leg, note.bar, note.direction, note.cause, note.what = leg, row, direction, cause, what
    note.wanted, note.units, note.sent = wanted, units, sent


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
def _order(order: Any, held: Any, bar: Any, row: int, leg: Any, units: float) -> None:
    order.direction, order.units, order.decision_bar = bar.direction, units, row
    order.stop, order.target = bracket(bar, bar.direction)
    order.trail = bar.trail
    order.expires, order.latest = held.bars + leg.hold, held.bars + leg.longest


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
            trail(mine, bar)
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
            orders: Records, exposed: Records, limited: Records, cash: float, equity: float,
            counts: Records) -> None:  # fmt: skip
    """Order exits and entries for each pair's next open, earlier legs first, and note what is too small or cut."""
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
                counts[_SMALL] += 1
            if units < wanted or (wanted == 0 and raw > 0):
                _note(limited[counts[_NOTED]], leg, row, bar.direction, cause, what, wanted if wanted > 0 else raw,
                      units, False)  # fmt: skip
                counts[_NOTED] += 1
        mine.bars += 1
