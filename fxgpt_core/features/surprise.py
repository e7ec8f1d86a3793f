"""What the base bars did, measured by what the yardstick expected of them one bar before.

Logs of realised over expected variance are free of the rhythm of day and week; with ranges as well as returns, because
they measure a bar's variance several times better (Parkinson 1980). Beside them what the yardstick says itself: whether
volatility is high, and whether it is expected to fall.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.features.bars import Bars
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.indicators.volatility import parkinson_variance
from fxgpt_core.features.rolling import rolling_mean

PREFIX = "surprise_"
"""How the name of every column here begins."""
WINDOWS = (1, 3, 12, 48, 288)
_FLOOR = 0.01  # a hundredth of the expected variance is nothing; keeps the log of a bar that did not move in bounds
_REACH = max(WINDOWS) + 2  # bars before a bar on which its row depends


def surprise_names(dataset: Dataset) -> tuple[str, ...]:
    """Return the names of the columns of `surprises`."""
    base, slower = dataset.base.code, [horizon_name(h) for h in _later(dataset)]
    return (
        *size_names(dataset),
        f"surprise_move_{base}",
        f"surprise_level_{base}",
        *(f"surprise_slope_{h}" for h in slower),
    )


def size_names(dataset: Dataset) -> tuple[str, ...]:
    """Return the names of the first columns of `surprises`: log variances of returns, then of ranges, by window."""
    return tuple(f"surprise_{kind}_{dataset.base.code}_{window}" for kind in ("ret", "range") for window in WINDOWS)


def surprises(dataset: Dataset, since: int = 0, until: int | None = None) -> NDArray[np.float32]:
    """Return the columns for base bars since <= i < until, all from `since` where None: (bars, columns).

    Per window the logs of mean realised over expected variance by returns and by ranges; the newest return over what
    was expected, by inverse hyperbolic sine, the only column with a sign; the log yardstick of the shortest horizon,
    and by how much those of the others differ. NaN where the yardstick or a window is not yet known.
    """
    until = len(dataset) if until is None else until
    begin = max(since - _REACH, 0)
    bars, yardstick = Bars.of(dataset.candles.take(slice(begin, until))), dataset.yardstick[begin:until]
    shortest = int(np.argmin(dataset.horizons))
    expected = np.full(len(bars), np.nan)
    expected[1:] = np.square(yardstick[:-1, shortest]) * (dataset.base.minutes / dataset.horizons[shortest])
    columns = []
    with np.errstate(divide="ignore", invalid="ignore"):
        for variance in (bars.log_return**2, parkinson_variance(bars)):
            means = (rolling_mean(variance / expected, window) for window in WINDOWS)
            columns += [np.log(np.maximum(mean, _FLOOR)) for mean in means]
        columns.append(np.arcsinh(bars.log_return / np.sqrt(expected)))
        level = np.log(yardstick[:, shortest])
        columns.append(level)
        columns += [np.log(yardstick[:, dataset.horizons.index(h)]) - level for h in _later(dataset)]
    out: NDArray[np.float32] = np.stack(columns, axis=1).astype(np.float32)
    return out[since - begin :]


def _later(dataset: Dataset) -> list[int]:
    return sorted(dataset.horizons)[1:]
