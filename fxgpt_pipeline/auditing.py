"""What stored backtests are held to: audits of their tables, and adherence of their fills."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.backtest.adapter import prepare
from fxgpt_core.backtest.adherence import Expected, aggregate, figures, judge
from fxgpt_core.backtest.adherence_rules import Breach, breaches, decide_adherence
from fxgpt_core.backtest.audit import (
    against_their_forecast,
    before_their_forecast,
    over_the_weekend,
    unreconciled,
)
from fxgpt_core.backtest.audit_costs import Market, charged_otherwise
from fxgpt_core.backtest.charges import as_mid, charges
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.limits import PortfolioLimits
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.evaluation.archive import CALIBRATED, read_span
from fxgpt_core.lifecycle.replay.audit import out_of_turn
from fxgpt_core.lifecycle.replay.segments import SegmentStore, joined
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.instruments import instrument
from fxgpt_core.store.clock import to_datetime64
from fxgpt_core.store.orders import record_adherence
from fxgpt_pipeline.brokers import broker_of
from fxgpt_pipeline.evaluating import FILLS, ORDERS, TRADES, backtest_name
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.portfolios import ALL, NAME
from fxgpt_pipeline.replaying import RETRAINED, replay_name
from fxgpt_pipeline.settings import load_settings
from fxgpt_pipeline.stages import backtest
from fxgpt_pipeline.workspace import Workspace

KNEW, FLAT, CHARGED, RECONCILED = "forecasts_came_first", "flat_over_weekends", "costs_charged", "equity_reconciles"
AUDITS = (KNEW, FLAT, CHARGED, RECONCILED)
IN_TURN = "trained_before_forecasts"
"""What a retraining backtest is held to besides."""


def adherence_name(family: str) -> str:
    """Name of the document that says how far a family's fills adhere to what was meant."""
    return f"adherence_{family}"


def audit_family(lineage: Lineage, family: str) -> dict[str, list[str]]:
    """Return the problems that each audit finds in a family's stored backtest; none where all is right."""
    forecast = read_span(lineage.workspace.lake, CALIBRATED, lineage.symbol, family)
    return _audit(lineage, family, forecast, lineage.workspace.documents.read(backtest_name(family), lineage.symbol))


def audit_replay(lineage: Lineage, family: str) -> dict[str, list[str]] | None:
    """Return the problems that each audit finds in a family's stored retraining backtest, and in its forecasts.

    None where there is none, or where bars, costs or rules of trading are no longer those that it was made with: it is
    audited when it is made.
    """
    document = lineage.workspace.documents.find(replay_name(family), lineage.symbol)
    if document is None or document["folds"] != lineage.fingerprint(backtest(family)):
        return None
    store = SegmentStore(lineage.workspace.lake, lineage.symbol, family, document["configuration"])
    segments = [store.read(record) for record in store.records()]
    _, forecast = joined(segments, lineage.symbol, family)
    found = _audit(lineage, replay_name(family), forecast, document["backtests"][RETRAINED])
    return {**found, IN_TURN: out_of_turn(segments)}


def _audit(lineage: Lineage, name: str, forecast: Forecast, summary: Mapping[str, Any]) -> dict[str, list[str]]:
    """Hold the tables stored under `name` to the forecasts that were traded and to what the market charged."""
    trades, orders, fills = (stored(lineage, name, table) for table in (TRADES, ORDERS, FILLS))
    market = Market.of(lineage.candles(), lineage.asset.costs, summary["currency"], broker_of(lineage))
    return {
        KNEW: before_their_forecast(orders, fills, forecast)
        + against_their_forecast(orders, forecast, summary["horizon"], market.candles),
        FLAT: over_the_weekend(trades) if lineage.settings.backtest.exit_before_weekend else [],
        CHARGED: charged_otherwise(trades, orders, fills, market),
        RECONCILED: unreconciled(trades, orders, fills, summary),
    }


def audit_portfolio(workspace: Workspace) -> dict[str, list[str]]:
    """Return the problems that each audit finds in the stored portfolio, pair by pair; no audits where there is none.

    Its pairs' forecasts, bars and costs must be those that it was made from: it is audited when it is made.
    """
    summary = workspace.documents.find(NAME, ALL)
    if summary is None:
        return {}
    config = load_settings(workspace.config_dir).backtest
    trades, orders, fills = (
        _table(workspace, name, {"symbol": ALL, "family": NAME}) for name in (TRADES, ORDERS, FILLS)
    )
    lineages = {symbol: workspace.lineage(symbol) for symbol in summary["members"]}
    forecasts = {
        symbol: read_span(workspace.lake, CALIBRATED, symbol, family) for symbol, family in summary["members"].items()
    }
    grid = np.unique(np.concatenate([_bars_of(lineages[symbol], forecasts[symbol], config) for symbol in lineages]))
    found: dict[str, list[str]] = {name: [] for name in AUDITS}
    for symbol, lineage in lineages.items():
        forecast, asked = forecasts[symbol], orders[orders["symbol"] == symbol]
        made = trades[trades["symbol"] == symbol]
        market = Market.of(lineage.candles(), lineage.asset.costs, summary["currency"], broker_of(lineage))
        horizon = config.horizon_of(forecast.horizons)
        problems = {
            KNEW: before_their_forecast(asked, fills, forecast)
            + against_their_forecast(asked, forecast, horizon, market.candles),
            FLAT: over_the_weekend(made) if config.exit_before_weekend else [],
            CHARGED: charged_otherwise(made, asked, fills, market, grid),
        }
        for name, said in problems.items():
            found[name] += [f"{symbol}: {sentence}" for sentence in said]
    found[RECONCILED] = unreconciled(trades, orders, fills, summary)
    return found


def _bars_of(lineage: Lineage, forecast: Forecast, config: BacktestConfig) -> NDArray[np.datetime64]:
    """Return the opens of the bars that a pair brings into a portfolio."""
    leg = prepare(lineage.candles(), forecast, config, lineage.asset.costs, broker_of(lineage))
    return leg.signals.candles.ts_utc


def stored(lineage: Lineage, family: str, name: str) -> pd.DataFrame:
    """Return a table of a family's backtest: `trades`, `orders` or `fills`."""
    return _table(lineage.workspace, name, {"symbol": lineage.symbol, "family": family})


def _table(workspace: Workspace, name: str, keys: dict[str, str]) -> pd.DataFrame:
    table: pd.DataFrame = workspace.lake.read(name, keys).to_pandas()
    return table


def adherence(lineage: Lineage, family: str) -> dict[str, Any]:
    """Return how far a family's fills adhere to its orders, by day, week and month, and what follows; stores it.

    Costs are expected as the cost model charges on average over all bars: drift says that trades meet dearer hours.
    """
    config, documents = lineage.settings.adherence, lineage.workspace.documents
    mid, expected = _market(lineage)
    orders, fills = (stored(lineage, family, name) for name in (ORDERS, FILLS))
    bars = {lineage.symbol: mid}
    judged = judge(orders, fills, {lineage.symbol: expected}, bars, config.accuracy, config.back_bars)
    found = _breaches(lineage, family, judged, mid)
    total = figures(judged)
    decision = decide_adherence(lineage.symbol, total, found, config, to_datetime64(lineage.workspace.clock.now()))
    document = {
        "family": family,
        "figures": total,
        "decision": decision.to_dict(),
        **{period: _rows(aggregate(judged, period)) for period in ("day", "week", "month")},
    }
    documents.write(adherence_name(family), lineage.symbol, document, lineage.fingerprint(backtest(family)))
    _record(lineage, family, document)
    return document


def _record(lineage: Lineage, family: str, document: dict[str, Any]) -> None:
    """Index the figures in the operational database; the whole span counts from the first day with orders."""
    rows = {
        period: [
            (
                datetime.fromisoformat(row["from"]).replace(tzinfo=UTC),
                {name: value for name, value in row.items() if name != "from"},
            )
            for row in document[period]
        ]
        for period in ("day", "week", "month")
    }
    if not rows["day"]:
        return
    record_adherence(
        lineage.workspace.database,
        symbol=lineage.symbol,
        family=family,
        account="backtest",
        periods={**rows, "all": [(rows["day"][0][0], document["figures"])]},
        decision=document["decision"]["what"],
        at=lineage.workspace.clock.now(),
    )


def _market(lineage: Lineage) -> tuple[Candles, Expected]:
    """Return the pair's bars as mid prices, and what a fill on them is expected to cost."""
    broker, candles, costs = broker_of(lineage), lineage.candles(), lineage.asset.costs
    pair = instrument(lineage.symbol, broker.instruments)
    charge = charges(candles, pair, costs, broker.instruments, broker.hours)
    return as_mid(candles, charge.half), Expected.of(charge, costs.commission_per_million)


def _breaches(lineage: Lineage, family: str, judged: pd.DataFrame, mid: Candles) -> list[Breach]:
    """Return where one pair's backtest went beyond its account: its leverage, and one position at a time.

    Equity is what was realised so far.
    """
    settings = lineage.settings.backtest
    limits = PortfolioLimits(gross=settings.leverage, net=None, currency=None, correlated=None, positions=1)
    trades = stored(lineage, family, TRADES).sort_values("exit_time")
    told = lineage.workspace.documents.read(backtest_name(family), lineage.symbol)
    start = float(told["initial_cash"])
    times = np.r_[mid.known_at[:1], pd.DatetimeIndex(trades["exit_time"]).tz_localize(None).to_numpy()]
    equity = start + np.r_[0.0, trades["pnl"].to_numpy(dtype=np.float64).cumsum()]
    pair = {lineage.symbol: instrument(lineage.symbol, broker_of(lineage).instruments)}
    tolerance = lineage.settings.adherence.breach_tolerance
    return breaches(judged, limits, {lineage.symbol: mid}, pair, times, equity, told["currency"], tolerance)


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table of periods as JSON-able rows, the period's first day as `from`."""
    plain = table.astype(object).where(table.notna(), None)
    return [
        {"from": f"{index:%Y-%m-%d}", **row} for index, row in zip(table.index, plain.to_dict("records"), strict=True)
    ]
