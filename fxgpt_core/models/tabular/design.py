"""The design matrix of the tabular families: flat features of all timeframes and logs of the yardstick."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.features.alignment import flat
from fxgpt_core.features.dataset import Dataset


def design(dataset: Dataset, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return (rows, columns) float32 and names: flat features, log yardstick per horizon, and log volatility terms.

    The yardstick belongs in: what matters is where the recent log volatilities (`har_…`, Corsi 2009) lie relative to
    it. Volatilities and average ranges are added in logs, because volatility is close to log-normal (Andersen et al.
    2003).
    """
    values, names = flat(dataset, rows)
    positive = [i for i, name in enumerate(names) if name.split("_")[0] in ("rv", "atr", "vol") and "_rel_" not in name]
    with np.errstate(divide="ignore", invalid="ignore"):
        yardstick = np.log(dataset.yardstick[rows]).astype(np.float32)
        logs = np.log(np.maximum(values[:, positive], 1e-7))
    extra = [f"log_yardstick_{horizon_name(h)}" for h in dataset.horizons]
    extra += [f"log_{names[i]}" for i in positive]
    return np.concatenate([values, yardstick, logs], axis=1), (*names, *extra)
