"""Bars and forecasts that the tests of backtests share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.stats import norm

from fxgpt_core.backtest.adapter import Broker
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.common.forecast import LEVELS, Forecast
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.instrument_config import InstrumentsConfig
from fxgpt_core.market.market_hours import market_hours
from fxgpt_core.store.asset_config import Costs

HOUR = np.timedelta64(3600, "s")
FREE = Costs.model_construct(
    spread_pips=0.0,
    commission_per_million=0.0,
    slippage_pips=0.0,
    spread="constant",
    slippage_volatility=0.0,
    swap=False,
)
PLAIN = BacktestConfig(confidence_quantile=0.0, history_rows=1, exit_before_weekend=False, horizon="2h")


def costs(**values: Any) -> Costs:
    """Costs with nothing charged but what is named."""
    return FREE.model_copy(update=values)


def config(base: BacktestConfig = PLAIN, **changes: Any) -> BacktestConfig:
    """`base` with changes, validated."""
    return BacktestConfig.model_validate({**base.model_dump(), **changes})


def candles_of(
    table: Any, symbol: str = "EURUSD", start: str = "2024-01-09", bar: str = "1h", **columns: Any
) -> Candles:
    """Bars from rows of open, high, low, close, one after another from `start` (UTC)."""
    prices = np.array(table, dtype=np.float64)
    frame = timeframe(bar)
    opens = np.datetime64(start, "ns") + np.arange(len(prices)) * frame.duration
    empty = {"volume": np.full(len(prices), np.nan), "spread": np.full(len(prices), np.nan)}
    side = columns.pop("side", "mid")
    return Candles(symbol, frame, side, columns.pop("ts_utc", opens), *prices.T.copy(), **{**empty, **columns})


def forecast_with(
    up: Any, decided_at: Any, horizons: tuple[int, ...] = (120,), std: Any = 0.001, symbol: str = "EURUSD"
) -> Forecast:
    """Normal forecasts whose P(up) is about `up`: (rows,)."""
    levels, rows = np.asarray(LEVELS), len(up)
    spread = np.repeat(np.broadcast_to(std, rows)[:, None], len(horizons), axis=1)
    mean = norm.ppf(np.asarray(up))[:, None] * spread
    text = np.full(rows, "v1", dtype=object)
    return Forecast(
        symbol=symbol, family="test", horizons=horizons, decided_at=np.asarray(decided_at),
        made_at=np.asarray(decided_at), trained_until=np.asarray(decided_at) - np.timedelta64(1, "D"),
        model_version=text, calibration_version=text, origin=np.full(rows, "fold", dtype=object), mean=mean,
        std=spread, quantiles=mean[..., None] + spread[..., None] * norm.ppf(levels),
    )  # fmt: skip


def random_case(seed: int, bars: int = 400, symbol: str = "EURUSD", price: float = 1.1) -> tuple[Candles, Forecast]:
    """A random walk of hourly bars with wicks and gaps, and forecasts at every other close or so."""
    rng = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(rng.standard_normal(bars) * 0.001))
    start = np.r_[price, close[:-1]] * np.exp(rng.standard_normal(bars) * 0.0003)
    reach = np.abs(rng.standard_normal((2, bars))) * 0.0008
    high, low = np.maximum(start, close) * (1 + reach[0]), np.minimum(start, close) * (1 - reach[1])
    candles = candles_of(np.stack([start, high, low, close], axis=1), symbol)
    rows = np.sort(rng.choice(bars, bars // 2, replace=False))
    std = 0.001 * rng.uniform(0.7, 1.4, len(rows))
    return candles, forecast_with(
        rng.uniform(0.2, 0.8, len(rows)), candles.known_at[rows], (60, 240, 1440), std, symbol=symbol
    )


def source(bars: Mapping[str, Candles]) -> Callable[[str], Candles | None]:
    """A source of conversion rates."""
    return bars.get


def broker(rates: Mapping[str, Candles] | None = None, **instruments: Any) -> Broker:
    """A broker with no spread table and no interest, but what is named (keys of `instruments.yaml`)."""
    quiet = {"interest": {"markup": 0.0}, **instruments}
    return Broker(InstrumentsConfig.model_validate(quiet), market_hours(), source(rates or {}))
