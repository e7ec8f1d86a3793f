"""What a forecast says of draws: mean, deviation and quantiles, with bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.forecast import LEVELS

Floats = NDArray[np.float64]
Samples = NDArray[np.float32]
Adjust = Callable[[Samples], Samples]


@dataclass(frozen=True)
class Summary:
    """Standardised forecasts: `samples` (rows, draws, horizons), `mean`, `std` (rows, horizons), `quantiles` (rows,
    horizons, levels)."""

    samples: Samples
    mean: Floats
    std: Floats
    quantiles: Floats


def summarise(samples: Samples, adjust: Adjust, rows: int) -> Summary:
    """Return adjusted samples and what a forecast says of them, `rows` rows at a time.

    Quantiles by Hyndman & Fan (1996), definition 5 (Hazen): the i-th of n stratified draws stands for (i - 1/2) / n.
    The samples given are overwritten.
    """
    count, draws, horizons = samples.shape
    mean, std = np.empty((count, horizons)), np.empty((count, horizons))
    quantiles = np.empty((count, horizons, len(LEVELS)))
    at = np.clip(np.asarray(LEVELS) * draws - 0.5, 0, draws - 1)
    low = np.minimum(at.astype(np.int64), max(draws - 2, 0))
    for first in range(0, count, rows):
        part = slice(first, first + rows)
        samples[part] = adjust(samples[part])
        mean[part] = samples[part].mean(axis=1, dtype=np.float64)
        std[part] = samples[part].std(axis=1, dtype=np.float64)
        ordered = np.sort(samples[part].transpose(0, 2, 1), axis=-1).astype(np.float64)
        below, above = ordered[..., low], ordered[..., np.minimum(low + 1, draws - 1)]
        quantiles[part] = below + (at - low) * (above - below)
    return Summary(samples, mean, std, quantiles)
