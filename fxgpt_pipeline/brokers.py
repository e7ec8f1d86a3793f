"""What a symbol's backtests stand on besides forecasts and bars: instruments, holidays, conversion rates."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fxgpt_core.market.instrument_config import load_instruments
from fxgpt_core.market.instruments import instrument

if TYPE_CHECKING:
    from fxgpt_core.backtest.adapter import Broker
    from fxgpt_pipeline.lineage import Lineage


def broker_of(lineage: Lineage) -> Broker:
    """Return the broker of a symbol's backtests: `instruments.yaml`, `market_hours.yaml`, rates from the lake."""
    from fxgpt_core.backtest.adapter import Broker
    from fxgpt_core.backtest.conversion import StoredRates
    from fxgpt_core.market.market_hours import market_hours

    hours = market_hours(lineage.settings.quality.market_hours)
    rates = StoredRates(lineage.workspace.lake, lineage.timeframes[0])
    return Broker(load_instruments(lineage.workspace.config_dir), hours, rates)


def instruments_setting(lineage: Lineage) -> dict[str, Any]:
    """Return what of the broker a symbol's backtests depend on, for its fingerprint."""
    from fxgpt_core.backtest.conversion import StoredRates

    config = load_instruments(lineage.workspace.config_dir)
    pair, account = instrument(lineage.symbol, config), lineage.settings.backtest.account_currency
    told = config.model_dump(mode="json")
    return {
        "pair": asdict(pair),
        "swaps": told["instruments"].get(lineage.symbol, {}).get("swaps", []),
        "sessions": told["spread_sessions"],
        "markup": told["interest"]["markup"],
        "interest": {name: told["interest"]["rates"].get(name) for name in (pair.base, pair.quote)},
        "rates": StoredRates(lineage.workspace.lake, lineage.timeframes[0]).fingerprint(pair, account),
    }
