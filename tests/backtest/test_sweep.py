"""A sweep gives the figures that each configuration has alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fxgpt_core.backtest.adapter import run_backtest
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.luck import configuration_hash, forecast_hash, judge, trial_of
from fxgpt_core.backtest.sweep import sweep
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.store.asset_config import Costs
from fxgpt_core.store.clock import FixedClock
from fxgpt_core.store.database import Database
from fxgpt_core.store.migrate import upgrade
from fxgpt_core.store.trials import counted_trials
from tests.backtest.cases import config, random_case

NOON = FixedClock(datetime(2024, 6, 1, 12, tzinfo=UTC))
CHARGED = Costs(spread_pips=1.0, slippage_pips=0.1, slippage_volatility=0.02)


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Database]:
    """An operational database without trials."""
    url = f"sqlite:///{tmp_path / 'fxgpt.db'}"
    upgrade(url)
    database = Database(url)
    yield database
    database.close()


def grid() -> list[BacktestConfig]:
    """Thresholds, stops, horizons, sizes and currencies of the account."""
    values: list[dict[str, Any]] = [
        {"confidence_quantile": quantile, "stop_loss": stop, "horizon": horizon, "max_holding": longest,
         "sizing": {"method": method}, "account_currency": currency}
        for quantile, stop, horizon, longest, method, currency in itertools.product(
            (0.3, 0.8), (1.0, 2.0), ("1h", "4h"), (None, "6h"), ("percent", "shrink", "kelly"), ("USD", "EUR")
        )
    ]  # fmt: skip
    values += [{"interval": 0.2}, {"confidence": "ratio", "least_move": 1.0}, {"history_rows": 1000}, {"leverage": 1.2}]
    values += [{"exit_before_weekend": False, "trailing_stop": 1.0, "take_profit": 2.0}, {"initial_cash": 500}]
    return [config(BacktestConfig(history_rows=20), **given) for given in values]


@pytest.mark.parametrize("threads", [1, 2])
def test_each_row_is_what_a_backtest_of_its_own_says(threads: int, counter: Database) -> None:
    candles, forecast = random_case(3)
    some = replace(forecast, calibration_version=np.where(np.arange(len(forecast)) < 5, "", "v1").astype(object))
    chosen = grid()
    found = sweep(candles, some, chosen, CHARGED, threads=threads, database=counter, clock=NOON)
    assert len(found) == len(chosen)
    assert found["status"].value_counts().to_dict() == {"traded": len(chosen) - 2, "no trades": 2}
    for row, one in list(zip(found.to_dict("records"), chosen, strict=True))[:: 1 if threads == 1 else 9]:
        result = run_backtest(candles, some, one, CHARGED)
        wanted = {name: value for name, value in result.metrics.items() if name in found}
        wanted |= {name: value for name, value in result.costs.items() if name in found}
        wanted |= {f"refused_{name}": float(count) for name, count in result.refused.items()}
        assert set(wanted) | {"status"} == set(found)
        assert row["status"] == result.status
        for name, value in wanted.items():
            if value is None:
                assert pd.isna(row[name]), name
            else:
                assert row[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


@pytest.mark.parametrize("threads", [1, 2])
def test_every_configuration_of_a_sweep_is_counted_as_if_it_had_been_tried_alone(
    threads: int, counter: Database
) -> None:
    """The account's currency is no choice: half of the configurations differ in nothing else."""
    candles, forecast = random_case(3)
    chosen = grid()
    for _ in range(2):
        sweep(candles, forecast, chosen, CHARGED, threads=threads, database=counter, clock=NOON)
    tried = {trial.configuration: trial for trial in counted_trials(counter, "EURUSD")}
    assert set(tried) == {configuration_hash(one) for one in chosen}
    assert len(tried) == len(counted_trials(counter, "EURUSD")) < len(chosen)
    for one in chosen[-6:]:
        alone = trial_of(run_backtest(candles, forecast, one, CHARGED), forecast_hash(forecast), one)
        mine = tried[alone.configuration]
        for name in ("symbol", "family", "forecasts", "start", "end", "bars", "trades"):
            assert getattr(mine, name) == getattr(alone, name), name
        assert (mine.sharpe or 0.0) == pytest.approx(alone.sharpe or 0.0, rel=1e-9)
        np.testing.assert_array_equal(mine.days, alone.days)
        np.testing.assert_allclose(mine.daily, alone.daily, atol=1e-7)
    best = max((trial for trial in tried.values() if trial.sharpe), key=lambda trial: trial.sharpe or 0.0)
    luck = judge(best, list(tried.values()))
    assert luck is not None
    assert luck.tried == len(tried)


def test_a_sweep_counts_under_the_recipe_that_its_forecasts_were_made_by(counter: Database) -> None:
    candles, forecast = random_case(3)
    sweep(candles, forecast, grid()[:1], CHARGED, database=counter, clock=NOON, recipe="abc")
    assert [trial.forecasts for trial in counted_trials(counter, "EURUSD")] == ["abc"]


def test_a_sweep_begins_with_a_configuration_that_trades_nothing(counter: Database) -> None:
    candles, forecast = random_case(3)
    never, often = config(BacktestConfig(), history_rows=5000), config(BacktestConfig(), history_rows=10)
    found = sweep(candles, forecast, [never, often, never], CHARGED, database=counter, clock=NOON)
    assert found["status"].tolist() == ["no trades", "traded", "no trades"]
    assert found["trades"].tolist()[0] == 0
    assert sweep(candles, forecast, [], CHARGED, database=counter, clock=NOON).empty
    assert [trial.trades > 0 for trial in counted_trials(counter, "EURUSD")] == [False, True]


def test_a_sweep_runs_on_the_ledger_only(counter: Database) -> None:
    candles, forecast = random_case(3)
    theirs = config(BacktestConfig(), engine="backtesting")
    with pytest.raises(BadInputError, match=r"runs on the ledger .* asked for backtesting and 1 threads"):
        sweep(candles, forecast, [theirs], CHARGED, database=counter, clock=NOON)
    with pytest.raises(BadInputError, match=r"asked for the ledger and 0 threads"):
        sweep(candles, forecast, [], CHARGED, threads=0, database=counter, clock=NOON)
    assert counted_trials(counter, "EURUSD") == []
