"""The chart that people know from backtesting.py."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from fxgpt_core.backtest.adapter import chart, run_backtest
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.common.errors import DataError
from fxgpt_core.store.asset_config import Costs
from tests.backtest.cases import config, costs, forecast_with, random_case


def test_the_chart_opens_offline_and_counts_the_ledger_s_trades(tmp_path: Path) -> None:
    """Every cost that backtesting.py lacks is left out, also where the asset has it."""
    candles, forecast = random_case(4)
    chosen, page = config(BacktestConfig(), history_rows=20), tmp_path / "chart.html"
    first = candles.open[np.searchsorted(candles.known_at, forecast.decided_at[0])]
    stats = chart(candles, forecast, chosen, Costs(spread_pips=1.0), page)
    plain = config(chosen, initial_cash=10_000 * first)
    ours = run_backtest(candles, forecast, plain, costs(spread_pips=1.0, commission_per_million=30))
    assert stats["# Trades"] == len(ours.trades) > 10
    assert stats["Equity Final [$]"] == pytest.approx(ours.equity[-1], rel=1e-9)
    text = page.read_text()
    assert not re.findall(r"<(?:script|link)[^>]*(?:src|href)=", text)


def test_forecasts_that_trade_nothing_have_no_chart(tmp_path: Path) -> None:
    candles, _ = random_case(4)
    silent = forecast_with(np.full(50, 0.5), candles.known_at[:50])
    with pytest.raises(DataError, match=r"trade nothing: there is no chart"):
        chart(candles, silent, BacktestConfig(), Costs(), tmp_path / "chart.html")
