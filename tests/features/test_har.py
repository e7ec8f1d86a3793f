"""The autoregression finds planted weights, falls back to the EWMA, and forecasts as well as it on market-like data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxgpt_core.features.har import har_forecast
from fxgpt_core.features.spec import YardstickConfig
from fxgpt_core.features.targets import make_labels
from fxgpt_core.features.yardstick import Yardstick
from fxgpt_core.market.providers.simulator import simulate

HORIZONS = (60, 240, 1440)
CONFIG = YardstickConfig(level="har")
CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2022-01-03T00:00", "ns"), bars=6000, seed=11, clustering=0.4)
LABELS = make_labels(CANDLES, HORIZONS)
PATH = Yardstick(CONFIG).forecast(CANDLES, LABELS)


def planted(count: int = 6000, months: int = 12, known: bool = True) -> tuple[np.ndarray, np.ndarray, list[slice]]:
    rng = np.random.default_rng(3)
    parts = np.exp(rng.normal(size=(count, 2)) * 0.5)
    expected = np.ones(count)
    truth = 0.6 * parts[:, 0] + 0.3 * parts[:, 1]
    realised = truth * rng.chisquare(8, count) / 8
    size = count // months
    blocks = [slice(n * size, (n + 1) * size) for n in range(months)]
    end = np.repeat(np.arange(months), size) if known else np.full(count, -1)
    out = har_forecast(expected, expected, parts, realised, end, blocks, [1.0] * months, prior=2.0)
    return out, truth, blocks


def test_planted_weights_are_found() -> None:
    out, truth, blocks = planted()
    np.testing.assert_allclose(out[blocks[-1]], np.clip(truth[blocks[-1]], 0.2, 5.0), rtol=0.06)


def test_without_known_labels_the_forecast_is_that_of_the_ewma() -> None:
    out, _, _ = planted(known=False)
    np.testing.assert_array_equal(out, 1.0)


def test_a_month_is_forecast_from_the_months_before_it() -> None:
    out, _, blocks = planted()
    np.testing.assert_array_equal(out[blocks[0]], 1.0)


@settings(max_examples=12, deadline=None)
@given(st.integers(700, len(CANDLES)))
def test_it_is_causal_to_the_bit(stop: int) -> None:
    cut = CANDLES.take(slice(0, stop))
    np.testing.assert_array_equal(Yardstick(CONFIG).forecast(cut, make_labels(cut, HORIZONS)), PATH[:stop])


def test_it_is_right_on_average_and_as_sharp_as_the_ewma() -> None:
    late = slice(3000, None)
    z = (LABELS.log_return / PATH)[late]
    np.testing.assert_allclose(np.nanstd(z, axis=0), 1.0, atol=0.15)
    ewma = Yardstick(YardstickConfig()).forecast(CANDLES, LABELS)
    loss = [np.nanmean(2 * np.log(p[late]) + (LABELS.log_return[late] / p[late]) ** 2, axis=0) for p in (PATH, ewma)]
    assert (loss[0] < loss[1] + 0.02).all()
    assert not np.array_equal(PATH[late], ewma[late])


def test_windows_must_be_positive() -> None:
    with pytest.raises(ValueError, match="har_minutes"):
        YardstickConfig(har_minutes=(0.0,))
