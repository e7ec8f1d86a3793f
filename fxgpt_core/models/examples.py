"""A handful of test windows that a finished fit shows to whoever watches it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.features.dataset import Dataset, Split
from fxgpt_core.models.forecaster import Forecaster, Provenance
from fxgpt_core.training.plan import TrainingPlan
from fxgpt_core.training.watching import unwatched

WINDOWS = 10


def show_examples(forecaster: Forecaster, dataset: Dataset, split: Split, plan: TrainingPlan) -> None:
    """Give `plan.watch` the forecasts of ten windows; nothing is forecast where nobody watches or nothing is tested."""
    rows = example_rows(dataset, split.test)
    if plan.watch is unwatched or not len(rows):
        return
    made = Provenance("fit", split.trained_until.astype("datetime64[ns]"), "fold")
    plan.watch.forecasts(dataset, forecaster.forecast(dataset, rows, made, plan.seed))


def example_rows(dataset: Dataset, bars: NDArray[np.bool_], count: int = WINDOWS) -> NDArray[np.int64]:
    """Return at most `count` evenly spaced rows of `bars` (bars,) bool.

    Only rows whose yardstick is known and whose outcomes are known at every horizon, so that a plot can show both.
    """
    known = np.isfinite(dataset.targets).all(axis=1) & np.isfinite(dataset.yardstick).all(axis=1)
    rows = np.flatnonzero(bars & known)
    if not len(rows):
        return np.empty(0, dtype=np.int64)
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64))]
