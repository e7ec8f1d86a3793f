"""The design matrix of the tabular families: flat features of all timeframes and logs of the yardstick."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.features.alignment import flat
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.surprise import size_names, surprises


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
    sizes = size_names(dataset)
    extra = [f"log_yardstick_{horizon_name(h)}" for h in dataset.horizons]
    extra += [f"log_{names[i]}" for i in positive]
    extra += [f"log_{name}" for name in sizes]
    added = surprises(dataset)[rows, : len(sizes)]
    return np.concatenate([values, yardstick, logs, added], axis=1), (*names, *extra)


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
