"""What several pairs on one capital may hold together: literal tables with the exact sizes and reasons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from fxgpt_core.backtest.exposure import correlation
from fxgpt_core.backtest.limits import PortfolioLimits, returns_on
from fxgpt_core.backtest.portfolio import run_portfolio
from fxgpt_core.backtest.result import BacktestResult
from fxgpt_core.market.candles import Candles
from tests.backtest.cases import FREE, broker, candles_of, config, forecast_with

NONE: dict[str, Any] = {"gross": None, "net": None, "currency": None, "correlated": None, "positions": None}
LONG, SHORT = [0.6, 0.8], [0.4, 0.2]


def limits(**given: Any) -> PortfolioLimits:
    return PortfolioLimits.model_validate({**NONE, **given})


def flat(symbol: str, bars: int = 8) -> Candles:
    """Bars at 1.0 that never move: notional values are units, and no correlation is known."""
    return candles_of([[1.0] * 4] * bars, symbol)


def trade(views: dict[str, list[float]], given: PortfolioLimits | None, **changes: Any) -> BacktestResult:
    """Trade each pair once, decided at the close of its second bar; 10 000 USD, each position as large as equity."""
    parts = []
    for symbol, up in views.items():
        candles = flat(symbol)
        parts.append((candles, forecast_with(up, candles.known_at[: len(up)], symbol=symbol), FREE))
    rates = {name: candles_of([[1.0] * 4] * 40, name, "2024-01-08") for name in ("GBPUSD", "USDCHF")}
    return run_portfolio(parts, config(**{"initial_cash": 10_000, **changes}), given, broker=broker(rates))


def said(result: BacktestResult) -> dict[str, tuple[float, float, str, str]]:
    """Units, wanted units, reason and status of each entry order by pair."""
    entries = result.orders[result.orders.purpose == "entry"].set_index("symbol")
    return {
        str(symbol): (float(row.units), float(row.wanted), str(row.limited_by), str(row.status))
        for symbol, row in entries.iterrows()
    }


def held(result: BacktestResult) -> dict[str, float]:
    return dict(zip(result.trades.symbol, result.trades.direction * result.trades.units, strict=True))


def test_gross_exposure_cuts_what_is_too_much_and_refuses_the_rest() -> None:
    result = trade({"EURUSD": LONG, "GBPUSD": SHORT, "AUDUSD": LONG}, limits(gross=1.5))
    assert held(result) == {"EURUSD": 10_000, "GBPUSD": -5_000}
    assert said(result) == {
        "EURUSD": (10_000, 10_000, "", "sent"),
        "GBPUSD": (5_000, 10_000, "gross", "sent"),
        "AUDUSD": (10_000, 10_000, "gross", "withheld"),
    }
    assert result.refused == {"margin": 0, "too_small": 0, "late": 0, "gross": 1}
    assert set(result.fills["order"]) == {0, 1, 2, 3}  # what was withheld has an order and no fill


def test_net_exposure_leaves_room_to_the_other_side() -> None:
    views = {"EURUSD": LONG, "GBPUSD": LONG, "AUDUSD": SHORT, "NZDUSD": LONG}
    result = trade(views, limits(net=1.5))
    assert held(result) == {"EURUSD": 10_000, "GBPUSD": 5_000, "AUDUSD": -10_000, "NZDUSD": 10_000}
    assert said(result)["GBPUSD"][2] == "net"


def test_two_pairs_that_hold_the_same_currency_share_its_limit() -> None:
    """Long EURUSD and long EURGBP both hold EUR; the euro of a short EURGBP is owed, and offsets."""
    both = trade({"EURUSD": LONG, "EURGBP": LONG}, limits(currency=1.5))
    assert held(both) == {"EURUSD": 10_000, "EURGBP": 5_000}
    assert said(both)["EURGBP"] == (5_000, 10_000, "currency EUR", "sent")
    against = trade({"EURUSD": LONG, "EURGBP": SHORT}, limits(currency=1.5))
    assert held(against) == {"EURUSD": 10_000, "EURGBP": -10_000}
    assert set(said(against).values()) == {(10_000, 10_000, "", "sent")}


def test_the_quote_currency_counts_as_well() -> None:
    """Long EURUSD, long GBPUSD and short USDCHF all owe dollars."""
    result = trade({"EURUSD": LONG, "GBPUSD": LONG, "USDCHF": SHORT}, limits(currency=2.0))
    assert held(result) == {"EURUSD": 10_000, "GBPUSD": 10_000}
    assert said(result)["USDCHF"] == (10_000, 10_000, "currency USD", "withheld")


def test_no_more_positions_than_allowed() -> None:
    result = trade({"EURUSD": LONG, "GBPUSD": SHORT, "AUDUSD": LONG}, limits(positions=2))
    assert held(result) == {"EURUSD": 10_000, "GBPUSD": -10_000}
    assert said(result)["AUDUSD"] == (10_000, 10_000, "positions", "withheld")


def test_without_limits_nothing_is_cut_but_by_margin() -> None:
    views = {"EURUSD": LONG, "GBPUSD": LONG, "AUDUSD": LONG}
    result = trade(views, None, leverage=2, margin_use=1.0)
    assert held(result) == {"EURUSD": 10_000, "GBPUSD": 10_000}
    assert said(result)["AUDUSD"] == (10_000, 10_000, "margin", "withheld")
    assert result.refused == {"margin": 0, "too_small": 1, "late": 0}


def swinging(symbol: str, sign: float, bars: int = 60) -> Candles:
    """Closes that swing, the same way in every pair of one sign."""
    moves = 0.001 * sign * np.random.default_rng(5).standard_normal(bars)
    close = np.exp(np.cumsum(moves))
    opens = np.r_[1.0, close[:-1]]
    return candles_of(np.stack([opens, np.maximum(opens, close), np.minimum(opens, close), close], axis=1), symbol)


def correlated(second: str, sign: float, up: list[float], **given: Any) -> dict[str, tuple[float, float, str, str]]:
    """Long EURUSD and, at the same close, another pair; 50 bars are known when they are decided."""
    parts = []
    for symbol, swing, view in (("EURUSD", 1.0, LONG), (second, sign, up)):
        candles = swinging(symbol, swing)
        parts.append((candles, forecast_with(view, candles.known_at[49:51], symbol=symbol), FREE))
    chosen = limits(correlated=1.5, correlation=0.8, correlation_bars=40, **given)
    return said(run_portfolio(parts, config(initial_cash=10_000), chosen, broker=broker()))


def test_pairs_that_move_together_share_one_limit() -> None:
    """EURUSD at 0.985 takes 9 848 of 15 000 USD; 5 151 are left, five lots at 0.985 or at 1.015. Opposites are free."""
    assert correlated("GBPUSD", 1.0, LONG)["GBPUSD"] == (5_000, 10_000, "correlation EURUSD", "sent")
    assert correlated("GBPUSD", -1.0, SHORT)["GBPUSD"] == (5_000, 9_000, "correlation EURUSD", "sent")
    assert correlated("GBPUSD", 1.0, SHORT)["GBPUSD"] == (10_000, 10_000, "", "sent")
    assert correlated("GBPUSD", -1.0, LONG)["GBPUSD"] == (9_000, 9_000, "", "sent")


def test_pairs_whose_correlation_is_not_known_count_as_one() -> None:
    result = trade({"EURUSD": LONG, "GBPUSD": SHORT}, limits(correlated=1.5))
    assert held(result) == {"EURUSD": 10_000, "GBPUSD": -5_000}
    assert said(result)["GBPUSD"][2] == "correlation EURUSD"


def test_correlation_reads_nothing_after_the_decision() -> None:
    rng = np.random.default_rng(1)
    one, two = rng.standard_normal((2, 100))
    one[[10, 40]], two[41] = np.nan, np.nan
    keep = [row for row in range(21, 61) if row not in (40, 41)]
    want = np.corrcoef(one[keep], two[keep])[0, 1]
    assert correlation(one, two, 60, 40, 20) == pytest.approx(want)
    changed = np.where(np.arange(100) > 60, 99.0, two)
    assert correlation(one, changed, 60, 40, 20) == correlation(one, two, 60, 40, 20)
    assert np.isnan(correlation(one, two, 60, 40, 39))


def test_returns_stand_at_their_close_and_reach_back_before_the_first_bar() -> None:
    euro, pound = swinging("EURUSD", 1.0), swinging("GBPUSD", -1.0).take(np.r_[0:30, 31:60])
    times = euro.ts_utc[20:]
    found = returns_on(times, [euro, pound], 5)
    assert found.shape == (2, 5 + 40)
    np.testing.assert_allclose(found[0], np.log(euro.close[15:] / euro.close[14:-1]))
    assert np.flatnonzero(np.isnan(found[1])).tolist() == [5 + 10, 5 + 11]  # its missing bar, and the one after
    assert np.isnan(returns_on(euro.ts_utc, [euro], 5)[0, :6]).all()


def test_limits_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match=r"net 3 can never be reached below gross 2"):
        PortfolioLimits(gross=2.0)


def test_a_pair_that_waits_for_its_next_bar_counts_already() -> None:
    """GBPUSD has no bar at 02:00 and 03:00; its order of 02:00 still takes its share of what a later entry may have."""
    pound = flat("GBPUSD", 10).take(np.array([0, 1, 4, 5, 6, 7, 8, 9]))
    euro = flat("EURUSD", 10)
    parts = [
        (pound, forecast_with(LONG, pound.known_at[:2], symbol="GBPUSD"), FREE),
        (euro, forecast_with([0.5, 0.5, 0.8], euro.known_at[:3]), FREE),
    ]
    result = run_portfolio(parts, config(initial_cash=10_000), limits(gross=1.5), broker=broker())
    assert result.trades.set_index("symbol").entry_time["GBPUSD"] == pd.Timestamp("2024-01-09 04:00", tz="UTC")
    assert result.trades.set_index("symbol").entry_time["EURUSD"] == pd.Timestamp("2024-01-09 03:00", tz="UTC")
    assert said(result)["EURUSD"][:3] == (5_000, 10_000, "gross")
