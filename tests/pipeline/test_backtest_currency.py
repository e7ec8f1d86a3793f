"""A pair's backtest must not depend on another pair that nobody imported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fxgpt_core.evaluation.archive import CALIBRATED, read_span, write_span
from fxgpt_pipeline.evaluating import backtest_family, backtest_name
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.stages import calibrated
from tests.pipeline.small_home import SYMBOL, SmallHome


def give_direction(lineage: Lineage, family: str) -> None:
    """Move the stored forecasts up and down by turns: without direction nothing is traded."""
    lake = lineage.workspace.lake
    forecast = read_span(lake, CALIBRATED, SYMBOL, family)
    move = forecast.std * np.where(np.arange(len(forecast)) // 40 % 2, 0.5, -0.5)[:, None]
    moved = replace(forecast, mean=forecast.mean + move, quantiles=forecast.quantiles + move[..., None])
    write_span(lake, CALIBRATED, moved, lineage.fingerprint(calibrated(family)))


def test_without_bars_that_convert_profits_the_account_is_in_the_pairs_own_currency(clone: SmallHome) -> None:
    clone.configure("pipeline.yaml", {"backtest": {"account_currency": "JPY", "initial_cash": 1_500_000}})
    lineage = clone.lineage()
    give_direction(lineage, "ridge")
    result = backtest_family(lineage, "ridge")
    assert result.status == "traded"
    assert result.currency == "USD"
    note = lineage.workspace.documents.read(backtest_name("ridge"), SYMBOL)["note"]
    assert note.startswith("All figures are in USD, from 9,000. ")
    assert "import USDJPY" in note


def test_in_the_pairs_own_currency_there_is_nothing_to_note(clone: SmallHome) -> None:
    lineage = clone.lineage()
    give_direction(lineage, "ridge")
    assert backtest_family(lineage, "ridge").currency == "USD"
    assert lineage.workspace.documents.read(backtest_name("ridge"), SYMBOL)["note"] == ""
