"""`ScoredRows`: realised forecasts, row by row, in measures that can be compared between spans of time (SPEC 13)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.dependence import MeanEstimate, estimate_mean
from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.evaluation.scores import covered, crps, direction_hit
from fxgpt_core.features.outcomes import Outcomes

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

MEASURES: tuple[Literal["crps"], Literal["accuracy"], Literal["coverage"]] = ("crps", "accuracy", "coverage")
_FEWEST = 8
"""Rows below which no dependence can be seen."""


@dataclass(frozen=True)
class ScoredRows:
    """Scores of forecasts whose outcomes are known, increasing in `decided_at` (rows,).

    `values`: by measure (rows, horizons): `crps` in units of the yardstick of its row, so that calm and wild weeks can
    be compared; `accuracy`: 1 where the direction was right; `coverage`: 1 where the central interval held the outcome.
    NaN where the measure does not apply. `label_end`: (rows, horizons), when the outcome became known, else NaT.
    `overlaps`: per horizon, how many rows a label spans.
    """

    decided_at: Times
    label_end: Times
    values: dict[str, Floats]
    overlaps: tuple[int, ...]

    @classmethod
    def of(
        cls, forecast: Forecast, outcomes: Outcomes, yardstick: Floats, coverage: float, overlaps: tuple[int, ...]
    ) -> ScoredRows:
        """Score a forecast; `yardstick`: (rows, horizons) log-return units, of the forecast's rows."""
        truth = outcomes.aligned(forecast.decided_at, forecast.horizons)
        if yardstick.shape != truth.returns.shape:
            raise DataError(
                f"Scores of {forecast.family} for {forecast.symbol}: yardstick {yardstick.shape} must be "
                f"{truth.returns.shape}."
            )
        values = {
            "crps": crps(truth.returns, forecast.quantiles, forecast.levels) / yardstick,
            "accuracy": direction_hit(truth.returns, forecast.mean),
            "coverage": covered(truth.returns, forecast.quantiles, coverage, forecast.levels),
        }
        return cls(forecast.decided_at, truth.label_end, values, overlaps)

    def __len__(self) -> int:
        return len(self.decided_at)

    def between(self, start: np.datetime64, end: np.datetime64) -> ScoredRows:
        """Return the rows decided in (start, end]."""
        stamps = np.array([start, end], dtype="datetime64[ns]")
        first, last = np.searchsorted(self.decided_at, stamps, side="right")
        rows = slice(int(first), int(last))
        values = {name: kept[rows] for name, kept in self.values.items()}
        return replace(self, decided_at=self.decided_at[rows], label_end=self.label_end[rows], values=values)

    def known_at(self, moment: np.datetime64) -> ScoredRows:
        """Return the same rows as they were known at `moment`."""
        known = self.label_end <= moment  # NaT compares false
        return replace(self, values={name: np.where(known, kept, np.nan) for name, kept in self.values.items()})

    def estimate(self, measure: str, column: int) -> MeanEstimate | None:
        """Return the mean of one measure at one horizon, None where too few rows have it."""
        series = self.values[measure][:, column]
        series = series[np.isfinite(series)]
        return None if len(series) < _FEWEST else estimate_mean(series, self.overlaps[column])


def join(parts: Sequence[ScoredRows]) -> ScoredRows:
    """Join spans in time order; raises DataError without any."""
    if not parts:
        raise DataError("No scored forecasts to join.")
    return ScoredRows(
        np.concatenate([part.decided_at for part in parts]),
        np.concatenate([part.label_end for part in parts]),
        {name: np.concatenate([part.values[name] for part in parts]) for name in MEASURES},
        parts[-1].overlaps,
    )
