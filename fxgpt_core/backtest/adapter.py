"""`run_backtest`: forecasts and candles in, `BacktestResult` out (SPEC 11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.engine import Rules, Simulation, Trade, engine
from fxgpt_core.backtest.metrics import (
    bootstrap_intervals,
    curve_metrics,
    daily_returns,
    random_direction_p,
    trade_metrics,
)
from fxgpt_core.backtest.result import TRADE_COLUMNS, BacktestResult, Status
from fxgpt_core.backtest.signals import Signals, make_signals
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.instruments import instrument
from fxgpt_core.store.asset_config import Costs


def run_backtest(
    candles: Candles,
    forecast: Forecast,
    config: BacktestConfig,
    costs: Costs,
    *,
    pip: float | None = None,
    seed: int = 0,
) -> BacktestResult:
    """Trade calibrated out-of-sample forecasts on the bars they were made from and account for costs.

    The account is kept in the pair's quote currency and starts with `initial_cash` units of the base currency, so that
    sizes mean the same for every pair. Costs in pips become a share of the first open: spread plus twice the slippage
    per round trip. `pip`: price of one pip, by default the instrument's. `seed` steers the bootstrap.
    Forecasts without direction trade nothing and give the status "n/a: no direction".

    Raises DataError when the forecasts do not belong to these bars or none of them is calibrated.
    """
    signals = make_signals(candles, forecast, config)
    step = instrument(candles.symbol).pip if pip is None else pip
    rules = _rules(signals.candles, config, costs, step)
    signals = _worth_its_spread(signals, rules)
    if signals.directional and signals.direction.any():
        simulation = engine(config.engine).simulate(signals, rules)
    else:
        simulation = Simulation((), np.full(len(signals.candles), rules.cash))
    status: Status = "traded" if simulation.trades else "no trades" if signals.directional else "n/a: no direction"
    trades = trades_frame(simulation.trades, signals)
    return BacktestResult(
        symbol=candles.symbol,
        family=forecast.family,
        horizon=signals.horizon,
        engine=config.engine,
        status=status,
        trades=trades,
        known_at=signals.candles.known_at,
        equity=simulation.equity,
        initial_cash=rules.cash,
        metrics=_metrics(simulation, signals, rules, config, seed),
        intervals=_intervals(simulation, signals, rules, config, seed),
        costs={
            "spread_paid": float(trades["spread_cost"].sum()),
            "commission_paid": float(trades["commission"].sum()),
            "share_of_cash": float((trades["spread_cost"].sum() + trades["commission"].sum()) / rules.cash),
            "spread_pips": costs.spread_pips,
            "slippage_pips": costs.slippage_pips,
            "commission_per_million": costs.commission_per_million,
        },
        rows=signals.rows,
        uncalibrated=signals.uncalibrated,
    )


def _metrics(
    simulation: Simulation, signals: Signals, rules: Rules, config: BacktestConfig, seed: int
) -> dict[str, float | None]:
    bars = signals.candles
    return {
        **curve_metrics(bars.known_at, simulation.equity, rules.cash),
        **trade_metrics(simulation.trades, len(bars)),
        "buy_and_hold": float(bars.close[-1] / bars.open[0] - 1),
        "random_direction_p": random_direction_p(
            simulation.trades, lambda trade: _gross(trade, signals), config.bootstrap_draws, seed
        ),
    }


def _intervals(
    simulation: Simulation, signals: Signals, rules: Rules, config: BacktestConfig, seed: int
) -> dict[str, tuple[float, float] | None]:
    if not simulation.trades:
        return {"return": None, "sharpe": None}
    daily = daily_returns(signals.candles.known_at, simulation.equity, rules.cash)
    return bootstrap_intervals(
        daily, config.bootstrap_draws, config.bootstrap_block_days, config.confidence_level, seed
    )


def _rules(bars: Candles, config: BacktestConfig, costs: Costs, pip: float) -> Rules:
    price = float(bars.open[0])
    return Rules(
        cash=config.initial_cash * price,
        spread=(costs.spread_pips + 2 * costs.slippage_pips) * pip / price,
        commission=costs.commission_per_million / 1e6,
        size_fraction=config.size_fraction,
        lot_units=config.lot_units,
        leverage=config.leverage,
    )


def _worth_its_spread(signals: Signals, rules: Rules) -> Signals:
    """Leave out trades whose target lies within the spread: they could only lose."""
    out_of_reach = -np.expm1(-signals.target) <= rules.spread  # False where there is no target
    return replace(signals, direction=np.where(out_of_reach, 0, signals.direction))


def _gross(trade: Trade, signals: Signals) -> float:
    fill = float(signals.candles.open[trade.entry_bar])
    return trade.direction * trade.units * (trade.exit_price - fill)


def trades_frame(trades: Sequence[Trade], signals: Signals) -> pd.DataFrame:
    """Return the trades with times and cost split: `TRADE_COLUMNS`, one row each."""
    bars = signals.candles
    opens = np.r_[bars.ts_utc, bars.known_at[-1:]]  # an exit after the last bar happens at its close
    records = [
        (
            bars.known_at[t.decision_bar],
            opens[t.entry_bar],
            opens[t.exit_bar],
            t.direction,
            t.units,
            float(bars.open[t.entry_bar]),
            t.entry_price,
            t.exit_price,
            _gross(t, signals),
            t.units * abs(t.entry_price - float(bars.open[t.entry_bar])),
            t.commission,
            t.pnl,
            t.pnl / (t.units * t.entry_price),
            t.exit_bar - t.entry_bar,
            float(signals.confidence[t.decision_bar]),
            float(signals.strength[t.decision_bar]),
            t.reason,
        )
        for t in trades
    ]
    frame = pd.DataFrame.from_records(records, columns=list(TRADE_COLUMNS))
    for name in TRADE_COLUMNS[:3]:
        frame[name] = pd.DatetimeIndex(frame[name].astype("datetime64[ns]")).tz_localize("UTC")
    return frame
