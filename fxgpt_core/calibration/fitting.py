"""Fit a `ConformalCalibrator` to past out-of-sample forecasts and what is known of their outcomes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.calibration.config import CalibrationConfig
from fxgpt_core.calibration.conformal import ConformalCalibrator, scores_in_order
from fxgpt_core.calibration.groups import GIVEN, Groups, Labels, label_rows, volatility_edges
from fxgpt_core.calibration.intervals import coverages, neutral, reach, scores
from fxgpt_core.calibration.labels import BY_REGIME
from fxgpt_core.calibration.ranks import conformal_quantiles
from fxgpt_core.calibration.tracker import Tracker, start_tracker
from fxgpt_core.common.dependence import estimate_mean
from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.features.outcomes import Outcomes

Floats = NDArray[np.float64]

_REFERENCE = 0.9
"""Central interval whose misses give the effective number of calibration rows."""

_FEWEST_IN_GROUP = 50
"""Rows below which the effective number of a group is not even estimated."""


def fit_calibrator(
    forecast: Forecast, outcomes: Outcomes, config: CalibrationConfig, labels: Labels | None = None
) -> ConformalCalibrator:
    """Fit corrections on raw out-of-sample forecasts and whatever outcomes of them are known.

    `labels`: (rows,) groups for the method mondrian: those of `labels.decision_labels` where it is by regime, else any
    in place of those that the configuration names; they must then be given to `apply` as well. Raises DataError when a
    horizon has fewer than `min_rows` known outcomes; `min_rows` of 100 keeps all stored intervals clear of ranks that
    do not exist.
    """
    truth = outcomes.aligned(forecast.decided_at, forecast.horizons)
    known = np.isfinite(truth.returns)
    _check_enough(forecast, known, config)
    values = scores(forecast, truth.returns, config.score)  # (rows, horizons, pairs)
    columns = range(len(forecast.horizons))
    start = neutral(forecast, config.score)
    nominal = coverages(forecast.levels)
    fits = [_fit_column(truth, values, c, known[:, c], start[c], nominal, config) for c in columns]
    offsets = np.stack([fit[0] for fit in fits])
    groups, tracker = None, None
    if config.method == "mondrian":
        groups = _fit_groups(forecast, truth, values, offsets, config, labels)
    if config.method in ("aci", "dtaci"):
        tracker = _warm_tracker(forecast, truth, values, offsets, config)
    return ConformalCalibrator(
        symbol=forecast.symbol,
        family=forecast.family,
        horizons=forecast.horizons,
        levels=forecast.levels,
        offsets=offsets,
        rows=tuple(int(n) for n in known.sum(axis=0)),
        effective_rows=tuple(round(fit[1], 1) for fit in fits),
        known_until=truth.label_end[known].max(),
        method=config.method,
        score="quantile" if config.method == "none" else config.score,
        groups=groups,
        tracker=tracker,
    )


def _check_enough(forecast: Forecast, known: NDArray[np.bool_], config: CalibrationConfig) -> None:
    for horizon, count in zip(forecast.horizons, known.sum(axis=0), strict=True):
        if count < config.min_rows:
            raise DataError(
                f"Calibration of {forecast.family} for {forecast.symbol} at {horizon_name(horizon)} has "
                f"{count} known outcomes, fewer than min_rows = {config.min_rows}."
            )


def _fit_column(
    truth: Outcomes,
    values: Floats,
    column: int,
    rows: NDArray[np.bool_],
    start: Floats,
    coverage: Floats,
    config: CalibrationConfig,
) -> tuple[Floats, float]:
    """Return the offsets of one horizon from the chosen rows, (pairs,), and how many effective rows they rest on.

    `start`: (pairs,), the offsets without evidence; `coverage`: (pairs,), nominal.

    A few weeks of overlapping labels are worth a dozen outcomes, far fewer than what the model itself was fitted on:
    the more they are worth, the more of the way to the conformal offsets is gone, n / (n + raw_weight). So much does
    the mean of a normal posterior move whose prior, around the raw coverage, is as sure as `raw_weight` outcomes: its
    standard deviation is 3 points at 90 % for 100 of them.
    """
    score, overlap = values[rows, column], _overlap(truth, rows, column)
    found = conformal_quantiles(score, coverage)
    reference = int(np.abs(coverage - _REFERENCE).argmin())
    misses = (score[:, reference] > found[reference]).astype(np.float64)
    effective = estimate_mean(misses, overlap).effective_rows
    if config.method == "none":
        return start, effective
    return start + (found - start) * effective / (effective + config.raw_weight), effective


def _fit_groups(
    forecast: Forecast, truth: Outcomes, values: Floats, whole: Floats, config: CalibrationConfig, given: Labels | None
) -> Groups:
    """Fit each group that has enough effective rows at a horizon; the others take the correction of all rows."""
    nominal = coverages(forecast.levels)
    grouping = config.groups if given is None or config.groups in BY_REGIME else GIVEN
    edges = volatility_edges(forecast) if "volatility" in grouping else ()
    labels = label_rows(forecast, grouping, edges, given)
    names = np.unique(labels)
    offsets = np.broadcast_to(whole, (len(names), *whole.shape)).copy()
    rows = np.zeros(offsets.shape[:2], dtype=np.int64)
    effective = np.zeros(offsets.shape[:2])
    for group, name in enumerate(names):
        for column in range(len(forecast.horizons)):
            chosen = (labels == name) & np.isfinite(truth.returns[:, column])
            rows[group, column] = chosen.sum()
            if rows[group, column] < _FEWEST_IN_GROUP:
                continue
            found, worth = _fit_column(truth, values, column, chosen, whole[column], nominal, config)
            effective[group, column] = round(worth, 1)
            if worth >= config.group_effective:
                offsets[group, column] = found
    return Groups(grouping, edges, tuple(str(name) for name in names), offsets, rows, effective)


def _warm_tracker(
    forecast: Forecast, truth: Outcomes, values: Floats, offsets: Floats, config: CalibrationConfig
) -> Tracker:
    """Return a tracker that has lived through the past: its scores are the past's, its rates follow the latest.

    Rates are stopped where intervals are `stretch` times as wide, or as narrow, as with `offsets`, on average.
    """
    ordered, _ = scores_in_order(truth, values)
    overlaps = tuple(truth.overlap(column) for column in range(len(forecast.horizons)))
    nominal = 1 - coverages(forecast.levels)
    start = start_tracker(ordered, offsets, nominal, overlaps, config)
    # Only rows with an outcome: others may be asked about or not, and must not change what was learnt.
    told = forecast.take(np.isfinite(truth.returns).any(axis=1))
    wide, more = reach(told, offsets, config.score), config.stretch - 1
    return start.within(offsets - more / config.stretch * wide, offsets + more * wide).learn(ordered)[0]


def _overlap(truth: Outcomes, rows: NDArray[np.bool_], column: int) -> int:
    """Return how many of the chosen rows a typical label spans."""
    chosen = Outcomes(truth.symbol, truth.decided_at[rows], truth.horizons, truth.returns[rows], truth.label_end[rows])
    return chosen.overlap(column)
