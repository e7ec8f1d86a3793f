"""How straight prices go and how long signs last: efficiency, fractal dimension, runs."""

from __future__ import annotations

import math

import numpy as np

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.moments import FLOOR, shifted
from fxgpt_core.features.parameters import number, periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_mean, rolling_sum

LONGEST_RUN = 12
"""Bars at which a run of equal signs stops being counted."""


@feature(
    "efficiency",
    group="statistics",
    source="Kaufman 1995, efficiency ratio",
    windowed=True,
    warm_up=lambda p: max(p["windows"]),
    windows=periods(10, 40, 160, low=2, high=288),
)
def efficiency(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """|Log return over the window| / sum of absolute log returns: 0 (to and fro) .. 1 (straight); 0 where still."""
    out = {}
    for window in windows:
        path = rolling_sum(np.abs(bars.log_return), window)
        still = path <= window * FLOOR
        way = np.abs(rolling_sum(bars.log_return, window))
        out[("efficiency", window)] = np.where(still, 0.0, way / np.where(still, 1.0, path))
    return out


@feature(
    "fractal_dimension",
    group="statistics",
    source="Ehlers 2005, FRAMA",
    windowed=True,
    warm_up=lambda p: max(p["windows"]) - 1,
    windows=periods(32, 128, low=4, high=288),
)
def fractal_dimension(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Fractal dimension: log2 of ((range of either half of the window, summed) x 2 / range of the window), 1..2.

    1 is a straight line; 1.5 where nothing moved.
    """
    import talib

    out = {}
    for window in windows:
        half = window // 2
        late = talib.MAX(bars.high, timeperiod=half) - talib.MIN(bars.low, timeperiod=half)
        whole = talib.MAX(bars.high, timeperiod=2 * half) - talib.MIN(bars.low, timeperiod=2 * half)
        still = whole <= FLOOR * bars.close
        ratio = (late + shifted(late, half)) * 2 / np.where(still, 1.0, whole)
        values = np.where(still, 1.5, np.clip(np.log2(np.where(still, 1.0, ratio)), 1.0, 2.0))
        values[: window - 1] = np.nan
        out[("fractal_dim", window)] = values
    return out


@feature(
    "runs",
    group="statistics",
    source="Wald & Wolfowitz 1940, runs test",
    windowed=True,
    warm_up=lambda p: p["window"],
    window=number(64, 8, 288),
)
def runs(bars: Bars, window: int) -> Columns:
    """z of the number of runs of rises and falls in the window's returns: below 0 where signs last; cut to +-6.

    A return of exactly nothing counts as a fall; 0 where all are alike.
    """
    up = _rises(bars, 0.0)
    changes = rolling_sum(np.where(np.isnan(shifted(up, 1)), np.nan, up != shifted(up, 1)), window - 1)
    rises = rolling_sum(up, window)
    falls = window - rises
    pairs = 2 * rises * falls
    alike = (pairs <= window) | np.isnan(pairs)
    variance = pairs * (pairs - window) / (window**2 * (window - 1))
    z = (changes + 1 - pairs / window - 1) / np.sqrt(np.where(alike, 1.0, variance))
    values = np.where(alike, 0.0, np.clip(z, -6.0, 6.0))
    return {("runs_z", window): np.where(np.isnan(pairs), np.nan, values)}


@feature(
    "current_run",
    group="statistics",
    source="own: successive returns of one sign",
    windowed=True,
    warm_up=lambda p: p["scale"] + LONGEST_RUN,
    scale=number(96, 2, 270),
)
def current_run(bars: Bars, scale: int) -> Columns:
    """Bars for which returns have had the sign of the last one, as a positive or negative number up to 12 / 12.

    `run_move`: their sum in root mean squares of the `scale` returns before those 12 bars, cut to +-20. Both are 0
    after a return of nothing.
    """
    sign = np.sign(bars.log_return)
    length, total, alive = np.zeros(len(bars)), np.zeros(len(bars)), np.ones(len(bars), dtype=bool)
    for lag in range(LONGEST_RUN):
        earlier = shifted(sign, lag) if lag else sign
        alive &= (earlier == sign) & (sign != 0.0)
        length += alive
        total += np.where(alive, shifted(bars.log_return, lag) if lag else bars.log_return, 0.0)
    usual = shifted(np.sqrt(rolling_mean(bars.squared_return, scale)), LONGEST_RUN)
    still = usual <= FLOOR
    move = np.where(still, 0.0, np.clip(total / np.where(still, 1.0, usual), -20.0, 20.0))
    undefined = np.isnan(usual)
    return {
        ("run_length",): np.where(undefined, np.nan, sign * length / LONGEST_RUN),
        ("run_move", scale): move,
    }


@feature(
    "up_share",
    group="statistics",
    source="share of rising bars",
    windowed=True,
    warm_up=lambda p: max(p["windows"]),
    windows=periods(16, 64, low=2, high=288),
)
def up_share(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Share of the window's returns that are rises, those of exactly nothing counting half: 0..1."""
    return {("up_share", window): rolling_mean(_rises(bars, 0.5), window) for window in windows}


def _rises(bars: Bars, nothing: float) -> Floats:
    """Return 1 for rises, 0 for falls, `nothing` where the close stayed, NaN at the first bar: (bars,)."""
    returns = bars.log_return
    signs = np.where(returns > 0.0, 1.0, np.where(returns == 0.0, nothing, 0.0))
    return np.where(np.isnan(returns), math.nan, signs)
