"""The training span's own windows, and the alarm threshold that a statistic gets from them.

Why extrapolated: 5 % a month is 1.2 % a week, beyond the largest of less than 85 weeks. A Gumbel distribution fitted to
the weekly maxima, on the scale where they look like one, carries on from there; the threshold is never below the plain
empirical quantile. With few weeks it is
uncertain: how many there were is printed with every verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.drift.statistics import gumbel_quantile

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]
Window = tuple[int, int, int]
"""Days since the span's first row at the window's end; first and one past the last row."""


@dataclass(frozen=True)
class Scale:
    """A way to write a statistic, increasing: `of` it, and `back`."""

    of: Callable[[Floats], Floats]
    back: Callable[[float], float]


PLAIN = Scale(lambda values: values, float)
ROOT = Scale(lambda values: np.sqrt(np.maximum(values, 0.0)), lambda value: max(value, 0.0) ** 2)
"""Of squared distances, and of those that have no upper end: heavier tails than a Gumbel distribution's."""

DAY = np.timedelta64(86_400_000_000_000, "ns")
MONTH_DAYS = 30.44
_FEWEST_ROWS = 10


def training_windows(known_at: Times, config: DriftConfig) -> list[Window]:
    """Return the windows that end on each day of the span and hold at least half of the usual rows."""
    if not len(known_at):
        return []
    days = int((known_at[-1] - known_at[0]) / DAY)
    ends = np.arange(config.window_days, days + 1)
    stamps = known_at[0] + ends * DAY
    last = np.searchsorted(known_at, stamps, side="right")
    first = np.searchsorted(known_at, stamps - config.window_days * DAY, side="right")
    usual = np.median(last - first) if len(ends) else 0
    fewest = max(usual / 2, _FEWEST_ROWS)
    return [(int(d), int(a), int(b)) for d, a, b in zip(ends, first, last, strict=True) if b - a >= fewest]


def weeks_of(windows: list[Window], config: DriftConfig) -> int:
    """Return how many blocks of `window_days` window ends there are."""
    return len({(end - config.window_days) // config.window_days for end, _, _ in windows})


def usual_rows(windows: list[Window]) -> int:
    """Return the rows of a usual window."""
    return int(np.median([last - first for _, first, last in windows]))


def threshold_of(
    statistic: Floats, windows: list[Window], config: DriftConfig, monthly: float, scale: Scale = PLAIN
) -> float:
    """Return the level that a month of daily windows exceeds with probability `monthly`, from block maxima."""
    block = np.array([(end - config.window_days) // config.window_days for end, _, _ in windows])
    return block_threshold(np.array([statistic[block == b].max() for b in np.unique(block)]), config, monthly, scale)


def block_threshold(maxima: Floats, config: DriftConfig, monthly: float, scale: Scale = PLAIN) -> float:
    """Return the level that the maxima of a month's blocks of `window_days` exceed with probability `monthly`.

    `scale`: on which the maxima are as a Gumbel distribution has them.
    """
    probability = (1 - monthly) ** (config.window_days / MONTH_DAYS)
    fitted = scale.back(gumbel_quantile(scale.of(maxima), probability))
    return max(fitted, float(np.quantile(maxima, probability)))


def sampled(rows: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return at most `most` row numbers, increasing."""
    if rows <= most:
        return np.arange(rows)
    return np.asarray(np.sort(rng.choice(rows, most, replace=False)))


def thinned(values: Floats, most: int) -> Floats:
    """Return at most `most` evenly spaced rows."""
    if len(values) <= most:
        return values
    return np.asarray(values[np.linspace(0, len(values) - 1, most).astype(np.int64)])
