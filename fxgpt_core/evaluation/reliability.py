"""Is a forecast calibrated? The PIT's distance from uniform, its histogram, and how sharp the forecast is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.forecast import LEVELS
from fxgpt_core.evaluation import scores

Floats = NDArray[np.float64]

BINS = 20


def ks_distance(pit: Floats) -> float:
    """Return the Kolmogorov–Smirnov distance of (rows,) PIT values from uniform."""
    ordered, n = np.sort(pit), len(pit)
    steps = np.arange(1, n + 1) / n
    return float(max((steps - ordered).max(), (ordered - steps + 1 / n).max()))


def ks_p_value(distance: float, effective_rows: float) -> float:
    """Return the approximate p-value of a distance at an effective number of rows (Kolmogorov's limit)."""
    from scipy.stats import kstwobign

    return float(kstwobign.sf(np.sqrt(effective_rows) * distance))


def pit_histogram(pit: Floats, bins: int = BINS) -> tuple[float, ...]:
    """Return the share of (rows,) PIT values in each of `bins` equal bins; 1 / bins each when calibrated."""
    counts, _ = np.histogram(pit, bins=bins, range=(0.0, 1.0))
    return tuple(float(count) / len(pit) for count in counts)


def sharpness(quantiles: Floats, coverages: Sequence[float], levels: Sequence[float] = LEVELS) -> tuple[float, ...]:
    """Return the mean width of each central interval of (rows, levels) quantiles; narrower is sharper."""
    return tuple(float(scores.width(quantiles, coverage, levels).mean()) for coverage in coverages)
