"""`Outcomes`: what really happened after each decision, to be joined to forecasts by decision time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.features.dataset import Dataset

Times = NDArray[np.datetime64]


@dataclass(frozen=True)
class Outcomes:
    """Realised log returns of one symbol.

    `decided_at`: (rows,) datetime64[ns], UTC, strictly increasing; `horizons`: minutes of trading time; `returns`:
    (rows, horizons) log returns, NaN where not (yet) known; `label_end`: (rows, horizons) datetime64[ns], when the
    outcome became known, NaT where it is not. Raises DataError when shapes or order are wrong.
    """

    symbol: str
    decided_at: Times
    horizons: tuple[int, ...]
    returns: NDArray[np.float64]
    label_end: Times

    def __post_init__(self) -> None:
        shape = (len(self.decided_at), len(self.horizons))
        if self.returns.shape != shape or self.label_end.shape != shape:
            raise DataError(
                f"Outcomes of {self.symbol}: returns {self.returns.shape} and label_end {self.label_end.shape} "
                f"must be {shape}."
            )
        if (np.diff(self.decided_at) <= np.timedelta64(0, "ns")).any():
            raise DataError(f"Outcomes of {self.symbol}: decided_at must increase strictly.")

    def __len__(self) -> int:
        return len(self.decided_at)

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> Outcomes:
        """Return the outcomes at every base bar; those that the dataset's mask excludes count as not known."""
        return cls(
            dataset.symbol,
            dataset.known_at,
            dataset.horizons,
            np.where(dataset.mask, dataset.returns(), np.nan),
            np.where(dataset.mask, dataset.label_end, np.datetime64("NaT", "ns")),
        )

    def aligned(self, decided_at: Times, horizons: tuple[int, ...]) -> Outcomes:
        """Return the outcomes of the given decision times and horizons, not known where there are none.

        Raises DataError when a horizon is not among these outcomes.
        """
        missing = set(horizons) - set(self.horizons)
        if missing:
            raise DataError(
                f"Outcomes of {self.symbol} lack the horizons {sorted(missing)}; they have {self.horizons}."
            )
        columns = [self.horizons.index(h) for h in horizons]
        returns = np.full((len(decided_at), len(columns)), np.nan)
        label_end = np.full((len(decided_at), len(columns)), np.datetime64("NaT", "ns"))
        _, here, there = np.intersect1d(decided_at, self.decided_at, assume_unique=True, return_indices=True)
        returns[here] = self.returns[there][:, columns]
        label_end[here] = self.label_end[there][:, columns]
        return Outcomes(self.symbol, decided_at, tuple(horizons), returns, label_end)

    def known_at(self, moment: np.datetime64) -> Outcomes:
        """Return the same rows as they were known at `moment`: later outcomes count as not known."""
        known = self.label_end <= moment  # NaT compares false
        return Outcomes(
            self.symbol,
            self.decided_at,
            self.horizons,
            np.where(known, self.returns, np.nan),
            np.where(known, self.label_end, np.datetime64("NaT", "ns")),
        )

    def overlap(self, column: int) -> int:
        """Return how many consecutive decisions a typical label of this column spans (median, at least 1)."""
        known = np.isfinite(self.returns[:, column]) & ~np.isnat(self.label_end[:, column])
        times = self.decided_at[known]
        if not len(times):
            return 1
        spans = np.searchsorted(times, self.label_end[known, column], side="left") - np.arange(len(times))
        return max(1, int(np.median(spans)))
