"""Where volume was traded by price over a window, and what the close's place in it is."""

from __future__ import annotations

import numpy as np

from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.indicators.structure import in_ranges, mean_true_range
from fxgpt_core.features.parameters import number, periods
from fxgpt_core.features.registry import Columns, feature

FAR = 50.0
"""Mean true ranges to which distances are cut: a day's range is many of a quiet hour's."""


@feature(
    "volume_profile",
    group="volume_profile",
    source="Steidlmayer's market profile on volume; value area after Dalton, Jones & Dalton 1990",
    windowed=True,
    warm_up=lambda p: max(*p["windows"], p["period"] + 1) - 1,
    windows=periods(96, 288, low=10, high=288),
    bins=number(32, 8, 200),
    area=number(0.7, 0.1, 0.99),
    period=number(24, 2, 200),
)
def volume_profile(bars: Bars, windows: tuple[int, ...], bins: int, area: float, period: int) -> Columns:
    """Volume of the last `window` bars by price, in `bins` from their low to their high, spread over each bar's range.

    `vp_poc`, `vp_area_high`, `vp_area_low`: distance of the close to the fullest bin's middle and of the value area's
    edges to the close (the bins around it with `area` of the volume), in mean true ranges over `period` bars, cut to
    +-50; `vp_pos`: (close - low) / (high - low) of the value area, cut to -1..2; `vp_poc_place`: fullest bin's place in
    the range, 0..1; `vp_entropy`: of the profile / log(bins), 0..1; `vp_skew`: its skewness; `vp_spread`: its standard
    deviation / range; `vp_at_close`: volume at the close's bin / at the fullest; `vp_below`: share of the volume below
    the close. Where volume is missing or nil in a window every bar counts the same: time spent at a price.
    """
    from fxgpt_core.features.kernels import volume_profile as kernel

    scale = mean_true_range(bars, period)
    prices = bars.high, bars.low, bars.close
    out: dict[tuple[str, int], Floats] = {}
    for window in windows:
        found = kernel.profiles(prices, bars.volume, window, bins, area)
        high, low = found[:, kernel.AREA_HIGH], found[:, kernel.AREA_LOW]
        for name, away in (
            ("poc", bars.close - found[:, kernel.POC]),
            ("area_high", high - bars.close),
            ("area_low", bars.close - low),
        ):
            out[f"vp_{name}", window] = in_ranges(away, scale, bars.close, FAR)
        still = high - low <= 1e-9 * bars.close
        place = np.where(still, 0.5, (bars.close - low) / np.where(still, 1.0, high - low))
        out["vp_pos", window] = np.clip(place, -1.0, 2.0)
        for name, column in (
            ("poc_place", kernel.PLACE),
            ("entropy", kernel.ENTROPY),
            ("skew", kernel.SKEW),
            ("spread", kernel.SPREAD),
            ("at_close", kernel.AT_CLOSE),
            ("below", kernel.BELOW),
        ):
            out[f"vp_{name}", window] = found[:, column]
    return out
