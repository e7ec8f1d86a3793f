"""The design matrix of the tabular families: flat features of all timeframes and logs of the yardstick."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.features.alignment import flat
from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.indicators.volatility import parkinson_variance
from fxgpt_core.features.rolling import rolling_mean

_WINDOWS = (1, 3, 12, 48, 288)
_FLOOR = 0.01  # a hundredth of the expected variance is nothing; keeps the log of a bar that did not move in bounds


def design(dataset: Dataset, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return (rows, columns) float32 and names: flat features, log yardsticks, log volatilities, variance surprises.

    The yardstick belongs in: what matters is where the recent log volatilities (`har_…`, Corsi 2009) lie relative to
    it. Volatilities and average ranges are added in logs, because volatility is close to log-normal (Andersen et al.
    2003).
    """
    values, names = flat(dataset, rows)
    positive = [i for i, name in enumerate(names) if name.split("_")[0] in ("rv", "atr", "vol") and "_rel_" not in name]
    with np.errstate(divide="ignore", invalid="ignore"):
        yardstick = np.log(dataset.yardstick[rows]).astype(np.float32)
        logs = np.log(np.maximum(values[:, positive], 1e-7))
    surprises = _surprises(dataset)
    extra = [f"log_yardstick_{horizon_name(h)}" for h in dataset.horizons]
    extra += [f"log_{names[i]}" for i in positive]
    added = np.stack([column[rows] for column in surprises.values()], axis=1).astype(np.float32)
    return np.concatenate([values, yardstick, logs, added], axis=1), (*names, *extra, *surprises)


def is_core(name: str) -> bool:
    """Whether a column is a log volatility, as in a HAR model: what is known to carry most of the skill."""
    return name.startswith(("log_", "har_"))


def of_base_bars(names: Sequence[str]) -> NDArray[np.bool_]:
    """Return which columns are the HAR model of the base bars alone: (columns,).

    Yardsticks, variance surprises, and log volatilities of the base bars over a day at most. Those of slower timeframes
    span weeks, of which a training span holds few that do not overlap.
    """
    base = {name.split("_")[3] for name in names if name.startswith("log_surprise_")}
    own = [name.startswith("har_") and name.split("_")[2] in base for name in names]
    return np.array([o or n.startswith(("log_yardstick_", "log_surprise_")) for o, n in zip(own, names, strict=True)])


def _surprises(dataset: Dataset) -> dict[str, Floats]:
    """Return logs of realised / expected variance over the last bars, from returns and from ranges: (bars,) each.

    Expected is what the yardstick said of each bar one bar before, hence without the rhythm of day and week
    ("seasonality-adjusted", SPEC 2); with ranges, because they measure a bar's variance several times better than its
    return (Parkinson 1980).
    """
    bars = Bars.of(dataset.candles)
    expected = np.full(len(bars), np.nan)
    shortest = int(np.argmin(dataset.horizons))
    per_bar = dataset.base.minutes / dataset.horizons[shortest]
    expected[1:] = np.square(dataset.yardstick[:-1, shortest]) * per_bar
    out = {}
    for name, variance in (("ret", bars.log_return**2), ("range", parkinson_variance(bars))):
        for window in _WINDOWS:
            ratio = rolling_mean(variance / expected, window)
            out[f"log_surprise_{name}_{dataset.base}_{window}"] = np.log(np.maximum(ratio, _FLOOR))
    return out
