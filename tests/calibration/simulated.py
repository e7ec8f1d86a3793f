"""Simulated forecasts and outcomes: volatility is known up to a factor, labels may overlap."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from fxgpt_core.common.forecast import LEVELS, Forecast, from_standardised
from fxgpt_core.features.outcomes import Outcomes

T0 = np.datetime64("2020-01-06T00:00", "ns")
MINUTE = np.timedelta64(60 * 10**9, "ns")


def market(
    shocks: np.ndarray, volatility: np.ndarray, horizons: tuple[int, ...] = (60,), scale: float = 1.0, step: int = 60
) -> tuple[Forecast, Outcomes]:
    """Return forecasts N(0, (scale · volatility)²) every `step` minutes and the outcomes shocks · volatility.

    `shocks`, `volatility`: (rows, horizons).
    """
    rows, columns = shocks.shape
    decided_at = T0 + np.arange(rows) * step * MINUTE
    forecast = from_standardised(
        symbol="EURUSD",
        family="test",
        horizons=horizons,
        decided_at=decided_at,
        made_at=decided_at[-1],
        trained_until=T0,
        model_version="v1",
        yardstick=volatility,
        mean=np.zeros((rows, columns)),
        std=np.full((rows, columns), scale),
        quantiles=np.broadcast_to(scale * norm.ppf(LEVELS), (rows, columns, len(LEVELS))),
    )
    label_end = decided_at[:, None] + np.asarray(horizons) * MINUTE
    return forecast, Outcomes("EURUSD", decided_at, horizons, shocks * volatility, label_end)


def exchangeable(
    rows: int, seed: int, horizons: tuple[int, ...] = (60,), scale: float = 0.6
) -> tuple[Forecast, Outcomes]:
    """Return independent rows of changing volatility with fat tails, whose forecasts are too narrow by `scale`."""
    rng = np.random.default_rng(seed)
    shape = (rows, len(horizons))
    return market(rng.standard_t(5, shape), 1e-3 * np.exp(rng.normal(0, 0.5, shape)), horizons, scale)


def hits(forecast: Forecast, outcomes: Outcomes, nominal: float) -> np.ndarray:
    """Tell where the central interval held the outcome: (rows, horizons)."""
    y = outcomes.aligned(forecast.decided_at, forecast.horizons).returns
    low, high = forecast.quantile((1 - nominal) / 2), forecast.quantile((1 + nominal) / 2)
    return np.asarray((y >= low) & (y <= high))
