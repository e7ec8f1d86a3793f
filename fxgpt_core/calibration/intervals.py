"""Scores of outcomes against central intervals, and the intervals that scores lead back to.

A score says how far an interval would have had to reach to hold the outcome; an offset is a score that is used as the
reach. Three kinds (`CalibrationConfig.score`):

- `quantile`: max(low − y, y − high) / spread, negative inside. Conformalised quantile regression (Romano, Patterson &
  Candès 2019, eq. 6), normalised by the predicted spread (Lei et al. 2018, sec. 5.2). Interval: [low − s, high + s].
- `spread`: |y − median| / spread (Lei et al. 2018). Interval: median ± offset · spread.
- `return`: |y − median|: plain split conformal (Papadopoulos et al. 2002). Interval: median ± offset.

Pairs of levels are ordered outermost first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.calibration.config import Score
from fxgpt_core.common.forecast import Forecast

Floats = NDArray[np.float64]


def coverages(levels: tuple[float, ...]) -> Floats:
    """Return the nominal coverage of each central interval, (pairs,), outermost first."""
    half = len(levels) // 2
    return 1 - 2 * np.asarray(levels[:half], dtype=np.float64)


def spread(forecast: Forecast) -> Floats:
    """Return the predicted spread that scores are measured in: the 10–90 % range, (rows, horizons), above zero."""
    return np.maximum(forecast.quantile(0.9) - forecast.quantile(0.1), 1e-12)


def scores(forecast: Forecast, returns: Floats, kind: Score) -> Floats:
    """Return the score of each outcome for each interval, (rows, horizons, pairs); NaN where it is not known.

    `returns`: (rows, horizons) realised log returns.
    """
    half = len(forecast.levels) // 2
    y = returns[..., None]
    if kind == "quantile":
        low, high = forecast.quantiles[..., :half], forecast.quantiles[..., : -half - 1 : -1]
        return np.asarray(np.maximum(low - y, y - high) / spread(forecast)[..., None])
    distance = np.abs(y - forecast.quantiles[..., half : half + 1])
    if kind == "spread":
        distance = distance / spread(forecast)[..., None]
    return np.broadcast_to(distance, (*returns.shape, half))


def corrected(forecast: Forecast, offsets: Floats, kind: Score) -> Floats:
    """Return the quantiles whose intervals reach as far as `offsets` say, (rows, horizons, levels).

    `offsets`: (rows or 1, horizons, pairs). The median stays. Where corrections of neighbouring intervals would cross,
    the outer one is widened to hold the inner one, so that coverage is never lost.
    """
    half = len(forecast.levels) // 2
    median = forecast.quantiles[..., half : half + 1]
    reach = offsets if kind == "return" else offsets * spread(forecast)[..., None]  # (rows, horizons, pairs)
    if kind == "quantile":
        low = forecast.quantiles[..., :half] - reach
        high = forecast.quantiles[..., : -half - 1 : -1] + reach  # outermost first
    else:
        low, high = median - reach, median + reach
    low = np.minimum.accumulate(np.minimum(low, median)[..., ::-1], axis=-1)[..., ::-1]
    high = np.maximum.accumulate(np.maximum(high, median)[..., ::-1], axis=-1)  # innermost first
    return np.concatenate([low, median, high], axis=-1)


def neutral(forecast: Forecast, kind: Score) -> Floats:
    """Return the offsets that leave intervals as they are, on average over the rows: (horizons, pairs).

    Nothing for `quantile`; half the mean width, in the unit of the score, for the two that start from the median.
    """
    half = len(forecast.levels) // 2
    if kind == "quantile":
        return np.zeros((len(forecast.horizons), half))
    reach = (forecast.quantiles[..., : -half - 1 : -1] - forecast.quantiles[..., :half]) / 2
    reach = reach / spread(forecast)[..., None] if kind == "spread" else reach
    # The order in which NumPy adds depends on the layout in memory: equal rows must give equal bits, cut out or not.
    return np.asarray(np.ascontiguousarray(reach).mean(axis=0))


def reach(forecast: Forecast, offsets: Floats, kind: Score) -> Floats:
    """Return half the mean width of the intervals that `offsets` lead to, in the unit of the score: (horizons, pairs).

    At least a tenth of the raw width, so that there is a way to go for an interval that closes.
    """
    if kind != "quantile":
        return offsets
    raw = neutral(forecast, "spread")
    return np.asarray(np.maximum(raw + offsets, raw / 10))


def width_ratio(quantiles: Floats, before: Forecast) -> Floats:
    """Return corrected over raw width of the 90 % interval, 1 where the raw one has none: (rows, horizons)."""
    low, high = before.levels.index(0.05), before.levels.index(0.95)
    old = before.quantiles[..., high] - before.quantiles[..., low]
    new = quantiles[..., high] - quantiles[..., low]
    return np.where(old > 0, new / np.where(old > 0, old, 1.0), 1.0)
