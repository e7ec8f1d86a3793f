"""What a portfolio says of each of its pairs, also of one that was neither cut nor refused, or never traded."""

from __future__ import annotations

from fxgpt_core.backtest.limits import PortfolioLimits
from fxgpt_core.backtest.portfolio import run_portfolio
from fxgpt_pipeline.portfolios import pairs_of
from tests.backtest.cases import FREE, broker, candles_of, config, forecast_with


def test_a_pair_without_trades_is_told_beside_one_that_was_cut() -> None:
    """One position at a time: the euro gets it, the pound is refused, and the Australian dollar wants none."""
    bars = {symbol: candles_of([[1.1, 1.1002, 1.0998, 1.1]] * 8, symbol) for symbol in ("EURUSD", "GBPUSD", "AUDUSD")}
    up = {"EURUSD": 0.8, "GBPUSD": 0.8, "AUDUSD": 0.5}
    parts = [
        (candles, forecast_with([0.6, up[symbol], 0.5], candles.known_at[:3], symbol=symbol), FREE)
        for symbol, candles in bars.items()
    ]
    chosen = config(sizing={"method": "fixed", "lots": 0.1})
    told = pairs_of(run_portfolio(parts, chosen, PortfolioLimits(positions=1), broker=broker()))
    assert (told["EURUSD"]["trades"], told["EURUSD"]["causes"]) == (1, {})
    assert (told["GBPUSD"]["trades"], told["GBPUSD"]["causes"]) == (0, {"positions": 1})
    assert told["GBPUSD"]["refused"] == 1
    assert told["AUDUSD"] == {"trades": 0, "gross": 0.0, "net": 0.0, "cut": 0, "refused": 0, "causes": {}}
