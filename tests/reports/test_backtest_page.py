"""The page of a backtest: whole, self-contained, true to the figures, and honest where nothing was traded."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from fxgpt_core.backtest.adapter import run_backtest
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.luck import judge, trial_of, verdict
from fxgpt_core.backtest.scrutiny import scrutinise
from fxgpt_core.evaluation.groups import Labels
from fxgpt_core.reports.backtest_page import BacktestInputs, render_backtest
from fxgpt_core.store.asset_config import Costs
from tests.backtest.cases import broker, config, forecast_with, random_case


def inputs(silent: bool = False) -> BacktestInputs:
    candles, forecast = random_case(2, bars=900)
    if silent:
        forecast = forecast_with(np.full(300, 0.5), candles.known_at[:300], (60, 240, 1440))
    chosen, charged = config(BacktestConfig(), history_rows=20, stop_loss=2.0), Costs(spread_pips=1.0)
    result = run_backtest(candles, forecast, chosen, charged, broker=broker())
    regimes = Labels(candles.known_at, np.where(np.arange(len(candles)) % 2, "calm", "wild"))
    held = scrutinise(result, candles, forecast, chosen, charged, broker=broker(), regimes=regimes, draws=20)
    own = trial_of(result, "forecasts", chosen)
    luck = judge(own, [own])
    document = {**result.summary(), "note": "", "curve": result.curve(200), **held.to_dict()}
    return BacktestInputs(
        symbol="EURUSD", label="Ridge <1>", made_at="2024-03-01 12:00 UTC", document=document, trades=result.trades,
        candles=candles, forecast=forecast, luck=None if luck is None else luck.to_dict(),
        sentences=verdict(luck, 0.4), costs="spread 1 pips",
    )  # fmt: skip


@pytest.fixture(scope="module")
def made() -> tuple[BacktestInputs, str]:
    given = inputs()
    return given, render_backtest(given)


def test_the_page_loads_nothing_and_escapes_names(made: tuple[BacktestInputs, str]) -> None:
    text = made[1]
    assert "<script" not in text
    assert not re.search(r'(?:src|href)="(?!#|overview\.html)[a-z/]', text)
    assert "Ridge &lt;1&gt;" in text
    assert text.count("<svg") == 9  # equity, chance, waterfall, and two trades each: worst, best, last


def test_the_page_shows_the_figures(made: tuple[BacktestInputs, str]) -> None:
    given, text = made
    metrics: dict[str, Any] = given.document["metrics"]
    assert f"{metrics['return']:+.2%}" in text
    assert f"{given.document['random_entries']['p_return']:.3f}" in text
    for sentence in given.sentences:
        assert sentence in text.replace("&#39;", "'")
    low, high = given.document["intervals"]["profit_factor"]
    assert f"<td>{metrics['profit_factor']:.2f}</td><td>{low:.2f} to {high:.2f}</td>" in text
    worst = given.trades.sort_values("pnl").iloc[0]
    assert f"{worst['pnl']:,.2f} USD net" in text
    for month, value in given.document["months"].items():
        assert month.startswith("2024-0")
        assert f"{value:+.2%}" in text
    for label in ("calm", "wild", "long", "short", "london", "stop"):
        assert f"<td>{label}</td>" in text


def test_trades_are_drawn_once_each_also_where_there_are_few(made: tuple[BacktestInputs, str]) -> None:
    given = made[0]
    few = BacktestInputs(**{**given.__dict__, "trades": given.trades.iloc[:3]})
    assert render_backtest(few).count("<figure>") == 3


def test_what_traded_nothing_says_so_and_draws_nothing() -> None:
    text = render_backtest(inputs(silent=True))
    assert "Nothing was traded: n/a: no direction" in text
    assert "<svg" not in text
