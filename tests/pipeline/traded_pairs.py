"""Pairs with bars and calibrated forecasts that lean, without a lineage run: what backtests and portfolios read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fxgpt_core.evaluation.archive import CALIBRATED, read_span, write_span
from fxgpt_core.market.files.importing import import_file
from fxgpt_core.market.history import update_candles
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_pipeline.evaluating import FILLS, ORDERS, TRADES, backtest_name, traded
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.workspace import Workspace
from tests.backtest.cases import forecast_with
from tests.pipeline.small_home import write_csv

ASSET: dict[str, Any] = {"source": "import", "timeframes": ["1h"], "horizons": ["1h", "4h"], "models": {"ewma": {}}}


def give(space: Workspace, symbol: str, price: float, seed: int, folder: Path) -> None:
    """Store bars of a configured pair, forecasts of `ewma`, and, but for USDJPY, a champion."""
    bars = simulate(symbol, "1h", start=np.datetime64("2024-01-01"), bars=900, seed=seed, price=price)
    import_file(space.lake, write_csv(bars, folder / f"{symbol}_1h.csv"), side="mid", tz="UTC")
    lineage = space.lineage(symbol)
    update_candles(space.lake, symbol, lineage.timeframes, lineage.asset.candle_source, lineage.settings.quality)
    candles = lineage.candles()
    up = np.random.default_rng(seed).uniform(0.3, 0.7, len(candles))
    forecast = forecast_with(up, candles.known_at, (60, 240), symbol=symbol)
    write_span(space.lake, CALIBRATED, replace(forecast, family="ewma"), "made")
    if symbol != "USDJPY":
        space.documents.write("champion", symbol, {"champion_family": "ewma"}, "made")


def store_backtest(lineage: Lineage) -> str:
    """Store a backtest of `ewma` as its asset does, without what chance would have earned; returns its status."""
    result, _ = traded(lineage, read_span(lineage.workspace.lake, CALIBRATED, lineage.symbol, "ewma"))
    for name, frame in ((TRADES, result.trades), (ORDERS, result.orders), (FILLS, result.fills)):
        keys = {"symbol": lineage.symbol, "family": "ewma"}
        lineage.workspace.lake.write(name, keys, "span=all", pa.Table.from_pandas(frame, preserve_index=False))
    lineage.workspace.documents.write(backtest_name("ewma"), lineage.symbol, result.summary(), "made")
    return result.status
