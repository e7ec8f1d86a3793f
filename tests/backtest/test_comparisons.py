"""Rules without a model on literal candle tables; where trades earned, by label and month."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fxgpt_core.backtest.adapter import run_backtest
from fxgpt_core.backtest.breakdown import breakdowns, by_label, monthly_returns, monthly_trades
from fxgpt_core.backtest.comparisons import comparisons
from fxgpt_core.backtest.scrutiny import book_of
from fxgpt_core.evaluation.groups import Labels
from fxgpt_core.store.asset_config import Costs
from tests.backtest.cases import FREE, PLAIN, broker, candles_of, config, costs, forecast_with, random_case

RISING = [[1.1 + i * 0.001, 1.101 + i * 0.001, 1.099 + i * 0.001, 1.1 + i * 0.001] for i in range(30)]
UNITS = 10_000


def _rules(table: list[list[float]], charged: Costs, up: list[float]) -> dict[str, tuple[float, int]]:
    candles = candles_of(table)
    chosen = config(sizing={"method": "fixed", "lots": 0.1}, initial_cash=100_000)
    forecast = forecast_with([0.5, *up], candles.known_at[: len(up) + 1])
    result = run_backtest(candles, forecast, chosen, charged, broker=broker())
    found = comparisons(book_of(candles, forecast, chosen, charged, broker()), result)
    return {rule.name: (rule.total_return * 100_000, rule.trades) for rule in found}


def test_holding_earns_the_whole_move_less_one_round_trip() -> None:
    """Signals at bars 1 to 3: bought at the open of bar 2, held to the last close; the spread is paid once."""
    up = [0.6, 0.6, 0.6]
    free, charged = (_rules(RISING, c, up) for c in (FREE, costs(spread_pips=2.0)))
    last = len(up) + 2 + 2  # the book ends two bars after the last forecast's position has run out
    moved = (RISING[last - 1][3] - RISING[2][0]) * UNITS
    assert free["buy and hold"] == (pytest.approx(moved), 1)
    assert free["sell and hold"] == (pytest.approx(-moved), 1)
    assert free["buy and hold"][0] - charged["buy and hold"][0] == pytest.approx(0.0002 * UNITS)


def test_holding_pays_every_night() -> None:
    """Three nights at 0.5 pips for 10 000 units, from Tuesday noon to Friday noon: Wednesday counts three times."""
    bars = candles_of([[1.1] * 4] * 120, start="2024-01-09T12:00")
    at = broker(instruments={"EURUSD": {"swaps": [{"long": -5.0, "short": 1.0}]}})
    chosen = config(sizing={"method": "fixed", "lots": 0.1}, initial_cash=100_000)
    forecast = forecast_with(np.r_[0.5, 0.6, np.full(70, 0.5)], bars.known_at[:72])
    charged = costs(swap=True)
    result = run_backtest(bars, forecast, chosen, charged, broker=at)
    found = {c.name: c for c in comparisons(book_of(bars, forecast, chosen, charged, at), result)}
    nights = 1 + 3 + 1
    assert found["buy and hold"].paid["swap"] * 100_000 == pytest.approx(nights * 0.5 * 1e-4 * UNITS)
    assert found["sell and hold"].paid["swap"] * 100_000 == pytest.approx(-nights * 0.1 * 1e-4 * UNITS)
    assert found["buy and hold"].total_return == pytest.approx(-found["buy and hold"].paid["swap"])


def test_a_holder_stays_over_the_weekend_that_the_strategy_must_not() -> None:
    candles, forecast = random_case(5, bars=400)
    held = []
    for flat in (True, False):
        chosen = config(history_rows=10, horizon="4h", exit_before_weekend=flat)
        result = run_backtest(candles, forecast, chosen, FREE, broker=broker())
        assert ("weekend" in set(result.trades["reason"])) == flat
        held.append(comparisons(book_of(candles, forecast, chosen, FREE, broker()), result)[0])
    assert held[0].trades == held[1].trades == 1
    assert held[0].gross_return == pytest.approx(held[1].gross_return)


def test_the_last_move_is_followed_and_faded_at_the_strategys_own_signals() -> None:
    """Prices only rise, and the model sells: who follows the last move buys, with the same size and times."""
    rules = _rules(RISING, FREE, [0.5, 0.5, 0.4, 0.5, 0.5, 0.5])
    earned = 2 * 0.001 * UNITS  # two bars, from the open of bar 4 to that of bar 6
    assert rules["follow the last move"] == (pytest.approx(earned), 1)
    assert rules["fade the last move"] == (pytest.approx(-earned), 1)


def test_what_trades_nothing_is_compared_with_nothing() -> None:
    candles, _ = random_case(1)
    silent = forecast_with(np.full(300, 0.5), candles.known_at[:300])
    result = run_backtest(candles, silent, PLAIN, FREE, broker=broker())
    assert comparisons(book_of(candles, silent, PLAIN, FREE, broker()), result) == []
    assert breakdowns(result.trades) == {}


def test_groups_add_up_to_the_whole() -> None:
    candles, forecast = random_case(2, bars=800)
    result = run_backtest(
        candles, forecast, config(history_rows=10, horizon="4h"), Costs(spread_pips=1.0), broker=broker()
    )
    regimes = Labels(candles.known_at, np.where(np.arange(len(candles)) % 2, "calm", "wild"))
    groups = breakdowns(result.trades, regimes)
    assert list(groups) == ["regime", "session", "side", "exit"]
    for found in groups.values():
        assert sum(group.trades for group in found) == len(result.trades)
        assert sum(group.net for group in found) == pytest.approx(result.trades["pnl"].sum())
        for group in found:
            assert group.net == pytest.approx(group.gross - group.costs)
            assert 0 <= group.wins <= group.trades
    decided = result.trades["decided_at"].dt.tz_localize(None).to_numpy()
    odd = (np.searchsorted(candles.known_at, decided) % 2).sum()
    assert {group.label: group.trades for group in groups["regime"]}["calm"] == odd


def test_labels_are_counted_by_hand() -> None:
    trades = pd.DataFrame({"gross_pnl": [3.0, -1.0, 2.0], "pnl": [2.5, -1.5, -0.5]})
    most, least = by_label(trades, ["b", "a", "b"])
    assert (most.label, most.trades, most.wins, most.gross, most.costs, most.net) == ("b", 2, 1, 5.0, 3.0, 2.0)
    assert (least.label, least.net) == ("a", -1.5)


def test_months_multiply_to_the_whole_return() -> None:
    candles, forecast = random_case(2, bars=1500)
    result = run_backtest(
        candles, forecast, config(history_rows=10, horizon="4h"), Costs(spread_pips=1.0), broker=broker()
    )
    months = monthly_returns(result)
    assert list(months) == ["2024-01", "2024-02", "2024-03"]
    whole = np.prod([1 + value for value in months.values()]) - 1
    assert whole == pytest.approx(result.metrics["return"])
    assert sum(monthly_trades(result.trades).values()) == len(result.trades)
