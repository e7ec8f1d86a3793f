"""How likely luck alone explains a backtest, given how many strategies were really tried (SPEC 9 and 11).

The trials are those counted in the operational database (`store.trials`): nobody declares their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.metrics import TRADING_DAYS, day_ends
from fxgpt_core.backtest.result import BacktestResult
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.hashing import bytes_hash, stable_hash
from fxgpt_core.evaluation.overfitting import BLOCKS, probability_of_overfitting
from fxgpt_core.evaluation.sharpe import SharpeRatio, expected_maximum, sharpe_ratio
from fxgpt_core.store.trials import Trial

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]
_NO_CHOICE = {
    "account_currency", "initial_cash", "engine", "bootstrap_draws", "bootstrap_block_days", "confidence_level",
}  # fmt: skip
_SHARED_DAYS = 0.9
_MOST_COMPARED = 100
"""Trials behind the probability of overfitting, the newest ones: of more it needs hundreds of megabytes."""
_CONFIDENCE = 0.95


def configuration_hash(config: BacktestConfig) -> str:
    """Return the hash of what somebody chose about trading: not of the account, the engine or the statistics.

    Costs are no choice either: what they become later corrects a trial and makes no new one.
    """
    return stable_hash(config.model_dump(mode="json", exclude=_NO_CHOICE))


def forecast_hash(forecast: Forecast) -> str:
    """Return the hash of the forecasts themselves, for callers that do not know how they were made."""
    data = [np.ascontiguousarray(part).tobytes() for part in (forecast.mean, forecast.std, forecast.quantiles)]
    return bytes_hash(b"".join([forecast.decided_at.astype("<i8").tobytes(), *data]))


def trial_of(result: BacktestResult, forecasts: str, config: BacktestConfig) -> Trial:
    """Return a backtest as the trial to count; `forecasts`: the hash of how its forecasts were made."""
    who, days = (result.symbol, result.family, forecasts), day_ends(result.known_at)[1]
    return trial_from(who, config, result.known_at, days, result.daily, len(result.trades))


def trial_from(
    who: tuple[str, str, str], config: BacktestConfig, known_at: Times, days: Times, daily: Floats, trades: int
) -> Trial:
    """Return the trial of a symbol, a family and the hash of how its forecasts were made.

    `known_at`: (bars,) closes; `days`, `daily`: (days,) dates and returns of its trading days.
    """
    ratio = _ratio(daily)
    return Trial(
        *who,
        configuration=configuration_hash(config),
        start=known_at[0],
        end=known_at[-1],
        bars=len(known_at),
        trades=trades,
        days=days,
        daily=daily,
        sharpe=None if ratio is None else ratio.value,
        skewness=None if ratio is None else ratio.skewness,
        kurtosis=None if ratio is None else ratio.kurtosis,
    )


@dataclass(frozen=True)
class Overfit:
    """`probability`: that the best of `trials` on these `days` is below their median on days that did not choose it."""

    probability: float
    loss_probability: float
    trials: int
    days: int


@dataclass(frozen=True)
class Luck:
    """Sharpe ratios are yearly. `tried`: strategies counted for the symbol on this span; `trials`: those that traded.

    `expected_best`: the best ratio that so many trials without skill would show; `probability`: that the true ratio is
    above 0 (probabilistic Sharpe ratio); `deflated`: above `expected_best` (deflated Sharpe ratio). `days`,
    `effective_days`: of the record; `days_needed`, `days_needed_deflated`: minimum track record length at 95 % against
    0 and against `expected_best`, None where no record is long enough. `overfitting`: where several trials share the
    days.
    """

    sharpe: float
    tried: int
    trials: int
    expected_best: float
    probability: float
    deflated: float
    days: int
    effective_days: float
    days_needed: float | None
    days_needed_deflated: float | None
    overfitting: Overfit | None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


def judge(own: Trial, counted: Sequence[Trial]) -> Luck | None:
    """Return how much of `own` is luck, given every trial counted on its span; None where its returns do not vary.

    Bailey & López de Prado (2014): the trials that traded are taken as independent ones, which similar strategies are
    not; their variance then is small as well. Raises BadInputError where `own` is not among the counted.
    """
    ratio = _ratio(own.daily)
    if ratio is None:
        return None
    if not any(_same(own, trial) for trial in counted):
        raise BadInputError(f"The backtest of {own.family} for {own.symbol} is not among the trials: count it first.")
    ratios = [trial.sharpe for trial in counted if trial.sharpe is not None and trial.trades]
    spread = float(np.var(ratios, ddof=1)) if len(ratios) > 1 else 0.0
    best = expected_maximum(spread, max(len(ratios), 1))
    yearly = float(np.sqrt(TRADING_DAYS))
    needed, needed_deflated = (ratio.rows_needed(benchmark, _CONFIDENCE) for benchmark in (0.0, best))
    return Luck(
        sharpe=ratio.value * yearly,
        tried=len(counted),
        trials=len(ratios),
        expected_best=best * yearly,
        probability=ratio.probability_above(0.0),
        deflated=ratio.deflated(ratios),
        days=len(own.days),
        effective_days=ratio.effective_rows,
        days_needed=needed if np.isfinite(needed) else None,
        days_needed_deflated=needed_deflated if np.isfinite(needed_deflated) else None,
        overfitting=_overfit(own, counted),
    )


def _same(own: Trial, other: Trial) -> bool:
    names = ("symbol", "family", "forecasts", "configuration")
    return all(getattr(own, name) == getattr(other, name) for name in names)


def _ratio(daily: Any) -> SharpeRatio | None:
    try:
        return sharpe_ratio(daily)
    except BadInputError:
        return None


def _overfit(own: Trial, counted: Sequence[Trial]) -> Overfit | None:
    """Return the probability of overfitting of the trials that traded on (nearly) all days of `own`, and of `own`."""
    columns = []
    for trial in [own, *[other for other in counted if not _same(own, other)][1 - _MOST_COMPARED :]]:
        if trial.trades and np.isin(own.days, trial.days).mean() >= _SHARED_DAYS:
            column = np.zeros(len(own.days))
            _, here, there = np.intersect1d(own.days, trial.days, assume_unique=True, return_indices=True)
            column[here] = trial.daily[there]
            columns.append(column)
    blocks = min(BLOCKS, len(own.days) // 4 * 2)
    if len(columns) < 2 or blocks < 4:
        return None
    found = probability_of_overfitting(np.stack(columns, axis=1), blocks)
    return Overfit(found.probability, found.loss_probability, len(columns), len(own.days))


def verdict(luck: Luck | None, random_p: float | None = None) -> list[str]:
    """Return what the figures mean, in plain sentences; `random_p`: that of random entries with the same costs."""
    if luck is None:
        return ["It traded nothing, so there is no luck to judge."]
    once = "1 strategy has" if luck.tried == 1 else f"{luck.tried} strategies have"
    said = [
        f"{once} been tried on this pair and span, of which {luck.trials} traded. The best of as many without any "
        f"skill would be expected to show a Sharpe ratio of {luck.expected_best:.2f}; this one shows "
        f"{luck.sharpe:.2f}.",
        f"The probability that its true Sharpe ratio is above that (deflated Sharpe ratio) is {luck.deflated:.0%}; "
        f"that it is above zero, had nothing else been tried, {luck.probability:.0%}.",
    ]
    if luck.days_needed is None:
        said.append("No record is long enough to show that it earns money: its own Sharpe ratio is not above zero.")
    else:
        years = luck.days_needed / TRADING_DAYS
        against = "; against the best of chance, none is long enough" if luck.days_needed_deflated is None else ""
        if luck.days_needed_deflated is not None and luck.trials > 1:
            against = f", {luck.days_needed_deflated / TRADING_DAYS:.1f} years against the best of chance"
        said.append(
            f"At this rate {years:.1f} years would be needed to show at 95 % that it earns anything{against}; the "
            f"record has {luck.days / TRADING_DAYS:.1f}."
        )
    if luck.overfitting is not None:
        over = luck.overfitting
        said.append(
            f"Choosing the best of the {over.trials} trials on half of these days puts it below their median on the "
            f"other half in {over.probability:.0%} of all splits (probability of backtest overfitting)."
        )
    if random_p is not None:
        said.append(
            f"Random entries of the same number, lengths, sizes and costs do at least as well in {random_p:.1%} of all "
            "draws."
        )
    if luck.sharpe <= 0:
        said.append("It earned nothing after costs: there is no profit for luck to explain.")
    elif luck.deflated < _CONFIDENCE or (random_p is not None and random_p > 1 - _CONFIDENCE):
        said.append("Luck explains this well enough: do not trade it.")
    elif random_p is None:
        said.append("It was not held against random entries, so luck is not ruled out.")
    else:
        said.append("Luck is an unlikely explanation.")
    return said
