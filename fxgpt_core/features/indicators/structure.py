"""Market structure in a causal form: swings, order blocks, fair value gaps exist from the bar that confirms them.

Distances are in mean true ranges, plain means over a window, so that all of it forgets what lies more than a few
hundred bars back. Distances to round numbers are left out: what is round depends on the unit of the price.
"""

from __future__ import annotations

import numpy as np

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.moments import FLOOR
from fxgpt_core.features.parameters import number, periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_mean

FAR = 20.0
"""Distances are cut to this many mean true ranges; a zone that does not exist lies so far away."""


def mean_true_range(bars: Bars, period: int) -> Floats:
    """Return the plain mean of the true range (Wilder 1978) over `period` bars, in price: (bars,)."""
    return bars.once(
        ("mean_true_range", period), lambda: rolling_mean(bars.once(("true_range",), lambda: _true_range(bars)), period)
    )


def _true_range(bars: Bars) -> Floats:
    true = np.full(len(bars), np.nan)
    true[1:] = np.maximum(bars.high[1:], bars.close[:-1]) - np.minimum(bars.low[1:], bars.close[:-1])
    return true


def in_ranges(distance: Floats, scale: Floats, close: Floats, far: float = FAR) -> Floats:
    """Return a distance in mean true ranges, cut to +-`far`, 0 where nothing moved, NaN where `scale` is: (bars,)."""
    still = scale <= FLOOR * close
    return np.clip(np.where(still, 0.0, distance / np.where(still, 1.0, scale)), -far, far)


def _known(values: Floats, missing: float, scale: Floats) -> Floats:
    """Return values with `missing` where there are none, NaN in the warm-up: (bars,)."""
    return np.where(np.isnan(scale), np.nan, np.where(np.isnan(values), missing, values))


@feature(
    "swings",
    group="structure",
    source="fractals, Williams 1995, stamped with the bar that confirms them",
    windowed=True,
    warm_up=lambda p: p["period"],
    widths=periods(3, 10, low=1, high=50),
    period=number(24, 2, 200),
    reach=number(128, 16, 288),
)
def swings(bars: Bars, widths: tuple[int, ...], period: int, reach: int) -> Columns:
    """Last swing high and low confirmed by `width` bars on either side, by then `width` bars old, at most `reach`.

    `swing_high_dist`, `swing_low_dist`: swing high - close, close - swing low, in mean true ranges over `period` bars
    (0 where no swing is known); `…_age`: bars since / reach, 1 where none; `…_step`: last swing of the kind - the one
    before it, in mean true ranges; `swing_trend`: mean of the signs of both steps, +1 for higher highs and higher lows;
    `swing_pos`: (close - low) / (high - low) of the last swings, cut to -1..2, 0.5 where they are no range.
    """
    from fxgpt_core.features.kernels.structure import confirmed_highs, last_two

    scale = mean_true_range(bars, period)
    out: dict[tuple[str, int], Floats] = {}
    for width in widths:
        tops, bottoms = confirmed_highs(bars.high, width), confirmed_highs(-bars.low, width)
        high, high_before, high_age = last_two(tops, bars.high, reach)
        low, low_before, low_age = last_two(bottoms, bars.low, reach)
        steps = []
        for name, away, step, age in (
            ("high", high - bars.close, high - high_before, high_age),
            ("low", bars.close - low, low - low_before, low_age),
        ):
            steps.append(_known(in_ranges(step, scale, bars.close), 0.0, scale))
            out[f"swing_{name}_dist", width] = _known(in_ranges(away, scale, bars.close), 0.0, scale)
            out[f"swing_{name}_age", width] = age / reach
            out[f"swing_{name}_step", width] = steps[-1]
        out["swing_trend", width] = 0.5 * (np.sign(steps[0]) + np.sign(steps[1]))
        span = high - low
        ranged = span > FLOOR * bars.close
        place = np.where(ranged, (bars.close - low) / np.where(ranged, span, 1.0), 0.5)
        out["swing_pos", width] = np.clip(place, -1.0, 2.0)
    return out


@feature(
    "structure_breaks",
    group="structure",
    source="break of structure and liquidity sweep by their usual definitions, on confirmed swings",
    warm_up=lambda p: 0,
    widths=periods(3, 10, low=1, high=50),
    reach=number(128, 16, 240),
)
def structure_breaks(bars: Bars, widths: tuple[int, ...], reach: int) -> Columns:
    """Last break of structure (`bos`) and last liquidity sweep (`sweep`): sign x (1 - bars since / reach), 0 if none.

    A break is the first close above the last swing high (+1) or below the last swing low (-1), confirmed by `width`
    bars on either side; a sweep is a bar that traded above an unbroken high (-1) or below a low (+1) and closed back
    inside. `bos_balance`: (upward - downward) / all breaks of the last `reach` bars, 0 where there was none. A swing is
    remembered for `reach` bars.
    """
    from fxgpt_core.features.kernels.structure import breaks, confirmed_highs, faded

    out: dict[tuple[str, int], Floats] = {}
    for width in widths:
        tops, bottoms = confirmed_highs(bars.high, width), confirmed_highs(-bars.low, width)
        broke, swept = breaks(bars.high, bars.low, bars.close, tops, bottoms, reach)
        count, net = _recent(np.abs(broke), reach), _recent(broke, reach)
        out["bos", width] = faded(broke, reach)
        out["sweep", width] = faded(swept, reach)
        out["bos_balance", width] = net / np.maximum(count, 1.0)
    return out


def _recent(events: Floats, reach: int) -> Floats:
    """Return the sum over the last `reach` rows of whole numbers, fewer at the start: (bars,)."""
    total = np.cumsum(events)  # exact: sums of whole numbers
    total[reach:] -= total[:-reach].copy()
    return total


@feature(
    "order_blocks",
    group="structure",
    source="last opposite bar before a displacement, stamped with the displacement",
    warm_up=lambda p: p["period"],
    thrust=number(1.5, 0.5, 10.0),
    back=number(5, 1, 50),
    period=number(24, 2, 200),
    reach=number(256, 16, 288),
)
def order_blocks(bars: Bars, thrust: float, back: int, period: int, reach: int) -> Columns:
    """Open order blocks: the last falling bar before a rising body of `thrust` mean true ranges (bearish: mirrored).

    A block is open from the displacement until price trades to its middle, at most `reach` bars. `ob_bull_dist`,
    `ob_bear_dist`: distance of the close to the nearest open middle, in mean true ranges over `period` bars, 20 where
    none; `…_age`: bars since its displacement / reach, 1 where none; `…_count`: log(1 + open blocks); `displacement`:
    sign of the last displacement x (1 - bars since / reach).
    """
    from fxgpt_core.features.kernels import structure

    scale = mean_true_range(bars, period)
    bull = structure.order_blocks((bars.open, bars.high, bars.low, bars.close), scale, thrust, back, reach)
    bear = structure.order_blocks((-bars.open, -bars.low, -bars.high, -bars.close), scale, thrust, back, reach)
    out: dict[tuple[str], Floats] = {}
    for name, away, (_, age, count, _) in (("bull", bars.close - bull[0], bull), ("bear", -bear[0] - bars.close, bear)):
        out[(f"ob_{name}_dist",)] = _known(in_ranges(away, scale, bars.close), FAR, scale)
        out[(f"ob_{name}_age",)] = age / reach
        out[(f"ob_{name}_count",)] = np.log1p(count)
    up, down = bull[3], bear[3]
    out[("displacement",)] = np.where(up <= down, 1.0 - up / reach, down / reach - 1.0)
    return out


@feature(
    "fair_value_gaps",
    group="structure",
    source="three-bar gaps, stamped with the third bar",
    windowed=True,
    warm_up=lambda p: p["period"],
    smallest=number(0.1, 0.0, 10.0),
    period=number(24, 2, 200),
    reach=number(256, 16, 288),
)
def fair_value_gaps(bars: Bars, smallest: float, period: int, reach: int) -> Columns:
    """Open fair value gaps: low above the high two bars before by `smallest` mean true ranges (down: mirrored).

    A gap is open until price has traded through all of it, at most `reach` bars. `fvg_up_dist`, `fvg_down_dist`:
    distance of the close to the far edge of the nearest open gap, in mean true ranges over `period` bars, 20 where
    none; `…_size`: its size in the same unit, 0 where none; `…_age`: bars since it opened / reach, 1 where none;
    `…_count`: log(1 + open gaps).
    """
    from fxgpt_core.features.kernels import structure

    scale = mean_true_range(bars, period)
    up = structure.fair_value_gaps(bars.high, bars.low, scale, smallest, reach)
    down = structure.fair_value_gaps(-bars.low, -bars.high, scale, smallest, reach)
    out: dict[tuple[str], Floats] = {}
    for name, away, (_, age, extent, count) in (
        ("up", bars.close - up[0], up),
        ("down", -down[0] - bars.close, down),
    ):
        out[(f"fvg_{name}_dist",)] = _known(in_ranges(away, scale, bars.close), FAR, scale)
        out[(f"fvg_{name}_size",)] = in_ranges(extent, scale, bars.close)
        out[(f"fvg_{name}_age",)] = age / reach
        out[(f"fvg_{name}_count",)] = np.log1p(count)
    return out
