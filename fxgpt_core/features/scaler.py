"""`Standardiser`: mean and deviation of each column, learned from training rows only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError

CLIP = 8.0
"""Standard deviations beyond which a feature says no more."""


@dataclass(frozen=True)
class Standardiser:
    """Column-wise standardisation of (rows, columns) values.

    `kept`: indices of the columns that are used; `mean`, `std`: (kept,) float64; `dropped`: column index -> why
    (`constant` or `mostly missing`); `columns`: how many columns it was fitted on.
    """

    columns: int
    kept: NDArray[np.int64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    dropped: Mapping[int, str]

    @classmethod
    def fit(cls, values: NDArray[Any], rows: NDArray[Any], min_share: float = 0.15) -> Standardiser:
        """Learn from the training `rows` (mask or indices) of `values` (all rows, columns).

        Columns that are constant or known in less than `min_share` of these rows are dropped, with the reason.
        Raises DataError when there is no training row.
        """
        chosen = np.asarray(values[rows], dtype=np.float64)
        if not len(chosen):
            raise DataError("A standardiser needs at least one training row.")
        known = np.isfinite(chosen)
        count = known.sum(axis=0)
        filled = np.where(known, chosen, 0.0)
        mean = filled.sum(axis=0) / np.maximum(count, 1)
        centred = np.where(known, chosen - mean, 0.0)
        std = np.sqrt((centred * centred).sum(axis=0) / np.maximum(count, 1))
        missing = count < max(1.0, min_share * len(chosen))
        constant = ~missing & (std <= 1e-6 * np.maximum(np.abs(mean), 1e-6))  # float32 noise around a constant
        dropped = {int(i): "mostly missing" for i in np.flatnonzero(missing)}
        dropped |= {int(i): "constant" for i in np.flatnonzero(constant)}
        kept = np.flatnonzero(~missing & ~constant)
        return cls(values.shape[1], kept, mean[kept], std[kept], dropped)

    def transform(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return the kept columns standardised, missing values as 0 (the mean), clipped to +-8: (rows, kept) float32.

        Raises DataError when the number of columns differs from the fit's.
        """
        if values.shape[1] != self.columns:
            raise DataError(f"The standardiser was fitted on {self.columns} columns and was given {values.shape[1]}.")
        out = (np.asarray(values[:, self.kept], dtype=np.float64) - self.mean) / self.std
        return np.clip(np.nan_to_num(out, nan=0.0, posinf=CLIP, neginf=-CLIP), -CLIP, CLIP).astype(np.float32)

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
