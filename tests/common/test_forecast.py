"""`Forecast` refuses contradictions and survives a round trip through a table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import LEVELS, Forecast, concat, from_standardised

T0 = np.datetime64("2020-01-06T10:00", "ns")
HOUR = np.timedelta64(3600 * 10**9, "ns")


def gaussian(rows: int = 6, start: np.datetime64 = T0, mean: float = 0.0) -> Forecast:
    horizons = (60, 240)
    quantiles = np.broadcast_to(norm.ppf(LEVELS, loc=mean), (rows, 2, len(LEVELS))).copy()
    return from_standardised(
        symbol="EURUSD",
        family="test",
        horizons=horizons,
        decided_at=start + np.arange(rows) * HOUR,
        made_at=T0 + 1000 * HOUR,
        trained_until=start,
        model_version="v1",
        yardstick=np.full((rows, 2), 0.001),
        mean=np.full((rows, 2), mean),
        std=np.ones((rows, 2)),
        quantiles=quantiles,
    )


def test_table_round_trip_keeps_every_value() -> None:
    forecast = gaussian()
    back = Forecast.from_frame(forecast.to_frame())
    assert back.horizons == forecast.horizons
    assert back.levels == forecast.levels
    for name in ("decided_at", "made_at", "trained_until", "mean", "std", "quantiles", "origin", "model_version"):
        np.testing.assert_array_equal(getattr(back, name), getattr(forecast, name))


def test_probability_up_matches_the_normal_distribution() -> None:
    probability = gaussian(mean=0.3).probability_up()
    np.testing.assert_allclose(probability, norm.cdf(0.3), atol=2e-3)


def test_uncertainty_is_the_share_of_the_deviation_in_deviation_and_mean() -> None:
    sure = replace(gaussian(mean=0.3), std=np.zeros_like(gaussian().std))
    np.testing.assert_array_equal(gaussian(mean=0.0).uncertainty(), 1.0)
    made = gaussian(mean=0.3)
    np.testing.assert_allclose(made.uncertainty(), made.std / (made.std + np.abs(made.mean)))
    np.testing.assert_array_equal(sure.uncertainty(), 0.0)
    np.testing.assert_array_equal(replace(sure, mean=0 * sure.mean).uncertainty(), 1.0)


def test_quantile_between_levels_is_interpolated() -> None:
    forecast = gaussian()
    np.testing.assert_allclose(forecast.quantile(0.5), 0, atol=1e-12)
    expected = 0.001 * (norm.ppf(0.9) + norm.ppf(0.95)) / 2
    np.testing.assert_allclose(forecast.quantile(0.925), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"std": np.full((6, 2), -1.0)}, "negative"),
        ({"mean": np.full((6, 2), np.nan)}, "missing"),
        ({"trained_until": np.full(6, T0 + 99 * HOUR)}, "saw the future"),
        ({"decided_at": np.full(6, T0)}, "increase strictly"),
        ({"origin": np.full(6, "guess", dtype=object)}, "origin"),
        ({"mean": np.zeros((5, 2))}, "must be"),
    ],
)
def test_contradictions_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        replace(gaussian(), **change)  # type: ignore[arg-type]


def test_crossing_quantiles_are_refused() -> None:
    forecast = gaussian()
    crossed = forecast.quantiles.copy()
    crossed[0, 0, 3] = crossed[0, 0, 4] + 1
    with pytest.raises(DataError, match="cross"):
        replace(forecast, quantiles=crossed)


def test_concat_joins_in_time_and_refuses_other_horizons() -> None:
    first, second = gaussian(3), gaussian(3, T0 + 10 * HOUR)
    assert len(concat([first, second])) == 6
    with pytest.raises(DataError, match="agree"):
        concat([first, replace(second, symbol="GBPUSD")])


def test_table_with_a_missing_horizon_row_is_refused() -> None:
    frame = gaussian().to_frame()
    with pytest.raises(DataError, match="horizons"):
        Forecast.from_frame(pd.concat([frame.iloc[:3], frame.iloc[4:]]))
