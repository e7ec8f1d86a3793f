"""Regimes of a hidden Markov model, filtered: probabilities that know the past only.

The model is fitted to the bars before the month and then stands still; its states are ordered by volatility. What is
told is the forward filter's answer at each bar, never the smoother's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.moments import FLOOR
from fxgpt_core.features.parameters import number
from fxgpt_core.features.registry import Columns, Values, feature
from fxgpt_core.features.rolling import rolling_mean
from fxgpt_core.market.calendar import NEW_YORK
from fxgpt_core.market.zones import to_local

FEWEST = 200
"""Bars without which nothing is learned."""

STEPS, ENOUGH = 40, 1e-4
"""Most steps of EM, and the gain of log likelihood per bar below which it stops."""

SMOOTH, STAY = 12, 0.97
"""Where EM starts: bars whose mean log range orders the bars, and the probability to stay in a state."""

RAREST = 0.005
"""Least probability of a change between two states: it bounds how long the filter remembers."""

NARROWEST = 0.02
"""Least variance of a state's observations, of which the usual one is 1: keeps a state from shrinking to a point."""

SHRINK = 20.0
"""Weight, in bars, of the overall mean in the mean of an hour of the day."""


_DAY = 1440


@dataclass(frozen=True)
class Regimes:
    """A fitted model: `usual`: (24, 1) mean observation by hour of New York; `scale`: (1,) deviation from it; `means`,
    `variances`: (states, 1) of the standardised observations, states by rising mean log range; `transition`: (states,
    states) from row to column; `start`: (states,) its stationary distribution."""

    usual: Floats
    scale: Floats
    means: Floats
    variances: Floats
    transition: Floats
    start: Floats


def observations(bars: Bars) -> Floats:
    """Return the log of log(high / low): (bars, 1).

    The bar's return beside it would only blur the states: it is mostly noise, and states that must explain it change
    from bar to bar (tried on hours and five minutes of EURUSD: they then forecast the next range worse than the last
    range does).
    """
    return np.asarray(np.log(np.maximum(bars.log_range, FLOOR))[:, None])


def fit_regimes(past: Bars, states: int, seasonal: bool) -> Regimes | None:
    """Return the model of the bars before a month, None where they are too few or do not move.

    EM starts from the states' shares of bars in order of the mean log range of the last `SMOOTH` bars, and from states
    that last: always the same for the same bars.
    """
    from fxgpt_core.features.kernels import regime as kernel

    if len(past) < FEWEST:
        return None
    seen, hours = observations(past), _hours(past)
    usual = _by_hour(seen, hours) if seasonal else np.tile(seen.mean(axis=0), (24, 1))
    away = seen - usual[hours]
    scale = away.std(axis=0)
    if not (scale > 1e-9).all():
        return None
    standard = np.ascontiguousarray(away / scale)
    smooth = rolling_mean(standard[:, 0], SMOOTH)
    order = np.argsort(np.where(np.isnan(smooth), standard[:, 0], smooth), kind="stable")
    parts = np.array_split(order, states)
    means = np.array([standard[part].mean(axis=0) for part in parts])
    variances = np.array([np.maximum(standard[part].var(axis=0), 0.25) for part in parts])
    stay = np.full((states, states), (1.0 - STAY) / (states - 1))
    np.fill_diagonal(stay, STAY)
    limits = STEPS, ENOUGH, RAREST, NARROWEST
    means, variances, transition, _ = kernel.maximise(standard, means, variances, stay, limits)
    rising = np.argsort(means[:, 0], kind="stable")
    transition = np.ascontiguousarray(transition[rising][:, rising])
    start = kernel.stationary(transition)
    return Regimes(usual, scale, means[rising], variances[rising], transition, start)


@dataclass(frozen=True)
class Filtered:
    """`state`: (bars, states) probabilities given the bars so far; `surprise`: (bars,) minus the log density of each
    bar's standardised observation given those before it."""

    state: Floats
    surprise: Floats


def filter_regimes(bars: Bars, model: Regimes) -> Filtered:
    """Return what the model says of each bar from those up to it."""
    from fxgpt_core.features.kernels import regime as kernel

    standard = np.ascontiguousarray((observations(bars) - model.usual[_hours(bars)]) / model.scale)
    density, tops = kernel.densities(standard, model.means, model.variances)
    state, scales = kernel.forward(density, model.transition, model.start)
    return Filtered(state, -np.log(scales) - tops)


def _columns(bars: Bars, model: Regimes | None, lag: int, stem: str) -> dict[tuple[str], Floats]:
    """Return the columns of an indicator, NaN without a model and on the first `lag` bars."""
    names = [f"{stem}_{name}" for name in ("calm", "wild", "ratio", "entropy", "stay", "change", "surprise")]
    if model is None:
        return {(name,): np.full(len(bars), np.nan) for name in names}
    found = filter_regimes(bars, model)
    ratio = found.state @ (model.means[:, 0] * model.scale[0])
    spread = np.log(np.where(found.state > 0.0, found.state, 1.0))
    entropy = -(found.state * spread).sum(axis=1) / math.log(len(model.means))
    stay = found.state @ -np.log1p(-np.diag(model.transition))
    change = ratio - np.concatenate([np.full(min(lag, len(bars)), np.nan), ratio[:-lag]])
    surprise = np.clip(found.surprise, -5.0, 20.0)
    values = (found.state[:, 0], found.state[:, -1], ratio, entropy, stay, change, surprise)
    return {(name,): column for name, column in zip(names, values, strict=True)}


def _hours(bars: Bars) -> NDArray[np.int64]:
    """Return the hour of New York in which each bar opens: (bars,)."""
    local = to_local(bars.ts_utc, NEW_YORK)
    return np.asarray((local - local.astype("datetime64[D]")) // np.timedelta64(1, "h"), dtype=np.int64)


def _by_hour(seen: Floats, hours: NDArray[np.int64]) -> Floats:
    """Return the mean observation by hour, drawn to the mean of all by `SHRINK` bars: (24, components)."""
    overall = seen.mean(axis=0)
    count = np.bincount(hours, minlength=24)[:, None]
    sums = np.stack([np.bincount(hours, weights=part, minlength=24) for part in seen.T], axis=1)
    return np.asarray((sums + SHRINK * overall) / (count + SHRINK))


def _fit_usual(past: Bars, states: int, learn: int, lag: int) -> Regimes | None:
    return fit_regimes(past, states, seasonal=True)


def _fit_raw(past: Bars, learn: int, lag: int) -> Regimes | None:
    return fit_regimes(past, 2, seasonal=False)


def _learned(parameters: Values) -> int:
    return int(parameters["learn"])


@feature(
    "regime",
    group="regime",
    source="hidden Markov model, Rabiner 1989; Hamilton 1989",
    warm_up=lambda p: p["lag"],
    fit=_fit_usual,
    memory=_learned,
    states=number(3, 2, 4),
    learn=number(4000, FEWEST, 50_000),
    lag=number(6, 1, 100),
)
def regime(bars: Bars, state: Regimes | None, states: int, learn: int, lag: int) -> Columns:
    """Filtered states of a Gaussian hidden Markov model of the log of log(high / low), less its mean of the hour.

    Fitted to the last `learn` bars before the month. `regime_calm`, `regime_wild`: probability of the least and the
    most volatile state; `regime_ratio`: expected log range less the hour's usual one; `regime_entropy`: of the
    probabilities / log(states); `regime_stay`: expected log of the state's mean duration in bars, which is what still
    lies ahead of it; `regime_change`: `regime_ratio` less that `lag` bars ago; `regime_surprise`: minus the log density
    of the bar given those before it, cut to -5..20. NaN before there are 200 bars to learn from.
    """
    return _columns(bars, state, lag, "regime")


@feature(
    "regime_raw",
    group="regime",
    source="hidden Markov model, Rabiner 1989; Hamilton 1989",
    warm_up=lambda p: p["lag"],
    version=2,
    fit=_fit_raw,
    memory=_learned,
    learn=number(4000, FEWEST, 50_000),
    lag=number(6, 1, 100),
)
def regime_raw(bars: Bars, state: Regimes | None, learn: int, lag: int) -> Columns:
    """Filtered states of a Gaussian hidden Markov model with two states of the log of log(high / low) as it is.

    `regime_raw_wild`, `regime_raw_entropy`, `regime_raw_change`, `regime_raw_surprise`: as in `regime`, with the change
    of the expected log range; without the mean of the hour a busy hour is a volatile state. Nothing from 1d on, where
    bars have no hour and `regime` says the same.
    """
    if bars.timeframe.minutes >= _DAY:
        return {}
    found = _columns(bars, state, lag, "regime_raw")
    kept = ("wild", "entropy", "change", "surprise")
    return {(f"regime_raw_{name}",): found[(f"regime_raw_{name}",)] for name in kept}
