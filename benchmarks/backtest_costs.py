"""What a toy rule pays on real bars, alone and with several pairs on one capital; audited as stored backtests are.

    python benchmarks/backtest_costs.py FOLDER PAIR=FILE[,ASKFILE] … --together GBPUSD AUDUSD USDCAD EURGBP

Files as in `backtest_luck.py`. The rule follows the last 120 hours for one day: there to exercise the costs, no model.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from backtest_luck import CONFIG, PIPS, candles_of, rule

from fxgpt_core.backtest.adapter import Broker, prepare, run_backtest
from fxgpt_core.backtest.audit import against_their_forecast, before_their_forecast, over_the_weekend, unreconciled
from fxgpt_core.backtest.audit_costs import Market, charged_otherwise
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.limits import PortfolioLimits
from fxgpt_core.backtest.portfolio import run_portfolio
from fxgpt_core.backtest.result import BacktestResult
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.market.candles import Candles
from fxgpt_core.store.asset_config import Costs

ALONE = BacktestConfig.model_validate({**CONFIG.model_dump(), "trailing_stop": 3.0})
TOGETHER = BacktestConfig.model_validate(
    {
        **ALONE.model_dump(),
        "exit_before_weekend": True,
        "sizing": {"method": "inverse_volatility", "risk": 0.01},  # large, so that the limits bite
    }
)
_KINDS = ("spread", "slippage", "commission", "swap")
Part = tuple[Candles, Forecast, Costs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("pairs", nargs="+")
    parser.add_argument("--together", nargs="*", default=[], help="pairs of the portfolio")
    asked = parser.parse_args()
    named = {pair: files for pair, _, files in (text.partition("=") for text in asked.pairs)}
    bars = {pair: candles_of(pair, [asked.folder / f for f in files.split(",")]) for pair, files in named.items()}
    parts = {
        pair: (candles, rule(candles, 120, 1), Costs(spread_pips=PIPS[pair], slippage_volatility=0.02))
        for pair, candles in bars.items()
    }
    broker = Broker.shipped(bars.get)
    print(f"| pair | bars | trades | gross | {' | '.join(_KINDS)} | net | Sharpe |")
    for pair, part in parts.items():
        result = run_backtest(part[0], part[1], ALONE, part[2], broker=broker)
        print(f"| {pair} {_years(result)} | {len(part[0])} | {_figures(result)} |")
        _tell({pair: part}, result, ALONE, broker)
    if asked.together:
        chosen = {pair: parts[pair] for pair in asked.together}
        for name, limits in (("margin only", None), ("shipped limits", PortfolioLimits())):
            result = run_portfolio(list(chosen.values()), TOGETHER, limits, broker=broker)
            refused = ", ".join(f"{cause} {count}" for cause, count in result.refused.items() if count)
            print(f"| {name} {_years(result)}, {len(result.equity)} bars | {len(result.trades)} | "
                  f"{result.metrics['return']:+.0%} | {result.metrics['max_drawdown']:.0%} | {refused} |")  # fmt: skip
            _tell(chosen, result, TOGETHER, broker)


def _years(result: BacktestResult) -> str:
    return f"{str(result.known_at[0])[:4]}–{str(result.known_at[-1])[:4]}"


def _figures(result: BacktestResult) -> str:
    cash, metrics = result.initial_cash, result.metrics
    paid = (f"{-result.costs[f'{kind}_paid'] / cash:+.1%}" for kind in _KINDS)
    return " | ".join(
        (f"{len(result.trades)}", f"{metrics['gross_return']:+.1%}", *paid, f"{metrics['return']:+.1%}",
         f"{metrics['sharpe']:.2f}")
    )  # fmt: skip


def _tell(parts: dict[str, Part], result: BacktestResult, config: BacktestConfig, broker: Broker) -> None:
    """Print why positions ended, and what the audits find."""
    ends = ", ".join(f"{reason} {count}" for reason, count in result.trades["reason"].value_counts().items())
    legs = (prepare(*part[:2], config, part[2], broker).signals.candles.ts_utc for part in parts.values())
    grid, trades, orders = np.unique(np.concatenate(list(legs))), result.trades, result.orders
    found = unreconciled(trades, orders, result.fills, result.summary())
    for pair, (candles, forecast, costs) in parts.items():
        market, made = Market.of(candles, costs, result.currency, broker), trades[trades["symbol"] == pair]
        asked = orders[orders["symbol"] == pair]
        said = before_their_forecast(asked, result.fills, forecast)
        said += against_their_forecast(asked, forecast, result.horizon, market.candles)
        said += charged_otherwise(made, asked, result.fills, market, grid)
        said += over_the_weekend(made) if config.exit_before_weekend else []
        found += [f"{pair}: {sentence}" for sentence in said]
    print(f"  ends: {ends}; audits: {' '.join(found) or 'all is right'}")


if __name__ == "__main__":
    main()
