"""`assess_drift`: from a dataset to a verdict in one call; `said_tables`: what of forecasts is judged."""

from __future__ import annotations

import numpy as np

from fxgpt_core.common.forecast import Forecast
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.lifecycle.drift.columns import DriftTable, drift_table, pit_table, prediction_table, residual_table
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.drift.reference import PIT, PREDICTIONS, RESIDUALS, DriftReference, build_reference
from fxgpt_core.lifecycle.drift.verdict import DriftVerdict, judge


def said_tables(forecast: Forecast | None, outcomes: Outcomes) -> dict[str, DriftTable]:
    """Return predictions, residuals and PIT values of forecasts by part; nothing without forecasts."""
    if forecast is None or not len(forecast):
        return {}
    values = pit_table(forecast, outcomes)
    return {PREDICTIONS: prediction_table(forecast), RESIDUALS: residual_table(values), PIT: values}


def reference_of(
    dataset: Dataset,
    span: tuple[np.datetime64, np.datetime64],
    now: np.datetime64,
    config: DriftConfig,
    seed: int,
    forecast: Forecast | None = None,
) -> DriftReference:
    """Return the reference of a training span (start, end], cut where the window to be judged at `now` begins.

    A window must not take part in its own threshold. Raises DataError when too little is left.
    """
    end = min(span[1], now - np.timedelta64(config.window_days, "D"))
    said = said_tables(forecast, Outcomes.from_dataset(dataset))
    return build_reference(drift_table(dataset, config), span[0], end, config, seed, said)


def assess_drift(
    dataset: Dataset,
    reference_span: tuple[np.datetime64, np.datetime64],
    now: np.datetime64,
    config: DriftConfig,
    previous: DriftVerdict | None = None,
    seed: int = 0,
    forecast: Forecast | None = None,
) -> DriftVerdict:
    """Judge the last `window_days` before `now` (datetime64, UTC) against the training span (start, end].

    `forecast`: the model's out-of-sample predictions over span and window, for predictions, residuals and PIT; left
    out, features alone are judged. `previous`: the verdict before this one, which decides about `onset`. `seed` steers
    the sampling of reference rows. Raises DataError when the span is too short for a threshold.
    """
    reference = reference_of(dataset, reference_span, now, config, seed, forecast)
    said = said_tables(forecast, Outcomes.from_dataset(dataset))
    return judge(reference, drift_table(dataset, config), now, config, previous, said)
