"""Volume against what is usual; NaN throughout where the venue gives no volume."""

from __future__ import annotations

import numpy as np

from fxgpt_core.features.bars import Bars
from fxgpt_core.features.parameters import periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.features.rolling import rolling_mean


@feature(
    "relative_volume",
    group="volume",
    source="log(1 + volume) - its rolling mean",
    warm_up=lambda p: max(p["windows"]) - 1,
    windows=periods(20, 120, low=1),
)
def relative_volume(bars: Bars, windows: tuple[int, ...]) -> Columns:
    """Log volume minus its mean over the window."""
    logs = np.log1p(np.maximum(bars.volume, 0.0))
    return {("vol_rel", window): logs - rolling_mean(logs, window) for window in windows}
