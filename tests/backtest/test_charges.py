"""Spread by session or from the data, slippage by volatility, and swap in a backtest, against literal figures."""

from __future__ import annotations

import numpy as np
import pytest

from fxgpt_core.backtest.adapter import Broker, run_backtest
from fxgpt_core.backtest.charges import charges, half_spread, true_range
from fxgpt_core.market.calendar import is_open
from fxgpt_core.market.instrument_config import InstrumentsConfig, shipped_instruments
from fxgpt_core.market.instruments import instrument
from fxgpt_core.market.market_hours import market_hours
from tests.backtest.cases import broker, candles_of, config, costs, forecast_with

SESSIONS = InstrumentsConfig.model_validate(
    {"spread_sessions": {"rollover": 4.0, "sydney": 2.0, "tokyo": 1.5, "london": 1.0, "new_york": 1.25}}
)
PAIR = instrument("EURUSD")


def quiet(rows: int, start: str, price: float = 1.1, symbol: str = "EURUSD", **columns: object):  # type: ignore[no-untyped-def]
    return candles_of([[price, price * 1.0002, price * 0.9998, price]] * rows, symbol, start, **columns)


def test_the_liveliest_session_decides_and_the_hour_after_the_rollover_has_its_own_spread() -> None:
    """Tuesday 2024-01-09, hours of UTC; winter: New York is five hours behind."""
    bars = quiet(24, "2024-01-09")
    pips = 2 * half_spread(bars, PAIR, costs(spread_pips=1.0, spread="sessions"), SESSIONS) / PAIR.pip
    expected = {1: 1.5, 5: 1.5, 9: 1.0, 12: 1.0, 14: 1.0, 18: 1.25, 21: 1.25, 22: 4.0, 23: 2.0}
    assert {hour: pytest.approx(pips[hour]) for hour in expected} == expected


def test_the_spread_of_the_data_is_used_where_there_is_one() -> None:
    known = np.array([0.0002, np.nan, 0.0004])
    bars = quiet(3, "2024-01-09T09:00", spread=known)
    charged = costs(spread_pips=1.0, spread="data")
    np.testing.assert_allclose(2 * half_spread(bars, PAIR, charged, SESSIONS), [0.0002, 0.0001, 0.0004])
    constant = costs(spread_pips=1.0, spread="constant")
    np.testing.assert_allclose(2 * half_spread(bars, PAIR, constant, SESSIONS), 0.0001)


def test_slippage_follows_the_true_range_known_at_the_decision() -> None:
    table = [[1.1, 1.1 + 0.001 * k, 1.1, 1.1] for k in range(1, 7)]
    bars = candles_of(table)
    np.testing.assert_allclose(true_range(bars, 2), [0.001, 0.0015, 0.0025, 0.0035, 0.0045, 0.0055])
    slip = charges(bars, PAIR, costs(slippage_pips=0.5, slippage_volatility=0.1), SESSIONS, market_hours()).slip
    mean = np.cumsum([0.001, 0.002, 0.003, 0.004, 0.005]) / np.arange(1, 6)
    np.testing.assert_allclose(slip, 0.00005 + np.r_[0.0, 0.1 * mean])


def overnight(symbol: str, start: str, signal: int, direction: float, price: float, hold: int, **swaps: float):  # type: ignore[no-untyped-def]
    """One position decided at bar `signal` and held for `hold` hours; USDCAD's triple day is Thursday."""
    bars = quiet(120, start, price, symbol)
    up = np.full(signal + 1, 0.5)
    up[0], up[-1] = 0.6, direction
    forecast = forecast_with(up, bars.known_at[: signal + 1], (60 * hold,), symbol=symbol)
    chosen = config(sizing={"method": "fixed", "lots": 0.5}, horizon=f"{hold}h", confidence_quantile=0.0)
    entry = {"swaps": [swaps]} | ({"triple_swap_day": "thursday"} if symbol == "USDCAD" else {})
    at = broker(None, instruments={symbol: entry})
    result = run_backtest(bars, forecast, chosen, costs(swap=True), broker=at)
    return result.trades.iloc[-1], result


def test_swap_of_a_wednesday_night_is_threefold_and_of_the_next_ones_single() -> None:
    """Half a lot of EURUSD, -7 points long: 0.5 x 100 000 x 0.00007 = 3.50 USD a night; Monday to Friday 03:00."""
    trade, result = overnight("EURUSD", "2024-01-08T09:00", 1, 0.8, 1.1, 89, long=-7.0, short=2.0)
    assert trade.swap == pytest.approx(-3.5 * (1 + 1 + 3 + 1))
    assert result.costs["swap_paid"] == pytest.approx(21.0)
    assert trade.pnl == pytest.approx(trade.gross_pnl - 21.0)
    short, _ = overnight("EURUSD", "2024-01-08T09:00", 1, 0.2, 1.1, 89, long=-7.0, short=2.0)
    assert short.swap == pytest.approx(6 * 1.0)
    assert short.direction == -1


def test_a_pair_that_settles_next_day_pays_three_nights_on_thursday() -> None:
    """Half a lot of USDCAD, -10 points: 50 000 x 0.0001 = 5 CAD a night, at 1.25 four USD; Tuesday to Friday."""
    trade, _ = overnight("USDCAD", "2024-01-09T09:00", 1, 0.8, 1.25, 64, long=-10.0, short=1.0)
    assert trade.swap == pytest.approx(-4.0 * (1 + 1 + 3))


@pytest.mark.parametrize(
    ("signal", "hold", "paid"),
    [
        (10, 2, 3),  # Wednesday: in at 20:00 UTC, out at the open of 22:00, which is 17:00 New York: held through it
        (10, 1, 0),  # out an hour before
        (12, 3, 0),  # in at the open of 22:00: after the rollover
        (11, 1, 3),  # in at 21:00, out at 22:00
    ],
)
def test_the_instant_of_the_rollover(signal: int, hold: int, paid: int) -> None:
    trade, _ = overnight("EURUSD", "2024-01-10T09:00", signal, 0.8, 1.1, hold, long=-1.0, short=0.0)
    assert trade.swap == pytest.approx(-0.5 * paid)


def test_a_weekend_is_charged_on_wednesday_not_on_friday() -> None:
    """Held from Friday to Monday with weekend bars missing: one night, although three days pass."""
    bars = quiet(100, "2024-01-12T09:00")
    bars = bars.take(np.asarray(is_open(bars.ts_utc)))
    forecast = forecast_with([0.6, 0.8], bars.known_at[:2], (60 * 20,))
    at = broker(None, instruments={"EURUSD": {"swaps": [{"long": -10.0, "short": 0.0}]}})
    chosen = config(sizing={"method": "fixed", "lots": 1.0}, horizon="20h")
    trade = run_backtest(bars, forecast, chosen, costs(swap=True), broker=at).trades.iloc[0]
    assert trade.exit_time.day == 15
    assert trade.swap == pytest.approx(-10.0)


def test_the_shipped_interest_charges_a_long_euro_about_a_pip_in_2019() -> None:
    """Fed 2.375 %, ECB -0.4 %, markup 0.8 %: 100 000 x 1.13 x 3.575 % / 360 = 11.22 USD a night and lot."""
    bars = quiet(60, "2019-01-14T09:00", 1.13)
    forecast = forecast_with([0.6, 0.8], bars.known_at[:2], (60 * 20,))
    chosen = config(sizing={"method": "fixed", "lots": 1.0}, horizon="20h", initial_cash=100_000)
    at = Broker(shipped_instruments(), market_hours())
    trade = run_backtest(bars, forecast, chosen, costs(swap=True), broker=at).trades.iloc[0]
    assert trade.swap == pytest.approx(-11.22, abs=0.01)
