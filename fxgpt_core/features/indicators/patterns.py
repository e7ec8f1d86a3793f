"""Candlestick patterns, by TA-Lib, as confidences from -1 (bearish) to 1 (bullish), 0 where there is none.

Of TA-Lib's patterns those are left out that do not occur on bars of currencies, which hardly ever gap (abandoned baby,
kicking, two crows …), and those that say another's again (long-legged doji: doji; takuri: dragonfly doji). Rare mirror
images share a column.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.parameters import number, periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_mean, rolling_sum

LOOK_BACK = 13
"""Bars before the first one that every pattern can be judged on: TA-Lib's longest look-back among them."""

SHAPES: Mapping[str, tuple[str, ...]] = {
    "doji": ("CDLDOJI",),
    "dragonfly": ("CDLDRAGONFLYDOJI",),
    "gravestone": ("CDLGRAVESTONEDOJI",),
    "rickshaw": ("CDLRICKSHAWMAN",),
    "high_wave": ("CDLHIGHWAVE",),
    "spinning_top": ("CDLSPINNINGTOP",),
    "long_line": ("CDLLONGLINE",),
    "short_line": ("CDLSHORTLINE",),
    "marubozu": ("CDLMARUBOZU",),
    "closing_marubozu": ("CDLCLOSINGMARUBOZU",),
    "belt_hold": ("CDLBELTHOLD",),
}
"""Shapes of a single bar -> TA-Lib functions. Dojis and the rickshaw man have no side: they are 0 or 1."""

SIGNALS: Mapping[str, tuple[str, ...]] = {
    "hammer": ("CDLHAMMER",),
    "hanging_man": ("CDLHANGINGMAN",),
    "inverted_hammer": ("CDLINVERTEDHAMMER",),
    "shooting_star": ("CDLSHOOTINGSTAR",),
    "engulfing": ("CDLENGULFING",),
    "harami": ("CDLHARAMI",),
    "harami_cross": ("CDLHARAMICROSS",),
    "doji_star": ("CDLDOJISTAR",),
    "matching_low": ("CDLMATCHINGLOW",),
    "separating_lines": ("CDLSEPARATINGLINES",),
    "piercing_cloud": ("CDLPIERCING", "CDLDARKCLOUDCOVER"),
    "star": ("CDLMORNINGSTAR", "CDLEVENINGSTAR"),
    "three_inside": ("CDL3INSIDE",),
    "three_outside": ("CDL3OUTSIDE",),
    "three_strike": ("CDL3LINESTRIKE",),
    "soldiers_crows": ("CDL3WHITESOLDIERS", "CDL3BLACKCROWS", "CDLIDENTICAL3CROWS"),
    "advance_block": ("CDLADVANCEBLOCK",),
    "stalled": ("CDLSTALLEDPATTERN",),
    "gap_methods": ("CDLXSIDEGAP3METHODS",),
    "hikkake": ("CDLHIKKAKE", "CDLHIKKAKEMOD"),
}
"""Patterns that speak for rising (+) or falling (-) prices -> TA-Lib functions, which never are of opposite sides."""

INDECISION = ("doji", "high_wave", "spinning_top")


def confidences(bars: Bars, patterns: Mapping[str, tuple[str, ...]]) -> dict[str, Floats]:
    """Return by name the confidence of each pattern, -1..1, NaN on the first `LOOK_BACK` bars: (bars,) each."""

    def confidence(name: str, functions: tuple[str, ...]) -> Floats:
        return bars.once(("pattern", name), lambda: _confidence(bars, name, functions))

    return {name: confidence(name, functions) for name, functions in patterns.items()}


def _confidence(bars: Bars, name: str, functions: tuple[str, ...]) -> Floats:
    import talib

    prices = (bars.open, bars.high, bars.low, bars.close)
    # 100 for a pattern; of hikkakes 100, and 200 at the bar that confirms one.
    full = 200.0 if name == "hikkake" else 100.0
    found = np.asarray(sum(getattr(talib, function)(*prices) for function in functions), dtype=np.float64) / full
    found[:LOOK_BACK] = np.nan
    return np.clip(found, -1.0, 1.0)


@feature(
    "candlesticks",
    group="patterns",
    source="Nison 1991, Morris 2006; hikkake: Chesler 2003; TA-Lib CDL functions",
    warm_up=lambda p: LOOK_BACK,
)
def candlesticks(bars: Bars) -> Columns:
    """1 or -1 at the bar that completes the pattern, by its side; 0.8 for bodies that only just engulf; 0 otherwise.

    Shapes of a single bar have the sign of its body, dojis and the rickshaw man none (0 or 1). A hikkake is 0.5, and 1
    at the bar that confirms it.
    """
    return {(f"cdl_{name}",): values for name, values in confidences(bars, {**SHAPES, **SIGNALS}).items()}


@feature(
    "candlestick_balance",
    group="patterns",
    source="own: counts of TA-Lib's candlestick patterns",
    warm_up=lambda p: LOOK_BACK + max(*p["windows"], p["indecision"]) - 1,
    windows=periods(3, 24, low=1, high=288),
    indecision=number(12, 1, 288),
)
def candlestick_balance(bars: Bars, windows: tuple[int, ...], indecision: int) -> Columns:
    """(Bullish - bearish) / (bullish + bearish + 1) patterns completed in the window, -1..1; single-bar shapes aside.

    `cdl_indecision`: share of bars, over its own window, that are dojis, high waves or spinning tops.
    """
    signals = confidences(bars, SIGNALS).values()
    bullish, bearish = np.zeros(len(bars)), np.zeros(len(bars))
    for values in signals:
        bullish += values > 0
        bearish += values < 0
    bullish[:LOOK_BACK] = bearish[:LOOK_BACK] = np.nan
    out: dict[tuple[str, int], Floats] = {}
    for window in windows:
        up, down = rolling_sum(bullish, window), rolling_sum(bearish, window)
        out[("cdl_balance", window)] = (up - down) / (up + down + 1.0)
    unsure = confidences(bars, {name: SHAPES[name] for name in INDECISION}).values()
    either = np.maximum.reduce([np.abs(values) for values in unsure])
    out[("cdl_indecision", indecision)] = rolling_mean(either, indecision)
    return out


@feature(
    "candlestick_memory",
    group="patterns",
    source="own: age of TA-Lib's candlestick patterns",
    warm_up=lambda p: LOOK_BACK,
    reach=number(48, 2, 288),
)
def candlestick_memory(bars: Bars, reach: int) -> Columns:
    """Side of the last pattern of a kind x (1 - bars since / reach), 0 from `reach` bars on: -1..1.

    `cdl_engulf_last`: engulfings; `cdl_hammer_last`: hammers (+), hanging men and shooting stars (-); `cdl_three_last`:
    patterns of three bars and more that turn or confirm (inside, outside, stars, soldiers, crows).
    """
    from fxgpt_core.features.kernels.structure import faded

    kinds = {
        "cdl_engulf_last": ("engulfing",),
        "cdl_hammer_last": ("hammer", "inverted_hammer", "hanging_man", "shooting_star"),
        "cdl_three_last": ("three_inside", "three_outside", "star", "soldiers_crows"),
    }
    out: dict[tuple[str, int], Floats] = {}
    for stem, names in kinds.items():
        side = np.sign(np.sum(list(confidences(bars, {name: SIGNALS[name] for name in names}).values()), axis=0))
        last = faded(np.nan_to_num(side), reach)
        last[:LOOK_BACK] = np.nan
        out[(stem, reach)] = last
    return out
