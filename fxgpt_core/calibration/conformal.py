"""`ConformalCalibrator`: split conformal correction of all central intervals of a forecast (SPEC 10).

For every pair of symmetric levels the score of a past forecast is how far the outcome fell outside its interval
(negative inside), in units of the forecast's own spread: conformalised quantile regression, Romano, Patterson & Candès
(2019), normalised as in Lei et al. (2018, sec. 5.2). The interval is then moved out (or in) by the ⌈(n+1)·coverage⌉-th
smallest score. On exchangeable rows its coverage lies between nominal and nominal + 1/(n+1). Market rows are not
exchangeable: what holds there is measured by `evaluation`, and the effective number of rows says how far to trust it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.calibration.config import CalibrationConfig
from fxgpt_core.common.dependence import estimate_mean
from fxgpt_core.common.errors import DataError, ModelError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.features.outcomes import Outcomes

Floats = NDArray[np.float64]

_REFERENCE = 0.9
"""Central interval whose misses give the effective number of calibration rows."""


@dataclass(frozen=True)
class ConformalCalibrator:
    """Corrections learnt from out-of-sample forecasts of one family.

    `offsets`: (horizons, pairs), how far the bounds of each central interval move outward, in units of the forecast's
    spread, outermost pair of levels first. `rows`, `effective_rows`: per horizon, what they rest on. `known_until`:
    end of the last outcome used, datetime64[ns] UTC; no forecast decided earlier may be calibrated with it.
    """

    symbol: str
    family: str
    horizons: tuple[int, ...]
    levels: tuple[float, ...]
    offsets: Floats
    rows: tuple[int, ...]
    effective_rows: tuple[float, ...]
    known_until: np.datetime64

    @property
    def version(self) -> str:
        """Content hash stamped into calibrated forecasts."""
        return f"cqr-{stable_hash(self.to_dict(), 12)}"

    def apply(self, forecast: Forecast) -> Forecast:
        """Return the calibrated forecast: quantiles corrected, `std` scaled with its 90 % interval, mean unchanged.

        Where corrections of neighbouring intervals would cross, the outer one is widened to hold the inner one, so
        that coverage is never lost. Joint samples are dropped: they would contradict the corrected quantiles. Raises
        ModelError for another family, horizons or an already calibrated forecast, DataError for look-ahead.
        """
        self._check(forecast)
        half = len(self.levels) // 2
        spread = _spread(forecast)[..., None]  # (rows, horizons, 1)
        shift = self.offsets * spread  # (rows, horizons, pairs)
        median = forecast.quantiles[..., half : half + 1]
        lower = np.minimum(forecast.quantiles[..., :half] - shift, median)
        upper = np.maximum(forecast.quantiles[..., : -half - 1 : -1] + shift, median)  # outermost first
        lower = np.minimum.accumulate(lower[..., ::-1], axis=-1)[..., ::-1]
        upper = np.maximum.accumulate(upper[..., ::-1], axis=-1)  # innermost first
        quantiles = np.concatenate([lower, median, upper], axis=-1)
        return replace(
            forecast,
            quantiles=quantiles,
            std=forecast.std * _width_ratio(quantiles, forecast),
            samples=None,
            calibration_version=np.full(len(forecast), self.version, dtype=object),
        )

    def warnings(self, config: CalibrationConfig) -> tuple[str, ...]:
        """Return a sentence for every horizon that rests on too little (SPEC 10)."""
        found = []
        for horizon, rows, effective in zip(self.horizons, self.rows, self.effective_rows, strict=True):
            if rows < config.warn_rows or effective < config.warn_effective:
                found.append(
                    f"Calibration of {self.family} for {self.symbol} at {horizon_name(horizon)} rests on {rows} rows "
                    f"worth {effective:.0f} independent ones (wanted {config.warn_rows} and "
                    f"{config.warn_effective:g}): its coverage is uncertain."
                )
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            "symbol": self.symbol,
            "family": self.family,
            "horizons": list(self.horizons),
            "levels": list(self.levels),
            "offsets": self.offsets.tolist(),
            "rows": list(self.rows),
            "effective_rows": list(self.effective_rows),
            "known_until": str(self.known_until),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ConformalCalibrator:
        """Rebuild from `to_dict`."""
        return cls(
            symbol=values["symbol"],
            family=values["family"],
            horizons=tuple(values["horizons"]),
            levels=tuple(values["levels"]),
            offsets=np.asarray(values["offsets"], dtype=np.float64),
            rows=tuple(values["rows"]),
            effective_rows=tuple(values["effective_rows"]),
            known_until=np.datetime64(values["known_until"], "ns"),
        )

    def _check(self, forecast: Forecast) -> None:
        mine = (self.symbol, self.family, self.horizons, self.levels)
        if mine != (forecast.symbol, forecast.family, forecast.horizons, forecast.levels):
            raise ModelError(
                f"The calibrator of {self.family} for {self.symbol} {self.horizons} does not fit the forecast of "
                f"{forecast.family} for {forecast.symbol} {forecast.horizons}: fit one on that family's forecasts."
            )
        if (forecast.calibration_version != "").any():
            raise ModelError(
                f"The forecast of {self.family} for {self.symbol} is calibrated already; pass the raw one."
            )
        if len(forecast) and forecast.decided_at[0] < self.known_until:
            raise DataError(
                f"The calibrator of {self.family} for {self.symbol} knows outcomes until {self.known_until}, the "
                f"forecast was decided at {forecast.decided_at[0]}: that would be looking ahead."
            )


def fit_calibrator(forecast: Forecast, outcomes: Outcomes, config: CalibrationConfig) -> ConformalCalibrator:
    """Fit corrections on raw out-of-sample forecasts and whatever outcomes of them are known.

    Raises DataError when a horizon has fewer than `min_rows` known outcomes. Where n is too small for the rank of an
    outer interval (n < coverage / (1 − coverage)), the largest score stands in and coverage falls short of nominal by
    at most that of the missing rank; `min_rows` of 100 keeps all stored intervals clear of that.
    """
    truth = outcomes.aligned(forecast.decided_at, forecast.horizons)
    half = len(forecast.levels) // 2
    spread = _spread(forecast)
    offsets = np.empty((len(forecast.horizons), half))
    rows, effective, ends = [], [], []
    for column, horizon in enumerate(forecast.horizons):
        known = np.isfinite(truth.returns[:, column])
        if known.sum() < config.min_rows:
            raise DataError(
                f"Calibration of {forecast.family} for {forecast.symbol} at {horizon_name(horizon)} has "
                f"{known.sum()} known outcomes, fewer than min_rows = {config.min_rows}."
            )
        y, quantiles = truth.returns[known, column], forecast.quantiles[known, column]
        low, high = quantiles[:, :half], quantiles[:, : -half - 1 : -1]  # (known, pairs), outermost first
        score = np.maximum(low - y[:, None], y[:, None] - high) / spread[known, column, None]
        coverage = 1 - 2 * np.asarray(forecast.levels[:half], dtype=np.float64)
        offsets[column] = _conformal_quantile(score, coverage)
        reference = int(np.abs(coverage - _REFERENCE).argmin())
        misses = (score[:, reference] > offsets[column, reference]).astype(np.float64)
        rows.append(int(known.sum()))
        effective.append(round(estimate_mean(misses, truth.overlap(column)).effective_rows, 1))
        ends.append(truth.label_end[known, column].max())
    return ConformalCalibrator(
        forecast.symbol, forecast.family, forecast.horizons, forecast.levels, offsets, tuple(rows), tuple(effective),
        max(ends),
    )  # fmt: skip


def _conformal_quantile(score: Floats, coverage: Floats) -> Floats:
    """Return the ⌈(n+1)·coverage⌉-th smallest score of each column: (n, pairs), (pairs,) -> (pairs,)."""
    n = len(score)
    # The small term keeps 0.9 * 10 from being rounded up to rank 10 by its binary representation.
    ranks = np.array([min(n, math.ceil((n + 1) * c - 1e-9)) for c in coverage])
    return np.asarray(np.take_along_axis(np.sort(score, axis=0), ranks[None, :] - 1, axis=0)[0])


def _spread(forecast: Forecast) -> Floats:
    """Return the predicted spread that scores are measured in: the 10–90 % range, (rows, horizons), above zero."""
    return np.maximum(forecast.quantile(0.9) - forecast.quantile(0.1), 1e-12)


def _width_ratio(quantiles: Floats, before: Forecast) -> Floats:
    """Return calibrated over raw width of the 90 % interval, 1 where the raw one has none: (rows, horizons)."""
    low, high = before.levels.index(0.05), before.levels.index(0.95)
    old = before.quantiles[..., high] - before.quantiles[..., low]
    new = quantiles[..., high] - quantiles[..., low]
    return np.where(old > 0, new / np.where(old > 0, old, 1.0), 1.0)
