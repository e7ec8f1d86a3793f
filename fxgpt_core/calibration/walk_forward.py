"""Calibrate walk-forward forecasts as it would have been done live: each fold with what was known before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.calibration.config import CalibrationConfig
from fxgpt_core.calibration.conformal import ConformalCalibrator
from fxgpt_core.calibration.fitting import fit_calibrator
from fxgpt_core.calibration.groups import Labels
from fxgpt_core.calibration.learned import open_rows
from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast, concat
from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.features.outcomes import Outcomes


@dataclass(frozen=True)
class FoldCalibration:
    """How one fold was calibrated: `rows` and `effective_rows` per horizon; `version` is "" where it was not."""

    fold: int
    first_decision: str
    calibrated: int
    rows: tuple[int, ...]
    effective_rows: tuple[float, ...]
    version: str

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            "fold": self.fold,
            "first_decision": self.first_decision,
            "calibrated": self.calibrated,
            "rows": list(self.rows),
            "effective_rows": list(self.effective_rows),
            "version": self.version,
        }


@dataclass(frozen=True)
class CalibrationReport:
    """What a walk-forward calibration did; `dropped` rows had too little before them and were left out."""

    symbol: str
    family: str
    horizons: tuple[int, ...]
    folds: tuple[FoldCalibration, ...]
    dropped: int
    warnings: tuple[str, ...]

    def to_dict(self, live: ConformalCalibrator | None, config: CalibrationConfig) -> dict[str, Any]:
        """Return JSON-able values, with size and warnings of the calibrator that goes `live` (None: there is none)."""
        if live is None:
            few = f"Forecasts of {self.family} for {self.symbol} go live without calibration: a horizon has fewer than "
            warnings: tuple[str, ...] = (f"{few}{config.min_rows} known out-of-sample outcomes.",)
        else:
            warnings = live.warnings(config)
        return {
            "symbol": self.symbol,
            "family": self.family,
            "horizons": [horizon_name(horizon) for horizon in self.horizons],
            "method": config.method,
            "version": "" if live is None else live.version,
            "rows": [] if live is None else list(live.rows),
            "effective_rows": [] if live is None else list(live.effective_rows),
            "known_until": "" if live is None else f"{live.known_until}Z",
            "warnings": list(warnings),
            "folds": [fold.to_dict() for fold in self.folds],
            "dropped": self.dropped,
        }


def walk_forward_calibration(
    forecast: Forecast,
    outcomes: Outcomes,
    folds: NDArray[np.int64],
    config: CalibrationConfig | None = None,
    labels: Labels | None = None,
) -> tuple[Forecast, CalibrationReport]:
    """Calibrate each fold with the out-of-sample forecasts of earlier folds whose outcome was known at its start.

    `folds`: (rows,) fold number of each row of the raw `forecast`, not decreasing. The first fold has nothing before
    it and is left out, as is any fold with fewer than `min_rows` known outcomes of some horizon; the report says so.
    An adaptive method goes on learning within the fold, at each row from the outcomes known when it was decided.
    An earlier fold's forecasts come from an earlier model, so coverage also bears the change from one model to the
    next, as it does live. `labels`: (rows,) as in `fit_calibrator`. Raises DataError when no fold can be calibrated.
    """
    config = config or CalibrationConfig()
    if folds.shape != (len(forecast),) or (np.diff(folds) < 0).any():
        raise DataError(
            f"Calibration of {forecast.family} for {forecast.symbol}: fold numbers {folds.shape} must be one per row "
            f"of {len(forecast)} and must not decrease."
        )
    parts, reports = [], []
    warnings: tuple[str, ...] = ()
    for fold in np.unique(folds):
        rows = np.flatnonzero(folds == fold)
        start = forecast.decided_at[rows[0]]
        calibrator = _fit_before(forecast, outcomes, int(rows[0]), start, config, labels)
        if calibrator is None:
            reports.append(FoldCalibration(int(fold), str(start), 0, (), (), ""))
            continue
        stop = int(rows[-1]) + 1
        groups = None if labels is None else labels[:stop]
        made, _ = calibrator.follow(forecast.take(slice(0, stop)), outcomes, int(rows[0]), groups)
        parts.append(made)
        warnings = calibrator.warnings(config)  # of the last fold, which knows most
        reports.append(
            FoldCalibration(
                int(fold), str(start), len(rows), calibrator.rows, calibrator.effective_rows, calibrator.version
            )
        )
    if not parts:
        raise DataError(
            f"Calibration of {forecast.family} for {forecast.symbol}: no fold has {config.min_rows} known outcomes "
            "before it at every horizon; import more bars or use more folds."
        )
    joined = concat(parts)
    dropped = len(forecast) - len(joined)
    report = CalibrationReport(forecast.symbol, forecast.family, forecast.horizons, tuple(reports), dropped, warnings)
    return joined, report


def fit_final(
    forecast: Forecast, outcomes: Outcomes, config: CalibrationConfig | None = None, labels: Labels | None = None
) -> ConformalCalibrator | None:
    """Return the calibrator of the model that goes live, from all out-of-sample forecasts with known outcomes.

    `labels`: (rows,) as in `fit_calibrator`. An adaptive one takes along the forecasts whose outcomes it has still to
    learn. None where some horizon has fewer than `min_rows` of them.
    """
    calibrator = _fit(forecast, outcomes, config or CalibrationConfig(), labels)
    if calibrator is None or calibrator.tracker is None:
        return calibrator
    return replace(calibrator, pending=open_rows(forecast, outcomes))


def _fit(
    forecast: Forecast, outcomes: Outcomes, config: CalibrationConfig, labels: Labels | None
) -> ConformalCalibrator | None:
    known = np.isfinite(outcomes.aligned(forecast.decided_at, forecast.horizons).returns)
    if not len(forecast) or known.sum(axis=0).min() < config.min_rows:
        return None
    return fit_calibrator(forecast, outcomes, config, labels)


def _fit_before(
    forecast: Forecast,
    outcomes: Outcomes,
    stop: int,
    moment: np.datetime64,
    config: CalibrationConfig,
    labels: Labels | None,
) -> ConformalCalibrator | None:
    """Fit on the rows before `stop` whose outcome was known at `moment`."""
    groups = None if labels is None else labels[:stop]
    return _fit(forecast.take(slice(0, stop)), outcomes.known_at(moment), config, groups)
