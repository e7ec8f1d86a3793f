"""Calibration, scores and backtests of stored walk-forward forecasts."""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa

from fxgpt_core.backtest.adapter import run_backtest
from fxgpt_core.backtest.conversion import ConversionError
from fxgpt_core.backtest.result import BacktestResult
from fxgpt_core.calibration.labels import decision_labels, regime_of
from fxgpt_core.calibration.walk_forward import fit_final, walk_forward_calibration
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.evaluation.archive import CALIBRATED, read_draws, read_span, write_span
from fxgpt_core.evaluation.evaluation import evaluate
from fxgpt_core.evaluation.groups import Labels
from fxgpt_core.evaluation.result import Evaluation
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.market.events.files import IMPACTS
from fxgpt_core.market.instrument_config import load_instruments
from fxgpt_core.market.instruments import instrument, rough_rate
from fxgpt_core.market.lake import Lake
from fxgpt_core.models.walk_forward import DATASET, read_in_sample, read_walk_forward
from fxgpt_pipeline.brokers import broker_of
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.scrutiny import examine
from fxgpt_pipeline.stages import SCORES, backtest, calibrated

EVALUATION, TRADES, ORDERS, FILLS = "evaluation", "trades", "orders", "fills"
_CURVE_POINTS = 500


def calibrator_name(family: str) -> str:
    """Name of the document that holds a family's live calibrator."""
    return f"calibrator_{family}"


def backtest_name(family: str) -> str:
    """Name of the document that holds a family's backtest."""
    return f"backtest_{family}"


def calibration_name(family: str) -> str:
    """Name of the document that says what a family's calibration rests on."""
    return f"calibration_{family}"


def calibrate(lineage: Lineage, family: str) -> tuple[Forecast, dict[str, Any]]:
    """Calibrate a family's folds in walk-forward fashion and fit the calibrator that goes live; stores both.

    Returns the calibrated folds and what the calibration rests on (`CalibrationReport.to_dict`), stored as well.
    """
    lake, config = lineage.workspace.lake, lineage.settings.calibration
    folds = read_walk_forward(lake, lineage.symbol, family)
    dataset = lineage.dataset()
    outcomes = Outcomes.from_dataset(dataset)
    labels = decision_labels(dataset, folds.forecast.decided_at, config.grouping)
    forecast, report = walk_forward_calibration(folds.forecast, outcomes, folds.fold, config, labels)
    fingerprint = lineage.fingerprint(calibrated(family))
    live = fit_final(folds.forecast, outcomes, config, labels)
    document = None if live is None else live.to_dict()
    lineage.workspace.documents.write(calibrator_name(family), lineage.symbol, document, fingerprint)
    summary = report.to_dict(live, config)
    lineage.workspace.documents.write(calibration_name(family), lineage.symbol, summary, fingerprint)
    write_span(lake, CALIBRATED, forecast, fingerprint)
    return forecast, summary


def score(lineage: Lineage) -> Evaluation:
    """Evaluate all families of a symbol on the rows that they share; stores the result."""
    lake, symbol, releases = lineage.workspace.lake, lineage.symbol, lineage.releases()
    dataset = lineage.dataset()
    evaluation = evaluate(
        symbol,
        {name: read_walk_forward(lake, symbol, name).forecast for name in lineage.families},
        {name: read_span(lake, CALIBRATED, symbol, name) for name in lineage.families},
        Outcomes.from_dataset(dataset),
        lineage.baselines,
        lineage.settings.evaluation,
        labels=regime_labels(dataset),
        releases=None if releases is None else releases.ts_utc[releases.impact == IMPACTS.index("high")],
        seed=lineage.settings.seed,
        draws={name: draws for name in lineage.families if (draws := read_draws(lake, DATASET, symbol, name))},
        in_sample={name: read_in_sample(lake, symbol, name) for name in lineage.families},
    )
    lineage.workspace.documents.write(EVALUATION, symbol, evaluation.to_dict(), lineage.fingerprint(SCORES))
    return evaluation


def regime_labels(dataset: Dataset) -> dict[str, Labels]:
    """Return the most probable filtered regime at each decision as `regime`; nothing where the features lack it."""
    if f"regime_calm_{dataset.base.code}" not in dataset.tables[dataset.base.code].names:
        return {}
    return {"regime": Labels(dataset.known_at, regime_of(dataset))}


def backtest_family(lineage: Lineage, family: str) -> BacktestResult:
    """Trade a family's calibrated out-of-sample forecasts after costs; stores summary, trades, orders and fills.

    The backtest is counted as a trial, and stored with what chance and rules without a model earn in its place.
    """
    lake, symbol = lineage.workspace.lake, lineage.symbol
    forecast = read_span(lake, CALIBRATED, symbol, family)
    result, note = traded(lineage, forecast)
    keep_tables(lake, symbol, family, result)
    fingerprint = lineage.fingerprint(backtest(family))
    document = {**result.summary(), "note": note, "curve": result.curve(_CURVE_POINTS)}
    document |= examine(lineage, family, result, forecast)
    lineage.workspace.documents.write(backtest_name(family), symbol, document, fingerprint)
    return result


def keep_tables(lake: Lake, symbol: str, name: str, result: BacktestResult) -> None:
    """Store trades, orders and fills of a backtest under a symbol and a name; those of an earlier one are replaced."""
    keys = {"symbol": symbol, "family": name}
    for dataset, frame in ((TRADES, result.trades), (ORDERS, result.orders), (FILLS, result.fills)):
        lake.write(dataset, keys, "span=all", pa.Table.from_pandas(frame, preserve_index=False))


def traded(lineage: Lineage, forecast: Forecast) -> tuple[BacktestResult, str]:
    """Trade calibrated forecasts of a symbol with its costs and settings; returns the result and a note on currency.

    Where no stored bars lead to the account's currency the account is in the pair's own, and the note says so: a pair
    must not depend on another one that nobody imported.
    """
    config = lineage.settings.backtest
    trade = partial(
        run_backtest,
        lineage.candles(),
        forecast,
        costs=lineage.asset.costs,
        broker=broker_of(lineage),
        seed=lineage.settings.seed,
    )
    try:
        return trade(config=config), ""
    except ConversionError as error:
        quote = instrument(lineage.symbol, load_instruments(lineage.workspace.config_dir)).quote
        # Ten thousand yen would not buy the smallest lot: the account begins with about as much as was meant.
        cash = config.initial_cash * rough_rate(config.account_currency, quote)
        note = f"All figures are in {quote}, from {cash:,.0f}. {error}"
        return trade(config=config.model_copy(update={"account_currency": quote, "initial_cash": cash})), note
