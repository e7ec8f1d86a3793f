"""Plots are inline SVG that repeats exactly and points at nothing outside."""

from __future__ import annotations

import re

import numpy as np
from scipy.stats import norm

from fxgpt_core.common.forecast import LEVELS, Forecast, from_standardised
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_core.reports import plots


def candles() -> Candles:
    return simulate("EURUSD", "1h", start=np.datetime64("2024-01-08T00:00"), bars=200, seed=1)


def forecast(bars: Candles) -> Forecast:
    decided = bars.known_at[-2:]
    quantiles = np.broadcast_to(norm.ppf(LEVELS), (2, 2, len(LEVELS))).copy()
    return from_standardised(
        symbol="EURUSD", family="test", horizons=(60, 240), decided_at=decided, made_at=decided[-1],
        trained_until=decided[0], model_version="v", yardstick=np.full((2, 2), 0.001), mean=np.zeros((2, 2)),
        std=np.ones((2, 2)), quantiles=quantiles,
    )  # fmt: skip


def test_fan_chart_repeats_exactly_and_refers_to_nothing_outside() -> None:
    bars = candles()
    first, second = (plots.fan_chart(bars, forecast(bars), "fan") for _ in range(2))
    assert first == second
    assert first.startswith("<svg")
    assert not re.search(r'(href|src)="https?:', first)


def test_fan_chart_shows_the_decision_time() -> None:
    bars = candles()
    assert str(bars.known_at[-1])[:16].replace("T", " ") in plots.fan_chart(bars, forecast(bars), "fan")


def test_missing_outcomes_are_left_out_of_the_histogram() -> None:
    pit = np.full((50, 1), np.nan)
    pit[:10, 0] = 0.5
    with_gaps = plots.pit_histograms({"raw": pit}, (60,), "pit")
    assert with_gaps == plots.pit_histograms({"raw": pit[:10]}, (60,), "pit")
