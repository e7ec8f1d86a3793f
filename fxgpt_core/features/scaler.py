"""`Standardiser`: location and deviation of each column, learned from training rows only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fxgpt_core.common.config import Config
from fxgpt_core.common.errors import DataError
from fxgpt_core.features.coverage import Coverage, CoverageConfig

CLIP = 8.0
"""Standard deviations beyond which a feature says no more."""

_BLOCK = 64  # columns worked on together, so that wide tables need little memory

Method = Literal["standard", "robust"]


class ScalingConfig(Config):
    """How inputs are standardised and which of them are used (SPEC 2)."""

    method: Method = Field(
        default="standard", description="standard: mean and deviation; robust: median and median absolute deviation."
    )
    coverage: CoverageConfig = Field(default=CoverageConfig(), description="Which columns are left out.")


@dataclass(frozen=True)
class Standardiser:
    """Column-wise standardisation of (rows, columns) values.

    `kept`: indices of the columns that are used; `mean`, `std`: (kept,) float64, location and deviation; `dropped`:
    column index -> why a column is not used; `columns`: how many columns it was fitted on; `coverage`: the verdict on
    the training rows, None on one that was loaded.
    """

    columns: int
    kept: NDArray[np.int64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    dropped: Mapping[int, str]
    coverage: Coverage | None = field(default=None, compare=False, repr=False)

    @classmethod
    def fit(cls, values: NDArray[Any], rows: NDArray[Any], config: ScalingConfig | None = None) -> Standardiser:
        """Learn from the training `rows` (mask or indices) of `values` (all rows, columns).

        Columns that `config.coverage` finds useless on these rows are dropped, with the reason. The few explosive
        values of a column that stays are cut at the limit first, so that they do not set its deviation.
        Raises DataError when there is no training row.
        """
        config = config or ScalingConfig()
        chosen = values[rows]
        if not len(chosen):
            raise DataError("A standardiser needs at least one training row.")
        coverage = Coverage.of(chosen, config.coverage)
        kept = np.array([i for i in range(values.shape[1]) if i not in coverage.dropped], dtype=np.int64)
        if config.method == "robust":
            mean, std = coverage.centre[kept], coverage.spread[kept]
        else:
            mean, std = _moments(chosen, kept, coverage)
        return cls(values.shape[1], kept, mean, std, dict(coverage.dropped), coverage)

    def transform(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return the kept columns standardised, missing values as 0 (the centre), clipped to +-8: (rows, kept) float32.

        A column without any known value is therefore 0 throughout: the model then answers as if the feature were at
        its usual level. Raises DataError when the number of columns differs from the fit's.
        """
        if values.shape[1] != self.columns:
            raise DataError(f"The standardiser was fitted on {self.columns} columns and was given {values.shape[1]}.")
        out = np.empty((len(values), len(self.kept)), dtype=np.float32)
        for at in range(0, len(self.kept), _BLOCK):
            part = slice(at, at + _BLOCK)
            block = (np.asarray(values[:, self.kept[part]], dtype=np.float64) - self.mean[part]) / self.std[part]
            out[:, part] = np.clip(np.nan_to_num(block, nan=0.0, posinf=CLIP, neginf=-CLIP), -CLIP, CLIP)
        return out

    def unknown(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Return which columns were fine in training but have no known value in (rows, columns) `values`: indices."""
        if not len(values):
            return np.empty(0, dtype=np.int64)
        known = np.isfinite(values).any(axis=0)  # (columns,)
        return np.array([i for i in self.kept if not known[i]], dtype=np.int64)

    def names(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of the kept columns."""
        return tuple(names[i] for i in self.kept)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary that JSON can hold."""
        return {
            "columns": self.columns,
            "kept": self.kept.tolist(),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "dropped": {str(k): v for k, v in self.dropped.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Standardiser:
        """Rebuild from `to_dict`."""
        return cls(
            int(values["columns"]),
            np.asarray(values["kept"], dtype=np.int64),
            np.asarray(values["mean"], dtype=np.float64),
            np.asarray(values["std"], dtype=np.float64),
            {int(k): str(v) for k, v in values["dropped"].items()},
        )


def _moments(
    chosen: NDArray[Any], kept: NDArray[np.int64], coverage: Coverage
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and deviation of the known values of the `kept` columns, cut where they are explosive."""
    mean, std = np.empty(len(kept)), np.empty(len(kept))
    for at in range(0, len(kept), _BLOCK):
        part = slice(at, at + _BLOCK)
        block = np.asarray(chosen[:, kept[part]], dtype=np.float64)
        centre, reach = coverage.centre[kept[part]], coverage.reach[kept[part]]
        known = np.isfinite(block)
        count = known.sum(axis=0)
        block = np.where(known, np.clip(block, centre - reach, centre + reach), 0.0)
        mean[part] = block.sum(axis=0) / count
        away = np.where(known, block - mean[part], 0.0)
        std[part] = np.sqrt((away * away).sum(axis=0) / count)
    return mean, std
