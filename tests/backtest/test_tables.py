"""Literal candle tables with the exact trades, entries, exits and money that a broker would book."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from fxgpt_core.backtest.adapter import run_backtest
from fxgpt_core.backtest.result import BacktestResult
from fxgpt_core.common.errors import DataError
from tests.backtest.cases import FREE, broker, candles_of, config, costs, forecast_with

# Tuesday 2024-01-09 00:00 UTC on, hourly: open, high, low, close. The first forecast only feeds the threshold.
QUIET = (1.1000, 1.1002, 1.0998, 1.1000)


def flat_price(rows: int, price: float = 1.1, wick: float = 0.0002) -> list[list[float]]:
    """Bars that go nowhere; tests write over those that matter."""
    return [[price, price + wick, price - wick, price] for _ in range(rows)]


def run(
    table: Any, up: Any, charged: Any = FREE, symbol: str = "EURUSD", rates: Any = None, **changes: Any
) -> BacktestResult:
    """Trade `up` (P(up) per bar from the first on) with one lot step of 0.01 and a fixed tenth of a lot."""
    candles = candles_of(table, symbol)
    forecast = forecast_with(up, candles.known_at[: len(up)], symbol=symbol)
    sizing = {"method": "fixed", "lots": 0.1}
    return run_backtest(candles, forecast, config(**{"sizing": sizing, **changes}), charged, broker=broker(rates))


@pytest.mark.parametrize("engine", ["ledger", "backtesting"])
def test_a_long_position_buys_at_the_ask_and_sells_at_the_bid(engine: str) -> None:
    """10 000 EUR, spread 1 pip, slippage 0.2 pips a fill, commission 30 per million and side; bought at 1.1010 mid."""
    table = flat_price(8)
    table[2] = [1.1010, 1.1030, 1.1005, 1.1020]  # decided at the close before
    table[3] = [1.1020, 1.1045, 1.1015, 1.1040]
    table[4] = [1.1050, 1.1060, 1.1040, 1.1050]  # two bars are over: sold at the open
    charged = costs(spread_pips=1.0, slippage_pips=0.2, commission_per_million=30.0)
    result = run(table, [0.7, 0.8, 0.5, 0.5], charged, engine=engine)
    trade = result.trades.iloc[0]
    start = pd.Timestamp("2024-01-09", tz="UTC")
    assert len(result.trades) == 1
    assert (trade.decided_at, trade.entry_time, trade.exit_time) == (
        start + pd.Timedelta(hours=2), start + pd.Timedelta(hours=2), start + pd.Timedelta(hours=4),
    )  # fmt: skip
    assert (trade.direction, trade.units, trade.lots, trade.reason) == (1, 10_000, 0.1, "holding")
    assert trade.entry_price == pytest.approx(1.1010 + 0.00005 + 0.00002)
    assert trade.exit_price == pytest.approx(1.1050 - 0.00005 - 0.00002)
    assert trade.gross_pnl == pytest.approx(40.00)
    assert trade.spread_cost == pytest.approx(1.00)
    assert trade.slippage_cost == pytest.approx(0.40)
    assert trade.commission == pytest.approx(10_000 * (1.1010 + 1.1050) * 30e-6)  # 0.6618
    assert trade.pnl == pytest.approx(40 - 1 - 0.4 - 0.6618)
    assert result.equity[-1] == pytest.approx(10_000 + trade.pnl)
    # At the close of the entry bar: half the spread, slippage and commission of one side are paid, ten pips are won.
    assert result.equity[1 + 1 - 0] == pytest.approx(10_000 + 10.00 - 0.5 - 0.2 - 0.3303)


@pytest.mark.parametrize("engine", ["ledger", "backtesting"])
def test_a_short_position_sells_at_the_bid_and_buys_at_the_ask(engine: str) -> None:
    table = flat_price(8)
    table[2] = [1.0990, 1.0995, 1.0960, 1.0970]
    table[4] = [1.0950, 1.0955, 1.0940, 1.0950]
    result = run(table, [0.7, 0.2, 0.5, 0.5], costs(spread_pips=2.0), engine=engine)
    trade = result.trades.iloc[0]
    assert trade.direction == -1
    assert trade.entry_price == pytest.approx(1.0989)
    assert trade.exit_price == pytest.approx(1.0951)
    assert trade.pnl == pytest.approx(38.00)  # 40 pips less the spread of 2, at 1 USD a pip


@pytest.mark.parametrize("engine", ["ledger", "backtesting"])
@pytest.mark.parametrize(
    ("side", "bar", "reason", "price"),
    [
        # Decided at 1.1000 with a standard deviation of 0.1 %: stop 1.098901, target 1.101101 for a long position.
        (1, [1.1000, 1.1005, 1.0988, 1.0995], "stop", 1.098901),
        (1, [1.1000, 1.1020, 1.0995, 1.1010], "target", 1.101101),
        (1, [1.1000, 1.1020, 1.0980, 1.1010], "stop", 1.098901),  # both touched: the stop comes first
        (1, [1.1000, 1.1010, 1.0990, 1.1000], None, None),
        (-1, [1.1000, 1.1020, 1.0995, 1.1010], "stop", 1.101101),
        (-1, [1.1000, 1.1005, 1.0980, 1.0995], "target", 1.098901),
        (-1, [1.1000, 1.1020, 1.0980, 1.1010], "stop", 1.101101),
    ],
)
def test_stop_and_target_inside_the_bar_of_the_entry(
    engine: str, side: int, bar: list[float], reason: str | None, price: float | None
) -> None:
    table = flat_price(8)
    table[2] = bar
    trade = run(
        table, [0.7, 0.8 if side > 0 else 0.2, 0.5, 0.5], engine=engine, stop_loss=1.0, take_profit=1.0
    ).trades.iloc[0]  # fmt: skip
    if reason is None:
        assert trade.reason == "holding"
    else:
        assert (trade.direction, trade.reason, trade.bars_held) == (side, reason, 0)
        assert trade.exit_price == pytest.approx(price, abs=1e-6)


@pytest.mark.parametrize("engine", ["ledger", "backtesting"])
@pytest.mark.parametrize(
    ("side", "opens", "reason"),
    [(1, 1.0950, "stop"), (1, 1.1050, "target"), (-1, 1.1050, "stop"), (-1, 1.0950, "target")],
)
def test_a_gap_beyond_the_level_fills_at_the_open(engine: str, side: int, opens: float, reason: str) -> None:
    table = flat_price(8)
    table[3] = [opens, opens + 0.0002, opens - 0.0002, opens]
    up = [0.7, 0.8 if side > 0 else 0.2, 0.5, 0.5]
    trade = run(table, up, costs(spread_pips=1.0), engine=engine, stop_loss=1.0, take_profit=1.0).trades.iloc[0]
    assert trade.reason == reason
    assert trade.exit_price == pytest.approx(opens - side * 0.00005)
    assert trade.exit_signal_price == pytest.approx(1.1 * np.exp((1 if reason == "target" else -1) * side * 0.001))


@pytest.mark.parametrize("engine", ["ledger", "backtesting"])
@pytest.mark.parametrize("side", [1, -1])
def test_the_bid_closes_a_long_position_and_the_ask_a_short_one(engine: str, side: int) -> None:
    """Spread 2 pips: half a pip is missing to the stop at mid, and the closing side touches it all the same."""
    up = [0.7, 0.8 if side > 0 else 0.2, 0.5, 0.5]
    stop, target = (1.1 * np.exp(turn * side * 0.001) for turn in (-1, 1))
    table = flat_price(8)
    near = stop + side * 0.00005
    table[2] = [1.1, max(1.1, near), min(1.1, near), 1.1]
    touched = run(table, up, costs(spread_pips=2.0), engine=engine, stop_loss=1.0).trades.iloc[0]
    assert (touched.reason, touched.bars_held) == ("stop", 0)
    assert touched.exit_price == pytest.approx(stop)
    beyond = target + side * 0.00005
    table[2] = [1.1, max(1.1, beyond), min(1.1, beyond), 1.1]
    missed = run(table, up, costs(spread_pips=2.0), engine=engine, take_profit=1.0).trades.iloc[0]
    assert missed.reason == "holding"


@pytest.mark.parametrize("engine", ["ledger", "backtesting"])
@pytest.mark.parametrize("side", [1, -1])
def test_a_trailing_stop_follows_closed_bars_and_never_goes_back(engine: str, side: int) -> None:
    """One standard deviation (0.1 %) behind the best price: 52 pips leave it 11 pips below, from the next bar on."""
    away = [[0, 5, -2, 0], [0, 52, -5, 48], [45, 46, 38, 40], [40, 42, 36, 40], [40, 41, 39, 40]]  # pips in favour
    table = flat_price(10)
    for row, (first, best, worst, last) in enumerate(away, start=2):
        points = [1.1 + side * pips * 1e-4 for pips in (first, best, worst, last)]
        table[row] = [points[0], max(points[1:3]), min(points[1:3]), points[3]]
    up = [0.7, *[0.8 if side > 0 else 0.2] * 7]
    trade = run(table, up, engine=engine, trailing_stop=1.0).trades.iloc[0]
    assert trade.reason == "trailing"
    assert trade.bars_held == 2  # not in the bar of the best price, although that fell behind it before its close
    assert trade.exit_price == pytest.approx((1.1 + side * 0.0052) * np.exp(-side * 0.001), abs=1e-9)


@pytest.mark.parametrize("engine", ["ledger", "backtesting"])
def test_maximum_holding_opposite_signals_and_confirmation(engine: str) -> None:
    up = [0.7, 0.8, 0.8, 0.8, 0.8, 0.8, 0.5, 0.5, 0.5, 0.5]

    def held(**changes: Any) -> list[int]:
        return run(flat_price(14), up, engine=engine, **changes).trades.bars_held.tolist()

    assert held() == [6]  # the last confirmation is four bars after the first signal, and two bars are the horizon
    assert held(max_holding="3h") == [3, 2]  # only the last signal still comes when it may enter again
    turn = [0.7, 0.8, 0.2, 0.5, 0.5, 0.5, 0.5]
    assert run(flat_price(12), turn, engine=engine).trades.reason.tolist() == ["reversal", "holding"]
    ignored = run(flat_price(12), turn, engine=engine, exit_on_opposite=False).trades
    assert (ignored.reason.tolist(), ignored.bars_held.tolist()) == (["holding"], [2])


@pytest.mark.parametrize("engine", ["ledger", "backtesting"])
def test_what_is_open_after_the_last_bar_is_closed_at_its_close(engine: str) -> None:
    table = flat_price(5)
    table[4] = [1.1, 1.1030, 1.0999, 1.1025]
    result = run(table, [0.7, 0.5, 0.5, 0.8], costs(spread_pips=1.0), engine=engine)
    trade = result.trades.iloc[0]
    assert (trade.reason, trade.exit_time) == ("end", pd.Timestamp("2024-01-09 05:00", tz="UTC"))
    assert trade.pnl == pytest.approx(25 - 1)
    assert result.equity[-1] == pytest.approx(10_024)


@pytest.mark.parametrize(("side", "leaves", "pip_value"), [(1, 145.60, 0.68681), (-1, 144.40, 0.69252)])
def test_yen_profits_become_dollars_at_the_price_of_the_exit(side: int, leaves: float, pip_value: float) -> None:
    """USDJPY from 145.00 by 60 pips, 0.1 lot: 6000 JPY, less a spread of 1.2 pips (120 JPY), at the price then."""
    table = flat_price(8, 145.0, 0.02)
    table[4] = [leaves, leaves + 0.05, leaves - 0.05, leaves]
    up = [0.7, 0.8 if side > 0 else 0.2, 0.5, 0.5]
    result = run(table, up, costs(spread_pips=1.2, commission_per_million=30), "USDJPY")
    trade = result.trades.iloc[0]
    assert (trade.direction, trade.gross_pnl) == (side, pytest.approx(6000 / leaves))
    assert trade.spread_cost == pytest.approx(120 / leaves)
    assert trade.commission == pytest.approx(2 * 10_000 * 30e-6)  # 10 000 USD either way
    assert (trade.entry_rate, trade.exit_rate) == (pytest.approx(1 / 145), pytest.approx(1 / leaves))
    # USD a pip and tenth of a lot.
    assert 0.01 * trade.units * trade.exit_rate == pytest.approx(pip_value, abs=1e-5)
    # Marked at the close before: nothing won, half the spread paid.
    assert result.equity[2] == pytest.approx(10_000 - 60 / 145 - 0.3)


def pounds(level: Any) -> Any:
    """GBPUSD bars whose closes are `level`, known an hour before the bar of the same row closes."""
    closes = np.asarray(level, dtype=np.float64)
    return candles_of(np.stack([closes, closes, closes, closes], axis=1), "GBPUSD", "2024-01-08T23:00")


@pytest.mark.parametrize(("side", "leaves"), [(-1, 0.8580), (1, 0.8620)])
def test_pounds_become_dollars_at_the_rate_known_at_the_time(side: int, leaves: float) -> None:
    """EURGBP from 0.8600 by 20 pips, 0.1 lot: 20 GBP; GBPUSD is 1.27 at the entry and 1.30 at the exit."""
    table, up = flat_price(9, 0.86), [0.7, 0.8 if side > 0 else 0.2, 0.5, 0.5]
    table[4] = [leaves, leaves + 0.0002, leaves - 0.0002, leaves]
    # Row r of GBPUSD closes when row r of EURGBP opens.
    rate = pounds([1.27, 1.27, 1.27, 1.28, 1.30, 9.0, 9.0, 9.0, 9.0])
    result = run(table, up, costs(commission_per_million=30), "EURGBP", {"GBPUSD": rate})
    trade = result.trades.iloc[0]
    assert (trade.direction, trade.entry_rate, trade.exit_rate) == (side, 1.27, 1.30)
    assert trade.gross_pnl == pytest.approx(20 * 1.30)
    assert trade.commission == pytest.approx(10_000 * 30e-6 * (0.86 * 1.27 + leaves * 1.30))
    inverse = candles_of([[1 / p] * 4 for p in rate.close], "USDGBP", "2024-01-08T23:00")
    again = run(table, up, costs(commission_per_million=30), "EURGBP", {"USDGBP": inverse})
    pd.testing.assert_frame_equal(result.trades, again.trades)


def test_a_third_currency_may_lead_to_the_account() -> None:
    table = flat_price(8, 0.86)
    table[4] = [0.8580, 0.8582, 0.8578, 0.8580]
    euros = candles_of([[1.1] * 4] * 9, "EURUSD", "2024-01-08T23:00")
    through = run(
        table, [0.7, 0.2, 0.5, 0.5], FREE, "EURGBP", {"GBPUSD": pounds([1.32] * 9), "USDCHF": pounds_to_francs()},
        account_currency="CHF",
    ).trades.iloc[0]  # fmt: skip
    assert through.exit_rate == pytest.approx(1.32 * 0.9)
    own = run(table, [0.7, 0.2, 0.5, 0.5], FREE, "EURGBP", {"EURUSD": euros}, account_currency="EUR").trades.iloc[0]
    assert own.exit_rate == pytest.approx(1 / 0.858)


def pounds_to_francs() -> Any:
    """USDCHF at 0.9 all the time."""
    return candles_of([[0.9] * 4] * 9, "USDCHF", "2024-01-08T23:00")


def test_a_missing_rate_names_the_pair_to_import() -> None:
    table = flat_price(8, 0.86)
    with pytest.raises(DataError, match=r"in GBP and the account is in USD: import GBPUSD .*account_currency to GBP"):
        run(table, [0.7, 0.2, 0.5, 0.5], FREE, "EURGBP")
    with pytest.raises(DataError, match=r"import USDJPY"):
        run(flat_price(8, 160.0), [0.7, 0.2, 0.5, 0.5], FREE, "EURJPY")
    late = candles_of([[1.27] * 4] * 9, "GBPUSD", "2024-01-10")
    with pytest.raises(DataError, match=r"GBPUSD converts profits of EURGBP and begins 2024-01-10T01"):
        run(table, [0.7, 0.2, 0.5, 0.5], FREE, "EURGBP", {"GBPUSD": late})
    old = candles_of([[1.27] * 4] * 9, "GBPUSD", "2024-01-01T12:00")
    with pytest.raises(DataError, match=r"last bar before 2024-01-09T0.* import GBPUSD for that time"):
        run(table, [0.7, 0.2, 0.5, 0.5], FREE, "EURGBP", {"GBPUSD": old})


def test_an_entry_is_refused_where_the_gap_makes_it_too_large_for_the_margin() -> None:
    """Leverage 2 and 9000 EUR wanted with 5000 USD: at the open the euro costs 1.20 instead of 1.10."""
    table = flat_price(8)
    for row in range(2, 8):
        table[row] = [1.2, 1.2002, 1.1998, 1.2]
    result = run(
        table, [0.7, 0.8, 0.5, 0.5], sizing={"method": "percent"}, size_fraction=1.98, leverage=2, margin_use=1.0,
        initial_cash=5000, lot_units=1,
    )  # fmt: skip
    assert result.status == "no trades"
    assert dict(result.refused) == {"margin": 1, "too_small": 0, "late": 0}


def test_bid_bars_are_lifted_to_mid() -> None:
    """Bid 1.1000 and a spread of 2 pips: bought at the ask 1.1002, sold at the bid."""
    candles = candles_of(flat_price(8), side="bid")
    forecast = forecast_with([0.7, 0.8, 0.5, 0.5], candles.known_at[:4])
    trade = run_backtest(
        candles, forecast, config(sizing={"method": "fixed", "lots": 0.1}), costs(spread_pips=2.0), broker=broker()
    ).trades.iloc[0]
    assert (trade.entry_price, trade.exit_price) == (pytest.approx(1.1002), pytest.approx(1.1000))


def test_orders_and_fills_say_what_was_meant_and_what_happened() -> None:
    table = flat_price(8)
    table[3] = [1.0950, 1.0952, 1.0948, 1.0950]  # a gap through the stop at 1.098901
    result = run(
        table, [0.7, 0.8, 0.5, 0.5], costs(spread_pips=1.0, slippage_pips=0.5, commission_per_million=30), stop_loss=1.0
    )
    enter, leave = result.orders.to_dict("records")
    assert (enter["purpose"], enter["kind"], enter["direction"], enter["units"]) == ("entry", "market", 1, 10_000)
    assert (leave["purpose"], leave["kind"], leave["direction"], leave["reason"]) == ("exit", "stop", -1, "stop")
    assert enter["signal_price"] == pytest.approx(1.1000)
    assert leave["signal_price"] == pytest.approx(1.1 * np.exp(-0.001))
    assert leave["decided_at"] == enter["decided_at"]
    bought, sold = result.fills.to_dict("records")
    assert (bought["order"], sold["order"]) == (enter["order"], leave["order"])
    assert sold["price"] == pytest.approx(1.0950 - 0.00005 - 0.00005)
    trade = result.trades.iloc[0]
    for name, total in (("spread", "spread_cost"), ("slippage", "slippage_cost"), ("commission", "commission")):
        assert bought[name] + sold[name] == pytest.approx(trade[total])
