"""Counting backtests as trials, and holding them against chance, from what is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fxgpt_core.backtest.luck import Luck, judge, trial_of, verdict
from fxgpt_core.backtest.result import BacktestResult
from fxgpt_core.backtest.scrutiny import scrutinise
from fxgpt_core.calibration.labels import most_probable
from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.evaluation.groups import Labels
from fxgpt_core.features.stored import FEATURES
from fxgpt_core.market.bars import bar_keys
from fxgpt_core.store.trials import Trial, count_trial, counted_trials
from fxgpt_pipeline.brokers import broker_of
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.stages import calibrated


@dataclass(frozen=True)
class Verdict:
    """`luck` by every trial counted until now, None where nothing was traded; `sentences` say it in words."""

    luck: Luck | None
    sentences: list[str]


def examine(lineage: Lineage, family: str, result: BacktestResult, forecast: Forecast) -> dict[str, Any]:
    """Count a backtest and hold it against chance; returns what to store with it, JSON-able.

    `trial` names the row of the count, so that luck can be judged again when more has been tried.
    """
    config = lineage.settings.backtest
    own = count_backtest(lineage, result, lineage.recipe(calibrated(family)))
    held = scrutinise(
        result,
        lineage.candles(),
        forecast,
        config.model_copy(update={"account_currency": result.currency, "initial_cash": result.initial_cash}),
        lineage.asset.costs,
        broker=broker_of(lineage),
        regimes=_regimes(lineage) if len(result.trades) else None,
        seed=lineage.settings.seed,
    )
    luck = judge(own, _counted(lineage, own))
    trial = {"forecasts": own.forecasts, "configuration": own.configuration}
    return {"trial": trial, "luck": None if luck is None else luck.to_dict(), **held.to_dict()}


def count_backtest(lineage: Lineage, result: BacktestResult, recipe: str) -> Trial:
    """Count a backtest with the symbol's settings as a trial; `recipe`: the hash of how its forecasts are made."""
    own = trial_of(result, recipe, lineage.settings.backtest)
    count_trial(lineage.workspace.database, own, lineage.workspace.clock.now())
    return own


def key_figures(document: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of a stored backtest that are worth following over time; nothing where it traded nothing."""
    luck, chance = document["luck"], document["random_entries"]
    if luck is None or chance is None:
        return {}
    over, held = luck["overfitting"], {rule["name"]: rule["total_return"] for rule in document["comparisons"]}
    return {
        "trials": luck["tried"],
        "best_sharpe_of_chance": luck["expected_best"],
        "deflated_sharpe": luck["deflated"],
        "probability_above_zero": luck["probability"],
        "random_entries_p": chance["p_return"],
        "buy_and_hold_after_costs": held["buy and hold"],
        **({} if over is None else {"overfitting_probability": over["probability"]}),
    }


def verdict_now(lineage: Lineage, family: str, document: dict[str, Any]) -> Verdict:
    """Judge a stored backtest by what has been tried until now, which may be more than when it was made."""
    key = document.get("trial")
    if key is None or document["status"] != "traded":
        return Verdict(None, verdict(None))
    counted = counted_trials(lineage.workspace.database, lineage.symbol)
    mine = [t for t in counted if t.family == family and {n: getattr(t, n) for n in key} == key]
    if not mine:
        return Verdict(None, ["It is not among the counted trials: run the backtest again."])
    luck = judge(mine[0], _counted(lineage, mine[0]))
    random = document.get("random_entries")
    return Verdict(luck, verdict(luck, None if random is None else random["p_return"]))


def judged_now(lineage: Lineage, family: str, document: dict[str, Any]) -> dict[str, Any]:
    """Return a stored backtest with its luck as of now, and in words."""
    judged = verdict_now(lineage, family, document)
    luck = None if judged.luck is None else judged.luck.to_dict()
    return {**document, "luck": luck, "verdict": judged.sentences}


def _counted(lineage: Lineage, own: Trial) -> list[Trial]:
    return counted_trials(lineage.workspace.database, lineage.symbol, own.start, own.end)


def _regimes(lineage: Lineage) -> Labels | None:
    """Return the regime at each base bar from its two columns alone: the whole dataset would take seconds to read."""
    bar, lake = lineage.timeframes[0], lineage.workspace.lake
    names = [f"regime_{state}_{bar.code}" for state in ("calm", "wild")]
    try:
        read = lake.read(FEATURES, bar_keys(lineage.symbol, bar), columns=["known_at", *names])
    except DataError:  # features without regimes
        return None
    known_at = read["known_at"].to_numpy().astype("datetime64[ns]")
    return Labels(known_at, most_probable(*(read[name].to_numpy() for name in names)))
