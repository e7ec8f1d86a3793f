"""Volatility against what is usual for the time of week, learned from the months before and frozen for the month.

Each bar's moves are divided by the usual volatility of its time of week; the estimators then work on what is left.
Usual is the mean log range of half a year, as the standard deviation of a random walk that has it (range / sqrt(8/pi):
Feller 1951). NaN throughout until two weeks have been seen before the month.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.indicators.realised import jump_share, log_ratio, upside
from fxgpt_core.features.indicators.volatility import Legs, root, yang_zhang_variance
from fxgpt_core.features.parameters import number, periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_mean
from fxgpt_core.features.time_of_week import (
    BARS,
    BUCKET_MINUTES,
    WEEKS,
    bar_of_week,
    bars_in_week,
    opens_week,
    recent,
    usual,
)

FLOOR = 0.01
"""Volatility, as a share of the usual one, below which nothing counts as having moved."""

QUIETEST = 0.05
"""Least usual volatility of a time of week, as a share of the mean over the week."""


@dataclass(frozen=True)
class Usual:
    """For each bar of the week, (bars in a week,): `volatility`: usual log-return volatility; `drift`: t statistic of
    past returns, each by its usual volatility."""

    volatility: Floats
    drift: Floats


def fit_usual(past: Bars, weeks: int, **_: object) -> Usual | None:
    """Return what was usual in the last `weeks` weeks before a month; None for fewer than two, or still ones."""
    seen = recent(past, weeks)
    if seen is None:
        return None
    ranges = usual(seen.log_range, seen)
    if ranges is None or not ranges.mean() > 0.0:
        return None
    volatility = np.maximum(ranges, QUIETEST * ranges.mean()) / math.sqrt(8 / math.pi)
    place = bar_of_week(seen)
    moves = within_week(seen) / volatility[place]
    known = np.isfinite(moves)
    total, energy = (np.bincount(place[known], x[known], len(volatility)) for x in (moves, moves * moves))
    return Usual(volatility, total / np.sqrt(np.maximum(energy, 1.0)))


def within_week(bars: Bars) -> Floats:
    """Return log returns, from its open for the first bar of a week: the weekend is no time of the week: (bars,)."""
    return np.where(opens_week(bars), np.log(bars.close / bars.open), bars.log_return)


def adjusted(bars: Bars, state: Usual) -> tuple[Floats, Legs]:
    """Return log returns and legs by the usual volatility of each bar's time of week; weekends are no gaps."""
    expected = state.volatility[bar_of_week(bars)]
    legs = Legs.of(bars)
    gap = np.where(opens_week(bars), 0.0, legs.gap)
    return within_week(bars) / expected, Legs(*(leg / expected for leg in (gap, legs.up, legs.down, legs.body)))


def log_level(variance: Floats, window: int) -> Floats:
    """Return the log of the root of the mean variance over the window, at least `FLOOR`: (bars,)."""
    return np.asarray(np.log(np.maximum(root(rolling_mean(variance, window)), FLOOR)))


@feature(
    "seasonal_volatility",
    group="seasonal",
    source="Andersen & Bollerslev 1997; Corsi 2009; Parkinson 1980; Garman & Klass 1980; Yang & Zhang 2000",
    windowed=True,
    warm_up=lambda p: max(*p["windows"][:2], *(window - 1 for window in p["windows"])),
    fit=fit_usual,
    memory=lambda p: BARS,
    windows=periods(12, 48, 192, low=2, high=288),
    weeks=number(WEEKS, 4, 104),
)
def seasonal_volatility(bars: Bars, windows: tuple[int, ...], weeks: int, state: Usual | None) -> Columns:
    """Logs of volatility over the window as a share of what is usual for those times of week (at least 0.01).

    `adj_range_1`: the last bar's range alone; `adj_har_ret` (first two windows), `adj_har_range`: from returns and from
    ranges (Parkinson), the adjusted components of an autoregression; `adj_gk`, `adj_yz`: Garman–Klass and Yang–Zhang
    over half the first and half the second window. A week's first return counts from its open.
    """
    half = [max(window // 2, 2) for window in windows[:2]]
    names = [("adj_range", 1), *(("adj_har_ret", w) for w in windows[:2]), *(("adj_har_range", w) for w in windows)]
    names += [("adj_gk", half[0]), ("adj_yz", half[-1])]
    if state is None:
        return _nothing(bars, names)
    returns, legs = adjusted(bars, state)
    parkinson, garman = legs.parkinson(), legs.garman_klass()
    squares = returns * returns
    values = [log_level(parkinson, 1), *(log_level(squares, w) for w in windows[:2])]
    values += [log_level(parkinson, w) for w in windows]
    values += [log_level(garman, half[0]), np.log(np.maximum(root(yang_zhang_variance(legs, half[-1])), FLOOR))]
    return dict(zip(names, values, strict=True))


@feature(
    "seasonal_shape",
    group="seasonal",
    source="Barndorff-Nielsen & Shephard 2004; Rogers & Satchell 1991; on adjusted returns",
    windowed=True,
    warm_up=lambda p: p["window"],
    fit=fit_usual,
    memory=lambda p: BARS,
    window=number(96, 3, 288),
    weeks=number(WEEKS, 4, 104),
)
def seasonal_shape(bars: Bars, window: int, weeks: int, state: Usual | None) -> Columns:
    """From returns and ranges divided by the usual volatility of their time of week, over the window.

    `adj_jump`: 1 - bipower variation / realised variance, at least -1; `adj_up`: share of squared rises in squared
    returns; `adj_rs_gk`, `adj_pk_cc`: logs of Rogers–Satchell / Garman–Klass and Parkinson / root mean square, +-3.
    """
    names = [(stem, window) for stem in ("adj_jump", "adj_up", "adj_rs_gk", "adj_pk_cc")]
    if state is None:
        return _nothing(bars, names)
    returns, legs = adjusted(bars, state)
    variances = (legs.rogers_satchell(), legs.garman_klass(), legs.parkinson(), returns * returns)
    rs, gk, pk, cc = (root(rolling_mean(variance, window)) for variance in variances)
    values = (jump_share(returns, window, FLOOR), upside(returns, window, FLOOR))
    return dict(zip(names, (*values, log_ratio(rs, gk, FLOOR), log_ratio(pk, cc, FLOOR)), strict=True))


@feature(
    "season",
    group="seasonal",
    source="Andersen & Bollerslev 1997; Heston, Korajczyk & Sadka 2010 (returns at the same time of day)",
    windowed=True,
    warm_up=lambda p: 0,
    fit=fit_usual,
    memory=lambda p: BARS,
    ahead=periods(1, 8, low=1, high=240),
    weeks=number(WEEKS, 4, 104),
)
def season(bars: Bars, ahead: tuple[int, ...], weeks: int, state: Usual | None) -> Columns:
    """What the clock says of the bars to come: logs of usual volatility, and the usual direction of the next bar.

    `season_vol`: usual volatility of the last bar's time of week / root mean square over the week; `season_next`: root
    mean square of the usual volatility of the next `ahead` half hours (bars where they are longer) / that of as many
    last ones, in trading time, so that Sunday's open follows Friday's close; `season_drift`: t statistic of past
    returns at the next bar's time of week, cut to +-4. Nothing for weekly bars, which have no time of week.
    """
    if bars_in_week(bars.timeframe.minutes) == 1:
        return {}
    names: list[tuple[str | int, ...]] = [("season_vol",), *(("season_next", n) for n in ahead), ("season_drift",)]
    if state is None:
        return _nothing(bars, names)
    place, variance = bar_of_week(bars), np.square(state.volatility)
    values = [0.5 * np.log(variance / variance.mean())[place]]
    for halves in ahead:
        count = halves * max(BUCKET_MINUTES // bars.timeframe.minutes, 1)
        gone = np.mean([np.roll(variance, lag) for lag in range(count)], axis=0)  # of the last bars of the clock
        values.append(0.5 * np.log(np.roll(gone, -count) / gone)[place])
    values.append(np.clip(np.roll(state.drift, -1), -4.0, 4.0)[place])
    return dict(zip(names, values, strict=True))


def _nothing(bars: Bars, names: list[tuple[str, int]] | list[tuple[str | int, ...]]) -> Columns:
    return {name: np.full(len(bars), np.nan) for name in names}
