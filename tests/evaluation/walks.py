"""A market without memory and walks of one scale: forecasts and outcomes whose scores are known."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from fxgpt_core.common.forecast import LEVELS, Forecast, from_standardised
from fxgpt_core.features.outcomes import Outcomes

HORIZONS = (60, 240)
ROWS = 3000
T0 = np.datetime64("2020-01-06T00:00", "ns")
HOUR = np.timedelta64(3600 * 10**9, "ns")
TIMES = T0 + np.arange(ROWS) * HOUR


def forecast(family: str, scale: float = 1.0, mean: np.ndarray | None = None) -> Forecast:
    centre = np.zeros((ROWS, 2)) if mean is None else mean
    return from_standardised(
        symbol="EURUSD",
        family=family,
        horizons=HORIZONS,
        decided_at=TIMES,
        made_at=TIMES[-1],
        trained_until=T0,
        model_version="v1",
        yardstick=np.full((ROWS, 2), 1e-3),
        mean=centre,
        std=np.full((ROWS, 2), scale),
        quantiles=centre[..., None] + scale * norm.ppf(LEVELS),
    )


def outcomes(seed: int = 1) -> Outcomes:
    rng = np.random.default_rng(seed)
    hourly = rng.normal(size=ROWS + 4)
    steps = np.stack([hourly[i : i + ROWS] for i in range(4)], axis=1)  # (rows, 4): the next four hours
    returns = 1e-3 * np.column_stack([steps[:, 0], steps.sum(axis=1) / 2])
    label_end = np.column_stack([TIMES + HOUR, TIMES + 4 * HOUR])
    late = label_end > TIMES[-1]
    return Outcomes(
        "EURUSD",
        TIMES,
        HORIZONS,
        np.where(late, np.nan, returns),
        np.where(late, np.datetime64("NaT", "ns"), label_end),
    )


OUTCOMES = outcomes()
