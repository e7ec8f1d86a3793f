"""Channels against their formulas in pandas; flat prices, scale, cut futures and forgotten pasts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fxgpt_core.features.bars import Bars
from fxgpt_core.features.registry import indicators
from fxgpt_core.market.providers.simulator import simulate

CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=1000, seed=51)
BARS = Bars.of(CANDLES)
HIGH, LOW, CLOSE = (pd.Series(v) for v in (BARS.high, BARS.low, BARS.close))
TRUE = np.maximum(HIGH, CLOSE.shift()) - np.minimum(LOW, CLOSE.shift())
UNIT = TRUE.rolling(24).mean()
SETTLED = slice(500, None)


def columns(bars: Bars) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    for indicator in indicators().values():
        if indicator.group == "channels":
            out |= indicator.compute(bars, indicator.resolved({}))
    return out


FOUND = columns(BARS)


def mean(window: int) -> pd.Series:
    return CLOSE.rolling(window).mean()


def deviation(window: int) -> pd.Series:
    return CLOSE.rolling(window).std(ddof=0)


def beyond() -> pd.Series:
    above, below = CLOSE.gt(mean(20) + 2 * deviation(20)), CLOSE.lt(mean(20) - 2 * deviation(20))
    return (above.astype(float) - below.astype(float)).rolling(48).mean()


def keltner() -> pd.Series:
    middle = ((HIGH + LOW + CLOSE) / 3).ewm(span=8, adjust=False).mean()
    half = 2 * TRUE[1:].ewm(alpha=1 / 10, adjust=False).mean()
    return ((CLOSE - middle + half) / (2 * half)).clip(-2, 3)


def squeeze() -> pd.Series:
    return np.log(2 * deviation(20) / (1.5 * TRUE.rolling(20).mean()))


def highest(window: int) -> pd.Series:
    return HIGH.rolling(window).max()


def lowest(window: int) -> pd.Series:
    return LOW.rolling(window).min()


def leaving(sign: int) -> pd.Series:
    up, down = HIGH.gt(highest(20).shift()), LOW.lt(lowest(20).shift())
    return up.astype(float).rolling(40).mean() + sign * down.astype(float).rolling(40).mean()


EXPECTED = {
    "bb_width_1h_20_2.0": 4 * deviation(20) / mean(20),
    "bb_width_rel_1h_20_200": np.log(deviation(20) / deviation(200)),
    "bb_width_change_1h_20_20": np.log(deviation(20) / deviation(20).shift(20)),
    "bb_pos_long_1h_200_2.0": (0.5 + (CLOSE - mean(200)) / (4 * deviation(200))).clip(-1, 2),
    "bb_beyond_1h_20_2.0_48": beyond(),
    "kc_pos_1h_8_2.0": keltner(),
    "squeeze_1h_20": squeeze(),
    "squeeze_share_1h_20_48": (squeeze() < 0).astype(float).rolling(48).mean(),
    **{f"donch_pos_1h_{n}": (CLOSE - lowest(n)) / (highest(n) - lowest(n)) for n in (24, 72, 288)},
    **{f"donch_width_1h_{n}": np.log((highest(n) - lowest(n)) / UNIT / n**0.5) for n in (24, 72, 288)},
    **{f"high_dist_1h_{n}": (highest(n) - CLOSE) / UNIT / n**0.5 for n in (16, 144)},
    **{f"low_dist_1h_{n}": (CLOSE - lowest(n)) / UNIT / n**0.5 for n in (16, 144)},
    "breakout_bias_1h_20_40": leaving(-1),
    "breakout_count_1h_20_40": leaving(1),
    **{
        f"close_rank_1h_{n}": CLOSE.rolling(n + 1).apply(lambda w: 100 * (w[:-1] < w[-1]).mean(), raw=True)
        for n in (40, 170)
    },
}


def test_every_column_has_a_second_source() -> None:
    assert set(FOUND) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_columns_follow_their_formulas(name: str) -> None:
    expected = EXPECTED[name].to_numpy()
    tolerance = 2e-6 * float(np.nanstd(expected))
    np.testing.assert_allclose(FOUND[name][SETTLED], expected[SETTLED], rtol=0, atol=tolerance)


def test_a_channel_without_width_has_the_close_in_its_middle() -> None:
    still = np.full(500, 1.1)
    bars = replace(Bars.of(CANDLES.take(slice(0, 500))), open=still, high=still, low=still, close=still)
    for name, values in columns(bars).items():
        if "_pos" in name:
            assert values[-1] == 0.5, name
        elif name == "squeeze_1h_20" or name.startswith(("bb_", "high", "low", "breakout", "close_rank")):
            assert values[-1] == pytest.approx(0.0, abs=1e-9), name
        assert np.isfinite(values[-1]), name


def test_a_market_that_stops_is_not_divided_by_rounding() -> None:
    prices = {name: np.r_[getattr(BARS, name)[:400], np.full(400, BARS.close[399])] for name in ("open", "high", "low", "close")}  # fmt: skip  # noqa: E501
    found = columns(replace(Bars.of(CANDLES.take(slice(0, 800))), **prices))
    for name, expected in (("bb_beyond_1h_20_2.0_48", 0.0), ("bb_pos_long_1h_200_2.0", 0.5), ("donch_pos_1h_72", 0.5)):
        np.testing.assert_array_equal(found[name][-100:], expected, err_msg=name)


def test_the_price_scale_does_not_matter() -> None:
    names = ("open", "high", "low", "close")
    scaled = columns(replace(BARS, **{name: getattr(BARS, name) * 137.0 for name in names}))
    for name, values in FOUND.items():
        np.testing.assert_allclose(scaled[name], values, rtol=1e-6, atol=1e-6, err_msg=name)


def test_cutting_the_future_or_the_distant_past_off_changes_nothing() -> None:
    for name, values in columns(Bars.of(CANDLES.take(slice(0, 640)))).items():
        np.testing.assert_array_equal(values, FOUND[name][:640], err_msg=name)
    for name, values in columns(Bars.of(CANDLES.take(slice(400, None)))).items():
        spread = np.nanstd(FOUND[name])
        np.testing.assert_allclose(values[512:], FOUND[name][912:], rtol=0, atol=1e-6 * spread, err_msg=name)
