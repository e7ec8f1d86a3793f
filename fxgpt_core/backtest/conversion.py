"""From a pair's quote currency to the account's, at the rate known at the time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.symbols import CURRENCIES
from fxgpt_core.common.timeframes import TIMEFRAMES, Timeframe
from fxgpt_core.features.alignment import last_known
from fxgpt_core.market.bars import CANDLES, bar_keys
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.history import load_candles
from fxgpt_core.market.instruments import Instrument
from fxgpt_core.market.lake import Lake, Manifest

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]
RateSource = Callable[[str], Candles | None]
"""Returns the bars of a pair, None where there are none."""
_OLDEST = np.timedelta64(7 * 86_400_000_000_000, "ns")
_VIA = ("USD", "EUR")


class StoredRates:
    """Rates from the bars of a lake: those of timeframe `bar`, else the slowest faster ones, else slower ones."""

    def __init__(self, lake: Lake, bar: Timeframe) -> None:
        ordered = sorted(TIMEFRAMES.values())
        self._lake = lake
        self._order = [*reversed([frame for frame in ordered if frame <= bar]), *(f for f in ordered if f > bar)]
        self._read: dict[str, Candles | None] = {}

    def __call__(self, symbol: str) -> Candles | None:
        """Return the bars of a pair, None where the lake has none."""
        if symbol not in self._read:
            found = self._manifest(symbol)
            self._read[symbol] = None if found is None else load_candles(self._lake, symbol, found[0])
        return self._read[symbol]

    def fingerprint(self, pair: Instrument, account: str) -> dict[str, str]:
        """Return symbol -> fingerprint of the bars that may convert profits of `pair`."""
        found = {symbol: self._manifest(symbol) for symbol in asked_for(pair, account)}
        return {symbol: entry[1].fingerprint for symbol, entry in found.items() if entry is not None}

    def _manifest(self, symbol: str) -> tuple[Timeframe, Manifest] | None:
        for bar in self._order:
            manifest = self._lake.read_manifest(CANDLES, bar_keys(symbol, bar))
            if manifest is not None and manifest.parts:
                return bar, manifest
        return None


class ConversionError(DataError):
    """No stored bars convert a pair's profits into the account's currency for the whole time of a backtest."""


@dataclass(frozen=True)
class AccountRates:
    """Account currency per unit of quote currency.

    `own`: the account's currency is the pair's base, so that the price of each fill converts it. Otherwise `at_open`,
    `at_close`: (bars,) rates known at those times. `pairs`: where they come from.
    """

    own: bool
    at_open: Floats
    at_close: Floats
    pairs: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Step:
    candles: Candles
    inverse: bool


def account_rates(
    pair: Instrument, opens: Times, closes: Times, price: Candles, account: str, source: RateSource
) -> AccountRates:
    """Return the rates at `opens` and `closes` (bars,) of a grid for a pair traded in an account in `account`.

    `price`: the pair's own bars. Raises ConversionError naming the pair to import where no series leads to the
    account's currency, or where one is older than a week when it is needed.
    """
    ones = np.ones(len(opens))
    if pair.quote == account:
        return AccountRates(False, ones, ones)
    if pair.base == account:
        return AccountRates(True, ones, ones, (pair.symbol,))
    steps = _chain(pair.quote, account, source)
    if not steps:
        raise ConversionError(
            f"Profits of {pair.symbol} are in {pair.quote} and the account is in {account}: import "
            f"{_usual(pair.quote, account)} (`fxgpt import`), or set backtest.account_currency to {pair.quote}."
        )
    at = [np.prod([_as_of(step, times, pair) for step in steps], axis=0) for times in (opens, closes)]
    return AccountRates(False, at[0], at[1], tuple(step.candles.symbol for step in steps))


def _chain(start: str, goal: str, source: RateSource) -> list[_Step]:
    """Return one series from `start` to `goal`, or two over a third currency; empty where there are none."""
    direct = _step(start, goal, source)
    if direct is not None:
        return [direct]
    for between in _VIA:
        if between not in (start, goal):
            first, second = _step(start, between, source), _step(between, goal, source)
            if first is not None and second is not None:
                return [first, second]
    return []


def _step(start: str, goal: str, source: RateSource) -> _Step | None:
    for symbol, inverse in ((start + goal, False), (goal + start, True)):
        candles = source(symbol)
        if candles is not None:
            return _Step(candles, inverse)
    return None


def _as_of(step: _Step, times: Times, pair: Instrument) -> Floats:
    known, symbol = step.candles.known_at, step.candles.symbol
    row = last_known(times, known)
    if len(row) and row[0] < 0:
        raise ConversionError(
            f"{symbol} converts profits of {pair.symbol} and begins {known[0]}, after {times[0]}: import {symbol} from "
            "then on."
        )
    old = times - known[row] > _OLDEST
    if old.any():
        raise ConversionError(
            f"{symbol} converts profits of {pair.symbol} and its last bar before {times[old][0]} is of "
            f"{known[row][old][0]}: import {symbol} for that time."
        )
    rate = step.candles.close[row]
    return 1 / rate if step.inverse else rate


def _usual(first: str, second: str) -> str:
    """Return how the two currencies are usually quoted."""
    ranking = ("XAU", "XAG", "EUR", "GBP", "AUD", "NZD", "USD", "CAD", "CHF")
    order = {name: place for place, name in enumerate((*ranking, *(c for c in CURRENCIES if c not in ranking)))}
    return "".join(sorted((first, second), key=order.__getitem__))


def asked_for(pair: Instrument, account: str) -> list[str]:
    """Return every pair that `account_rates` may ask for; none where the pair itself tells."""
    if account in (pair.quote, pair.base):
        return []
    links = [(pair.quote, account)]
    for between in _VIA:
        if between not in (pair.quote, account):
            links += [(pair.quote, between), (between, account)]
    return [symbol for start, goal in links for symbol in (start + goal, goal + start)]
