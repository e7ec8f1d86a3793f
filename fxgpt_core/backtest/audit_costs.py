"""Whether fills and nights were charged what is configured, no less and no more: recomputed from the bars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.backtest.adapter import Broker
from fxgpt_core.backtest.audit import first_of
from fxgpt_core.backtest.charges import Charges, as_mid, charges
from fxgpt_core.backtest.conversion import account_rates
from fxgpt_core.backtest.table_times import array_times
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.instruments import Instrument, instrument
from fxgpt_core.market.rollover import rollovers
from fxgpt_core.store.asset_config import Costs

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]
_RELATIVE, _OF_VALUE, _SAME_PRICE = 1e-6, 1e-12, 1e-9


@dataclass(frozen=True)
class Market:
    """What a pair's trades are to be charged by: `candles` as mid, `charges` at each of them, `commission` as a share
    of the traded value; `account`: its currency.
    """

    pair: Instrument
    candles: Candles
    charges: Charges
    commission: float
    account: str
    broker: Broker

    @classmethod
    def of(cls, candles: Candles, costs: Costs, account: str, broker: Broker) -> Market:
        """Return the market of a pair's stored bars under its configured costs."""
        pair = instrument(candles.symbol, broker.instruments)
        made = charges(candles, pair, costs, broker.instruments, broker.hours)
        return cls(pair, as_mid(candles, made.half), made, costs.commission_per_million / 1e6, account, broker)

    def rates(self, times: Times, price: Floats) -> Floats:
        """Return account currency per unit of quote currency known at `times`, for trades at `price`: (times,)."""
        when, row = np.unique(times, return_inverse=True)
        known = account_rates(self.pair, when, when, self.candles, self.account, self.broker.rates)
        return np.asarray(1 / price if known.own else known.at_open[row])


def charged_otherwise(
    trades: pd.DataFrame, orders: pd.DataFrame, fills: pd.DataFrame, market: Market, opens: Times | None = None
) -> list[str]:
    """Find fills and positions of one pair that paid other than `market` says; none where every amount is right.

    `trades`: indexed by position; rows of other pairs' orders and fills are not looked at. `opens`: the times at which
    the account is looked at, by default the opens of the pair's bars; in a portfolio those of all its pairs. Amounts
    agree within a millionth, or a trillionth of the value.
    """
    mine = orders.loc[orders["symbol"] == market.pair.symbol, ["order", "position", "purpose", "kind", "direction"]]
    both = fills.merge(mine, on="order")
    both = both[both["position"].isin(trades.index)].reset_index(drop=True)
    if not len(both):
        return []
    told = trades.loc[both["position"]]
    bar, priced_at = _where(both, told, market.candles)
    at = array_times(both["filled_at"])
    found = first_of("fills happened at no bar's time", at[bar < 0])
    for what, stored, owed, most in _owed(both, np.maximum(bar, 0), priced_at, market):
        found += first_of(f"fills {what}", at[(bar >= 0) & (abs(stored - owed) > most)])
    credited, value = _swaps(trades, market, market.candles.ts_utc if opens is None else opens)
    other = abs(trades["swap"].to_numpy() - credited) > _RELATIVE * abs(credited) + _OF_VALUE * value
    return found + first_of(
        "positions were booked another swap than their nights make", array_times(trades["entry_time"])[other]
    )


def _where(both: pd.DataFrame, told: pd.DataFrame, candles: Candles) -> tuple[NDArray[np.int64], Times]:
    """Return the bar whose charges a fill pays, -1 where there is none, and when its conversion rate was known.

    Fills happen in the bar that opens then. What ends with the data, or with the account, does so at a bar's close.
    """
    at, opens, length = array_times(both["filled_at"]), candles.ts_utc, candles.timeframe.duration
    leaves, reason = (both["purpose"] == "exit").to_numpy(), told["reason"].to_numpy()
    ends, ruined = leaves & (reason == "end"), leaves & (reason == "ruin")
    began = np.where(ends, array_times(told["exit_decided_at"]) - length, at)
    bar = np.searchsorted(opens, began, side="right") - 1
    exact = (bar >= 0) & ((opens[np.maximum(bar, 0)] == began) | ruined)
    return np.where(exact, bar, -1), np.where(ends | ruined, began + length, at)


def _owed(
    both: pd.DataFrame, bar: NDArray[np.int64], priced_at: Times, market: Market
) -> list[tuple[str, Floats, Floats, Floats]]:
    """Return what is compared of each fill: what to say, the stored value, the right one, and how far they may lie
    apart (all (fills,)); spread and slippage are converted at the rate of the position's exit.
    """
    units, mid = (both[name].to_numpy(dtype=np.float64) for name in ("units", "mid"))
    rate = market.rates(priced_at, mid)
    leaves = (both["purpose"] == "exit").to_numpy()
    at_exit = pd.Series(rate[leaves], index=both["position"][leaves]).groupby(level=0).last()
    last = both["position"].map(at_exit).to_numpy(dtype=np.float64)  # NaN: never left, which the account tells
    half = market.charges.half[bar]
    slip = np.where(both["kind"] == "target", 0.0, market.charges.slip[bar])
    value = units * mid * rate
    owed = {
        "spread": half * units * last,
        "slippage": slip * units * last,
        "commission": value * market.commission,
    }
    out: list[tuple[str, Floats, Floats, Floats]] = [
        (f"paid another {name} than is configured", _column(both, name), right, _RELATIVE * right + _OF_VALUE * value)
        for name, right in owed.items()
    ]
    price = mid + both["direction"].to_numpy() * (half + slip)
    out.append(("got a price that is not mid and costs", _column(both, "price"), price, _SAME_PRICE * mid))
    out.append(("were converted at another rate", _column(both, "rate"), rate, _RELATIVE * rate))
    return out


def _swaps(trades: pd.DataFrame, market: Market, opens: Times) -> tuple[Floats, Floats]:
    """Return what the nights of each trade credit, and the trade's value: both (trades,), account currency.

    A night is charged at the first of `opens` at or after its rollover to what came into that bar.
    """
    entered, left = array_times(trades["entry_time"]), array_times(trades["exit_time"])
    units, price = (trades[name].to_numpy(dtype=np.float64) for name in ("units", "entry_mid"))
    value = units * price * market.rates(entered, price)
    nights = np.zeros(len(opens), dtype=np.int64)
    nights[1:] = rollovers(market.pair, opens[0], opens[-1], market.broker.hours).between(opens[:-1], opens[1:])
    row = np.flatnonzero((nights > 0) & (opens > entered.min()) & (opens <= left.max()))
    at = np.searchsorted(market.candles.ts_utc, opens[row], side="right") - 1
    fresh = market.candles.ts_utc[at] == opens[row]
    mid = np.where(fresh, market.candles.open[at], market.candles.close[at])
    rate = market.rates(opens[row], mid) if len(row) else np.zeros(0)
    long, short = (
        np.r_[0.0, np.cumsum(nights[row] * swap[at] * rate)]
        for swap in (market.charges.swap_long, market.charges.swap_short)
    )
    first = np.searchsorted(opens[row], entered, side="right")
    ends = (trades["reason"] == "end").to_numpy()  # at a close, which may be the open of a bar that charges a night
    last = np.where(
        ends, np.searchsorted(opens[row], left, side="left"), np.searchsorted(opens[row], left, side="right")
    )
    last = np.maximum(last, first)
    buys = (trades["direction"] > 0).to_numpy()
    return units * np.where(buys, long[last] - long[first], short[last] - short[first]), value


def _column(frame: pd.DataFrame, name: str) -> Floats:
    return np.asarray(frame[name].to_numpy(dtype=np.float64))
