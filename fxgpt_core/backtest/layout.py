"""The plain records that engines read and write: bars of the book, legs, account, positions, trades.

Structured arrays, so that the compiled ledger and the adapter see the same memory. Prices are mid, money is in the
account's currency where a rate has been applied, distances are log returns, NaN means none.
"""

from __future__ import annotations

import numpy as np

REASONS = ("holding", "reversal", "weekend", "maximum", "stop", "trailing", "target", "stop_out", "end", "ruin")
"""Why positions end; trades carry the index."""
HOLDING, REVERSAL, WEEKEND, MAXIMUM, STOP, TRAILING, TARGET, STOPPED_OUT, END, RUIN = range(len(REASONS))
NOTHING = -1

BAR = np.dtype(
    [
        ("present", np.bool_),  # whether the pair has this bar
        ("open", np.float64),
        ("high", np.float64),
        ("low", np.float64),
        ("close", np.float64),
        ("half", np.float64),  # half the spread, price units
        ("slip", np.float64),  # slippage of a fill at market in this bar, price units
        ("rate_open", np.float64),  # account currency per unit of quote currency, known at the open
        ("rate_close", np.float64),
        ("nights", np.int64),  # charged at the open to positions carried into the bar
        ("swap_long", np.float64),  # credited per night and unit of base currency, quote currency
        ("swap_short", np.float64),
        ("direction", np.int64),  # signal at the close: 1 buy, -1 sell, 0 nothing
        ("stop", np.float64),
        ("target", np.float64),
        ("trail", np.float64),
        ("fraction", np.float64),  # wanted notional value as a multiple of equity or balance
        ("flat", np.bool_),  # be out of the market at the next open
        ("late", np.bool_),  # no entry is filled at this open
    ]
)
"""One pair at one bar of the book: arrays are (bars, legs)."""

LEG = np.dtype(
    [
        ("own_rate", np.bool_),  # the account's currency is the base: the price itself converts
        ("fixed_units", np.float64),  # > 0: every position has this size
        ("lot", np.float64),  # units of base currency in the smallest step of size
        ("min_units", np.float64),
        ("max_units", np.float64),
        ("max_fraction", np.float64),
        ("hold", np.int64),  # bars between fill and planned exit
        ("longest", np.int64),
        ("last", np.int64),  # index of the pair's last bar
        ("commission", np.float64),  # share of the traded value, per side
        ("base", np.int64),  # place of its currencies in `Book.currencies`
        ("quote", np.int64),
    ]
)

ACCOUNT = np.dtype(
    [
        ("cash", np.float64),
        ("leverage", np.float64),
        ("margin_use", np.float64),
        ("stop_out", np.float64),  # share of the margin used below which the broker closes positions
        ("of_balance", np.bool_),  # fractions are of cash, not of equity
        ("exit_on_opposite", np.bool_),
    ]
)

LIMITS = np.dtype(
    [
        ("on", np.bool_),  # off: none of these is looked at
        ("gross", np.float64),  # largest notional values as multiples of equity: all positions,
        ("net", np.float64),  # longs less shorts,
        ("currency", np.float64),  # what is held or owed of one currency,
        ("correlated", np.float64),  # positions that move together,
        ("correlation", np.float64),  # which they do from this correlation on
        ("window", np.int64),  # bars that it is measured on
        ("least", np.int64),  # of which so many must be there; else pairs count as moving together
        ("positions", np.int64),
    ]
)

CAUSES = ("", "margin", "size", "positions", "gross", "net", "currency", "correlation", "late")
"""Why an entry was cut or refused; the rows of `LIMITED` carry the index."""
NO_CAUSE, BY_MARGIN, BY_SIZE, BY_POSITIONS, BY_GROSS, BY_NET, BY_CURRENCY, BY_CORRELATION, BY_TIME = range(len(CAUSES))

LIMITED = np.dtype(
    [
        ("leg", np.int64),
        ("bar", np.int64),  # of the decision
        ("direction", np.int64),
        ("cause", np.int64),
        ("what", np.int64),  # the currency or the other leg concerned, -1 where there is none
        ("wanted", np.float64),  # units that the sizing asked for
        ("units", np.float64),  # units that were ordered and not withdrawn; 0: none
        ("sent", np.bool_),  # ordered, but turned down at the fill
    ]
)
"""One entry that was cut or refused."""

POSITION = np.dtype(
    [
        ("direction", np.int64),  # 0: none
        ("units", np.float64),
        ("decision_bar", np.int64),
        ("entry_bar", np.int64),
        ("entry_mid", np.float64),
        ("entry_half", np.float64),
        ("entry_slip", np.float64),
        ("entry_rate", np.float64),
        ("stop", np.float64),  # order prices on the side that closes the position
        ("target", np.float64),
        ("trail", np.float64),
        ("first_stop", np.float64),
        ("commission", np.float64),
        ("swap", np.float64),
        ("expires", np.int64),  # counted in the pair's own bars
        ("latest", np.int64),
        ("closing", np.int64),  # reason of the exit ordered for the next open
        ("bars", np.int64),  # own bars seen
        ("last_mid", np.float64),  # last known price
    ]
)

TRADE = np.dtype(
    [
        ("leg", np.int64),
        ("decision_bar", np.int64),
        ("entry_bar", np.int64),
        ("exit_bar", np.int64),  # `bars` (one past the last) for what was closed after the last bar
        ("direction", np.int64),
        ("reason", np.int64),
        ("units", np.float64),
        ("entry_mid", np.float64),
        ("exit_mid", np.float64),
        ("entry_price", np.float64),  # with half spread and slippage
        ("exit_price", np.float64),
        ("stop", np.float64),
        ("target", np.float64),
        ("level", np.float64),  # of the stop or target that closed it, NaN for an exit at market
        ("entry_rate", np.float64),
        ("exit_rate", np.float64),
        ("entry_half", np.float64),
        ("exit_half", np.float64),
        ("entry_slip", np.float64),
        ("exit_slip", np.float64),
        ("gross", np.float64),
        ("spread", np.float64),
        ("slippage", np.float64),
        ("commission", np.float64),
        ("swap", np.float64),  # credited; negative was paid
        ("pnl", np.float64),
    ]
)
"""One round trip; money in the account's currency, pnl = gross - spread - slippage - commission + swap."""

PATH = ("cash", "gross", "spread", "slippage", "commission", "swap")
"""Columns of the account's path at each close: cash, and what was earned and paid so far, open positions included."""
