"""How much of toy rules on real bars is luck: each rule is counted as it is tried, the best is judged by all of them.

    python benchmarks/backtest_luck.py FOLDER PAIR=FILE[,ASKFILE] … [--draws 200]

FILE: Parquet of hourly bid bars (`ts_utc`, open, high, low, close), ASKFILE the ask bars of the same hours. The rules
follow or fade the last 24, 120 or 480 hours for one day: not models, but six tries, as anybody makes them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fxgpt_core.backtest.adapter import Broker, run_backtest
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.luck import forecast_hash, judge, trial_of, verdict
from fxgpt_core.backtest.scrutiny import scrutinise
from fxgpt_core.common.forecast import LEVELS, Forecast
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market.candles import Candles
from fxgpt_core.store.asset_config import Costs
from fxgpt_core.store.clock import SystemClock
from fxgpt_core.store.database import Database
from fxgpt_core.store.migrate import upgrade
from fxgpt_core.store.trials import count_trial, counted_trials

PIPS = {"EURUSD": 1.0, "GBPUSD": 1.4, "USDJPY": 1.2, "EURGBP": 1.5, "USDCAD": 1.8, "AUDUSD": 1.4, "EURJPY": 1.8}
"""Retail spreads in the liveliest session, where the bars carry none."""
CONFIG = BacktestConfig.model_validate(
    {
        "horizon": "1d", "confidence_quantile": 0.5, "stop_loss": 2.0, "take_profit": 3.0,
        "exit_before_weekend": False, "sizing": {"method": "inverse_volatility", "risk": 0.002},
    }
)  # fmt: skip
_DAY = 24


def candles_of(symbol: str, files: list[Path]) -> Candles:
    """Return bid bars, or mid bars with spreads where the ask is given too."""
    frames = [pd.read_parquet(file).set_index("ts_utc") for file in files]
    shared = frames[0].index if len(frames) == 1 else frames[0].index.intersection(frames[1].index)
    sides = [frame.loc[shared] for frame in frames]
    prices = [np.mean([side[name].to_numpy() for side in sides], axis=0) for name in ("open", "high", "low", "close")]
    none = np.full(len(shared), np.nan)
    spread = none if len(sides) == 1 else np.maximum(sides[1]["open"].to_numpy() - sides[0]["open"].to_numpy(), 0)
    opens = shared.tz_localize(None).to_numpy().astype("datetime64[ns]")
    return Candles(symbol, timeframe("1h"), "bid" if len(sides) == 1 else "mid", opens, *prices, none, spread)


def rule(candles: Candles, hours: int, sign: int) -> Forecast:
    """Return P(up) around 0.52 or 0.48 by the side of the last move, with the volatility of the last 120 hours."""
    step = np.diff(np.log(candles.close), prepend=np.log(candles.close[0]))
    std = np.sqrt(pd.Series(step**2).rolling(120).mean().to_numpy() * _DAY)
    close = np.log(candles.close)
    rows = np.arange(max(hours, 120), len(candles))
    move = (close[rows] - close[rows - hours]) / (std[rows] * np.sqrt(hours / _DAY))
    std, known = std[rows], candles.known_at[rows]
    mean = norm.ppf(0.5 + 0.03 * sign * np.tanh(move)) * std
    text = np.full(len(rows), "v1", dtype=object)
    return Forecast(
        symbol=candles.symbol, family="follow" if sign > 0 else "fade", horizons=(1440,), decided_at=known,
        made_at=known, trained_until=known - np.timedelta64(1, "h"), model_version=text, calibration_version=text,
        origin=np.full(len(rows), "fold", dtype=object), mean=mean[:, None], std=std[:, None],
        quantiles=(mean[:, None] + std[:, None] * norm.ppf(np.asarray(LEVELS)))[:, None, :],
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("pairs", nargs="+")
    parser.add_argument("--draws", type=int, default=200)
    options = parser.parse_args()
    named = {pair: files for pair, _, files in (text.partition("=") for text in options.pairs)}
    bars = {pair: candles_of(pair, [options.folder / f for f in files.split(",")]) for pair, files in named.items()}
    broker = Broker.shipped(bars.get)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/fxgpt.db"
        upgrade(url)
        database = Database(url)
        for pair, candles in bars.items():
            judge_pair(pair, candles, broker, database, options.draws)
        database.close()


def judge_pair(pair: str, candles: Candles, broker: Broker, database: Database, draws: int) -> None:
    """Try all rules on one pair and print the best of them with its verdict."""
    costs = Costs(spread_pips=PIPS.get(pair, 1.5), slippage_volatility=0.02)
    tried = []
    for hours in (24, 120, 480):
        for sign in (1, -1):
            forecast = rule(candles, hours, sign)
            result = run_backtest(candles, forecast, CONFIG, costs, broker=broker)
            own = trial_of(result, forecast_hash(forecast), CONFIG)
            count_trial(database, own, SystemClock().now())
            tried.append((own.sharpe or 0.0, f"{forecast.family} {hours} h", forecast, result, own))
    _, name, forecast, result, own = max(tried, key=lambda one: one[0])
    held = scrutinise(result, candles, forecast, CONFIG, costs, broker=broker, draws=draws)
    luck = judge(own, counted_trials(database, pair, own.start, own.end))
    chance = None if held.random is None else held.random.p_return
    rules = ", ".join(f"{one.name} {one.total_return:+.1%}" for one in held.rules)
    gross, net = result.metrics["gross_return"] or 0.0, result.metrics["return"] or 0.0
    print(f"{pair} {str(result.known_at[0])[:10]} to {str(result.known_at[-1])[:10]}, best of {len(tried)}: {name}")
    print(f"  gross {gross:+.1%}, net {net:+.1%}, {len(result.trades)} trades; {rules}")
    for sentence in verdict(luck, chance):
        print(f"  {sentence}")


if __name__ == "__main__":
    main()
