"""In-sample against out-of-sample: how much of a family's skill stays with what it was trained on (SPEC 9).

A model that has learnt noise is good where it was trained and worse elsewhere. Both sides are skills over the same
baseline on the same rows, so that calmer or wilder times on one side cancel out, and both are before calibration, which
never sees a training row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.forecast import Forecast
from fxgpt_core.evaluation import scores
from fxgpt_core.evaluation.result import Degradation, FamilyScores
from fxgpt_core.features.dataset import Dataset, Split

IN_SAMPLE_ROWS = 1000
"""Training rows of a fold that are forecast again; more would cost time and hardly sharpen the mean over folds."""


@dataclass(frozen=True)
class InSample:
    """CRPS of one fold's model on rows that it was trained on: their number and the mean by horizon, (horizons,)."""

    rows: int
    crps: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> InSample:
        """Rebuild from `to_dict`."""
        return cls(int(values["rows"]), tuple(values["crps"]))


def training_rows(dataset: Dataset, split: Split, most: int = IN_SAMPLE_ROWS) -> NDArray[np.int64]:
    """Return at most `most` evenly spaced bars whose labels all train; the same ones for every family."""
    rows = np.flatnonzero(split.train.all(axis=1) & np.isfinite(dataset.yardstick).all(axis=1))
    if not len(rows):
        return rows
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64))]


def score_in_sample(dataset: Dataset, rows: NDArray[np.int64], forecast: Forecast) -> InSample:
    """Score forecasts of `rows`, which `training_rows` gave, before calibration."""
    returns = dataset.targets[rows] * dataset.yardstick[rows]
    crps = scores.crps(returns, forecast.quantiles, forecast.levels).mean(axis=0)
    return InSample(len(rows), tuple(float(value) for value in crps))


def degradations(
    found: Sequence[FamilyScores], in_sample: Mapping[str, Mapping[str, InSample]], baselines: Sequence[str]
) -> tuple[Degradation, ...]:
    """Return what every family loses between training rows and test rows, at each horizon.

    `found`: the scores of every family at every horizon, in the order of horizons; `in_sample`: family -> fold -> its
    scores on training rows. Only folds that have some for a family and for the best baseline count; where there is
    none (forecasts of earlier versions), nothing is returned.
    """
    horizons = list(dict.fromkeys(one.horizon for one in found))
    made = []
    for one in found:
        column = horizons.index(one.horizon)
        peers = [other for other in found if other.horizon == one.horizon and other.family in baselines]
        best = min(peers, key=lambda other: other.raw_crps)
        mine, theirs = in_sample.get(one.family, {}), in_sample.get(best.family, {})
        folds = [name for name in mine if name in theirs and mine[name].rows == theirs[name].rows > 0]
        if not folds:
            continue
        rows = [mine[name].rows for name in folds]
        inside = 1 - np.dot([mine[f].crps[column] for f in folds], rows) / np.dot(
            [theirs[f].crps[column] for f in folds], rows
        )
        outside = 1 - one.raw_crps / best.raw_crps
        made.append(
            Degradation(
                one.family, one.horizon, best.family, sum(rows), float(inside), outside, float(inside - outside)
            )
        )
    return tuple(made)
