"""Luck is judged by what was really tried, and what no skill made is not called skill."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from fxgpt_core.backtest.adapter import run_backtest
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.luck import Luck, configuration_hash, forecast_hash, judge, trial_of, verdict
from fxgpt_core.backtest.metrics import TRADING_DAYS
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.evaluation.sharpe import expected_maximum, sharpe_ratio
from fxgpt_core.store.asset_config import Costs
from fxgpt_core.store.database import Database
from fxgpt_core.store.migrate import upgrade
from fxgpt_core.store.trials import Trial, count_trial, counted_trials
from tests.backtest.cases import config, random_case

NOON = datetime(2024, 3, 8, 12, tzinfo=UTC)
DAYS = np.arange("2020-01-01", "2021-01-01", dtype="datetime64[D]")


def tried(seed: int, mean: float = 0.0, name: str = "") -> Trial:
    """A strategy of random daily returns with a drift."""
    daily = np.random.default_rng(seed).normal(mean, 0.005, len(DAYS)).astype(np.float32).astype(np.float64)
    found = sharpe_ratio(daily)
    return Trial(
        "EURUSD", "ridge", "forecasts", name or f"rule {seed}", DAYS[0].astype("datetime64[ns]"),
        DAYS[-1].astype("datetime64[ns]"), 24 * len(DAYS), 100, DAYS, daily, found.value, found.skewness,
        found.kurtosis,
    )  # fmt: skip


def test_the_best_of_many_strategies_without_skill_is_not_called_skill() -> None:
    """A hundred coin flippers: the best looks proven alone, and is what chance gives once all are counted."""
    trials = [tried(seed) for seed in range(100)]
    best = max(trials, key=lambda trial: trial.sharpe or 0.0)
    alone, among = judge(best, [best]), judge(best, trials)
    assert alone is not None
    assert among is not None
    assert alone.probability == alone.deflated > 0.95
    assert among.deflated < 0.8
    ratios = [trial.sharpe for trial in trials]
    assert among.expected_best == pytest.approx(
        expected_maximum(float(np.var(ratios, ddof=1)), 100) * np.sqrt(TRADING_DAYS)
    )
    assert among.overfitting is not None
    assert among.overfitting.trials == 100
    assert 0.25 < among.overfitting.probability < 0.75
    assert "Luck explains this well enough" in verdict(among)[-1]


def test_skill_stands_out_of_what_was_tried() -> None:
    skilled = tried(1, mean=0.002)
    luck = judge(skilled, [skilled, *(tried(seed) for seed in range(2, 22))])
    assert luck is not None
    assert luck.deflated > 0.95
    assert luck.days_needed is not None
    assert luck.days_needed_deflated is not None
    assert luck.days_needed < luck.days_needed_deflated < luck.days
    assert luck.overfitting is not None
    assert luck.overfitting.probability < 0.05
    assert verdict(luck, 0.01)[-1] == "Luck is an unlikely explanation."
    assert verdict(luck, 0.2)[-1].startswith("Luck explains this well enough")
    assert "not ruled out" in verdict(luck)[-1]


def test_what_loses_needs_no_record_and_what_never_traded_no_luck() -> None:
    losing = tried(3, mean=-0.002)
    luck = judge(losing, [losing])
    assert luck is not None
    assert luck.days_needed is None
    assert "No record is long enough" in " ".join(verdict(luck))
    assert verdict(luck)[-1].startswith("It earned nothing after costs")
    idle = replace(losing, daily=np.zeros(len(DAYS)), sharpe=None, trades=0)
    assert judge(idle, [idle]) is None
    assert "traded nothing" in verdict(None)[0]


def test_what_did_not_trade_is_told_but_not_counted_as_a_chance_to_win() -> None:
    own, idle = tried(1), replace(tried(2), sharpe=None, trades=0)
    luck = judge(own, [own, idle])
    assert luck is not None
    assert (luck.tried, luck.trials) == (2, 1)
    with pytest.raises(BadInputError, match=r"not among the trials"):
        judge(own, [idle])


def test_trials_of_other_days_are_no_evidence_of_overfitting() -> None:
    own, other = tried(1), tried(2)
    later = replace(other, days=other.days + np.timedelta64(60, "D"))
    luck = judge(own, [own, later])
    assert luck is not None
    assert luck.overfitting is None


def test_of_very_many_trials_the_newest_and_this_one_are_compared() -> None:
    own, others = tried(0, mean=0.003), [tried(seed) for seed in range(1, 151)]
    luck = judge(own, [own, *others])
    assert luck is not None
    assert luck.trials == 151
    assert luck.overfitting is not None
    assert luck.overfitting.trials == 100
    assert luck.overfitting.probability < 0.05  # it is among them, and the best of each half


def test_the_statistics_and_the_account_are_no_choice_and_the_rules_are() -> None:
    plain = configuration_hash(BacktestConfig())
    for changes in ({"bootstrap_draws": 200}, {"account_currency": "JPY"}, {"engine": "backtesting"}):
        assert configuration_hash(config(BacktestConfig(), **changes)) == plain
    for changes in ({"stop_loss": 2.0}, {"sizing": {"method": "kelly"}}, {"horizon": "1d"}):
        assert configuration_hash(config(BacktestConfig(), **changes)) != plain


def test_backtests_are_counted_as_they_are_tried(tmp_path: Path) -> None:
    """The same twice counts once, also from another connection; what is read back judges as what was run."""
    url = f"sqlite:///{tmp_path / 'fxgpt.db'}"
    upgrade(url)
    candles, forecast = random_case(3, bars=1500)
    seen: list[Luck | None] = []
    for quantile in (0.0, 0.3, 0.3, 0.6):
        database = Database(url)
        chosen = config(BacktestConfig(), confidence_quantile=quantile, history_rows=20, horizon="4h")
        result = run_backtest(candles, forecast, chosen, Costs(spread_pips=1.0))
        own = trial_of(result, forecast_hash(forecast), chosen)
        count_trial(database, own, NOON)
        seen.append(judge(own, counted_trials(database, "EURUSD", own.start, own.end)))
        database.close()
    assert [luck.trials for luck in seen if luck] == [1, 2, 2, 3]
    assert own.sharpe == pytest.approx(result.metrics["sharpe"] / np.sqrt(TRADING_DAYS))  # type: ignore[operator]
    stored = counted_trials(Database(url), "EURUSD")[-1]
    again = judge(stored, counted_trials(Database(url), "EURUSD"))
    assert again is not None
    assert seen[-1] is not None
    assert again.deflated == pytest.approx(seen[-1].deflated, rel=1e-4)
