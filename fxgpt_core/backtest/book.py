"""`Book`: everything an engine needs, put together from signals, charges, rates and instruments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.backtest import layout
from fxgpt_core.backtest.charges import Charges
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.conversion import RateSource, account_rates
from fxgpt_core.backtest.limits import PortfolioLimits, no_limits, returns_on
from fxgpt_core.backtest.signals import Signals
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.instruments import Instrument
from fxgpt_core.market.market_hours import MarketHours
from fxgpt_core.market.rollover import rollovers

Times = NDArray[np.datetime64]
_SIGNALS = ("direction", "stop", "target", "trail", "fraction", "flat", "late")


@dataclass(frozen=True)
class Leg:
    """One pair of a book: `charges` belong to the bars of `signals`."""

    pair: Instrument
    signals: Signals
    charges: Charges
    commission_per_million: float


@dataclass(frozen=True)
class Book:
    """Bars, legs and account as engines read them.

    `times`: (bars,) opens of the common grid in UTC, `closes`: (bars,); `bars`: (bars, legs) of `layout.BAR`; `legs`:
    (legs,) of `layout.LEG`; `account`: (1,) of `layout.ACCOUNT`. `rate_pairs`: what converts the profits of each leg;
    `currencies`: what the legs' numbers mean. `limits`: (1,) of `layout.LIMITS`; `returns`: (legs, `limits.window` and
    bars) log returns that end at each close, those before the first bar in front, empty where nothing is limited.
    """

    parts: tuple[Leg, ...]
    times: Times
    closes: Times
    bars: NDArray[Any]
    legs: NDArray[Any]
    account: NDArray[Any]
    rate_pairs: tuple[tuple[str, ...], ...]
    currencies: tuple[str, ...]
    limits: NDArray[Any]
    returns: NDArray[np.float64]

    @property
    def cash(self) -> float:
        """Money at the start, in the account's currency."""
        return float(self.account["cash"][0])


def make_book(parts: Sequence[Leg], config: BacktestConfig, source: RateSource, hours: MarketHours) -> Book:
    """Return the book of one or several pairs with the same bars on one account, without limits (`limited`).

    Pairs of a portfolio share a grid: the union of their bars. Where a pair has none its last price stands.
    Raises DataError where profits cannot be converted, BadInputError where the legs do not go together.
    """
    frames = {part.signals.candles.timeframe for part in parts}
    if len(frames) != 1:
        raise BadInputError(f"A portfolio needs one base timeframe; found {', '.join(sorted(map(str, frames)))}.")
    times: Times = np.unique(np.concatenate([part.signals.candles.ts_utc for part in parts]))
    closes = times + frames.pop().duration
    bars = np.zeros((len(times), len(parts)), dtype=layout.BAR)
    legs = np.zeros(len(parts), dtype=layout.LEG)
    pairs = []
    currencies = tuple(sorted({name for part in parts for name in (part.pair.base, part.pair.quote)}))
    for number, part in enumerate(parts):
        row = np.searchsorted(part.signals.candles.ts_utc, times, side="right") - 1
        _prices(bars[:, number], part, times, row)
        rates = account_rates(
            part.pair, times, closes, part.signals.candles, config.account_currency, source
        ) if part.signals.direction.any() else None  # fmt: skip
        bars["rate_open"][:, number] = 1.0 if rates is None else rates.at_open
        bars["rate_close"][:, number] = 1.0 if rates is None else rates.at_close
        if part.charges.nights.any():
            nightly = rollovers(part.pair, times[0], times[-1], hours)
            bars["nights"][1:, number] = nightly.between(times[:-1], times[1:])
        pairs.append(() if rates is None else rates.pairs)
        legs[number] = _leg(part, config, bool(rates and rates.own))
        legs["last"][number] = int(np.searchsorted(times, part.signals.candles.ts_utc[-1]))
        legs["base"][number], legs["quote"][number] = map(currencies.index, (part.pair.base, part.pair.quote))
    account, nothing = _account(config), np.zeros((len(parts), 0))
    return Book(tuple(parts), times, closes, bars, legs, account, tuple(pairs), currencies, no_limits(), nothing)


def renewed(book: Book, part: Leg, config: BacktestConfig) -> Book:
    """Return the book of one pair with other signals on the same bars, and what else `config` says of the account.

    The account's currency must be that of `book`, whose prices, charges and rates are taken over.
    """
    bars, legs, before = book.bars.copy(), book.legs.copy(), book.legs[0]
    for name in _SIGNALS:
        bars[name][:, 0] = getattr(part.signals, name)
    legs[0] = _leg(part, config, bool(before["own_rate"]))
    for name in ("last", "base", "quote"):
        legs[name][0] = before[name]
    return replace(book, parts=(part,), bars=bars, legs=legs, account=_account(config))


def limited(book: Book, limits: PortfolioLimits, candles: Sequence[Candles]) -> Book:
    """Return the book under limits; `candles`: all bars of each leg, for the correlations before its first one."""
    return replace(book, limits=limits.record(), returns=returns_on(book.times, candles, limits.correlation_bars))


def _account(config: BacktestConfig) -> NDArray[Any]:
    account = np.zeros(1, dtype=layout.ACCOUNT)
    account[0] = (
        config.initial_cash, config.leverage, config.margin_use, config.stop_out, config.sizing.method == "risk",
        config.exit_on_opposite,
    )  # fmt: skip
    return account


def _prices(out: NDArray[Any], part: Leg, times: Times, row: NDArray[np.int64]) -> None:
    """Fill prices, charges and signals of one leg; `row`: (bars,) its last bar at each of `times`, -1 before it."""
    signals, candles, charge = part.signals, part.signals.candles, part.charges
    at = np.maximum(row, 0)
    present = (row >= 0) & (candles.ts_utc[at] == times)
    out["present"] = present
    for name in ("open", "high", "low", "close"):
        out[name] = getattr(candles, name)[at]
    for name in ("half", "slip", "swap_long", "swap_short"):
        out[name] = getattr(charge, name)[at]
    for name in _SIGNALS:
        out[name] = getattr(signals, name)[at]
    out["direction"][~present] = 0


def _leg(part: Leg, config: BacktestConfig, own: bool) -> tuple[Any, ...]:
    pair, sizing = part.pair, config.sizing
    lot = pair.lot_step * pair.contract_size if config.lot_units is None else float(config.lot_units)
    smallest = pair.min_lot * pair.contract_size if config.lot_units is None else lot
    largest = min(pair.max_lot, sizing.max_lots or np.inf) * pair.contract_size
    fixed = sizing.lots * pair.contract_size if sizing.method == "fixed" else 0.0
    most = sizing.max_fraction or np.inf
    longest = config.longest(part.signals.candles.timeframe.minutes)
    fee = part.commission_per_million / 1e6
    return own, fixed, lot, smallest, largest, most, part.signals.hold_bars, longest, 0, fee, 0, 0
