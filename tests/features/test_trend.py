"""Trend indicators against their formulas in pandas and plain loops; flat prices, scale, cut futures and pasts."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import talib

from fxgpt_core.features.bars import Bars
from fxgpt_core.features.registry import indicators
from fxgpt_core.market.providers.simulator import simulate

CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=1000, seed=41)
BARS = Bars.of(CANDLES)
OPEN, HIGH, LOW, CLOSE = (pd.Series(v) for v in (BARS.open, BARS.high, BARS.low, BARS.close))
BEFORE = CLOSE.shift()
TRUE = np.maximum(HIGH, BEFORE) - np.minimum(LOW, BEFORE)
UNIT = TRUE.rolling(24).mean()
SETTLED = slice(600, None)


def columns(bars: Bars) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    for indicator in indicators().values():
        if indicator.group == "trend":
            out |= indicator.compute(bars, indicator.resolved({}))
    return out


FOUND = columns(BARS)


def ema(values: pd.Series, period: int) -> pd.Series:
    return values.ewm(span=period, adjust=False).mean()


def wilder(values: pd.Series, period: int) -> pd.Series:
    return values.ewm(alpha=1 / period, adjust=False).mean()


def sma(window: int) -> pd.Series:
    return CLOSE.rolling(window).mean()


def wma(values: pd.Series, window: int) -> pd.Series:
    weights = np.arange(1, window + 1)
    return values.rolling(window).apply(lambda w: w @ weights / weights.sum(), raw=True)


def kama() -> pd.Series:
    ratio = CLOSE.diff(10).abs() / CLOSE.diff().abs().rolling(10).sum()
    out, level = [], math.nan
    for price, share in zip(CLOSE, ratio, strict=True):
        step = (share * (2 / 3 - 2 / 31) + 2 / 31) ** 2
        level = price if math.isnan(level) else level if math.isnan(share) else level + step * (price - level)
        out.append(level)
    return pd.Series(out)


def t3() -> pd.Series:
    e, v = [CLOSE], 0.7
    for _ in range(6):
        e.append(ema(e[-1], 10))
    return -(v**3) * e[6] + 3 * (v**2 + v**3) * e[5] - 3 * (2 * v**2 + v + v**3) * e[4] + (1 + v) ** 3 * e[3]


def hull() -> pd.Series:
    return wma(2 * wma(CLOSE, 30) - wma(CLOSE, 60), 7)


def dema() -> pd.Series:
    return 2 * ema(CLOSE, 40) - ema(ema(CLOSE, 40), 40)


def directional() -> dict[str, pd.Series]:
    up, down = HIGH.diff(), -LOW.diff()
    plus, minus = (wilder(a.where((a > b) & (a > 0), 0.0)[1:], 14) for a, b in ((up, down), (down, up)))
    ranges = wilder(TRUE[1:], 14)
    dx = 100 * (plus - minus).abs() / (plus + minus)
    adx = wilder(dx, 14)
    return {
        "adx_1h_14": adx,
        "di_plus_1h_14": 100 * plus / ranges,
        "di_minus_1h_14": 100 * minus / ranges,
        "dx_1h_14": dx,
        "adx_change_1h_14_10": adx.diff(10),
    }


def vortex(window: int) -> tuple[pd.Series, pd.Series]:
    up, down = (HIGH - LOW.shift()).abs(), (LOW - HIGH.shift()).abs()
    return tuple(x.rolling(window).sum() / TRUE.rolling(window).sum() for x in (up, down))  # type: ignore[return-value]


def regression(window: int) -> dict[str, pd.Series]:
    out = np.full((3, 1000), np.nan)
    time = np.arange(window)
    for row in range(window - 1, 1000):
        closes = CLOSE[row - window + 1 : row + 1]
        slope, start = np.polyfit(time, closes, 1)
        out[:, row] = slope, np.corrcoef(time, closes)[0, 1] ** 2, CLOSE[row] - (start + slope * (window - 1))
    angle = np.degrees(np.arctan(10 * out[0] / UNIT))
    return {f"reg_angle_1h_{window}": angle, f"reg_r2_1h_{window}": pd.Series(out[1]), f"reg_dist_1h_{window}": out[2] / UNIT}  # fmt: skip  # noqa: E501


def middle(window: int) -> pd.Series:
    return (HIGH.rolling(window).max() + LOW.rolling(window).min()) / 2


def ichimoku() -> dict[str, pd.Series]:
    conversion, base = middle(9), middle(26)
    first, second = ((conversion + base) / 2).shift(26), middle(52).shift(26)
    upper, lower = np.maximum(first, second), np.minimum(first, second)
    cloud = (CLOSE - upper).where(CLOSE.gt(upper), (CLOSE - lower).where(CLOSE.lt(lower), 0.0))
    found = {
        "tk": conversion - base,
        "cloud": cloud,
        "width": first - second,
        "ahead": (conversion + base) / 2 - middle(52),
    }
    return {f"ichi_{name}_1h_9_26_52": values / UNIT for name, values in found.items()}


def macd() -> dict[str, pd.Series]:
    line = ema(CLOSE, 12) - ema(CLOSE, 26)
    signal = ema(line, 9)
    return {
        "macd_1h_12_26": line / CLOSE,
        "macd_signal_1h_12_26_9": signal / CLOSE,
        "macd_hist_1h_12_26_9": (line - signal) / CLOSE,
    }


def order() -> pd.Series:
    a, b, c = (ema(CLOSE, span) for span in (8, 21, 55))
    pairs = ((CLOSE, a), (CLOSE, b), (CLOSE, c), (a, b), (a, c), (b, c))
    return sum(np.sign(left - right) for left, right in pairs) / 6  # type: ignore[return-value]


def fan() -> pd.Series:
    lines = pd.concat([ema(CLOSE, span) for span in (8, 21, 55)], axis=1)
    return (lines.max(axis=1) - lines.min(axis=1)) / UNIT


def chop() -> pd.Series:
    span = HIGH.rolling(14).max() - LOW.rolling(14).min()
    return 100 * np.log10(TRUE.rolling(14).sum() / span) / np.log10(14)


def slope(average: pd.Series, lag: int = 3) -> pd.Series:
    return average.diff(lag) / lag / UNIT


EXPECTED = {
    **macd(),
    **directional(),
    **regression(20),
    **regression(60),
    **regression(200),
    **ichimoku(),
    "vortex_1h_14": vortex(14)[0] - vortex(14)[1],
    "vortex_1h_50": vortex(50)[0] - vortex(50)[1],
    "vortex_sum_1h_14": vortex(14)[0] + vortex(14)[1],
    "sma_dist_1h_90": (CLOSE - sma(90)) / UNIT / 90**0.5,
    "sma_dist_1h_240": (CLOSE - sma(240)) / UNIT / 240**0.5,
    "sma_slope_1h_240_10": slope(sma(240), 10),
    "ema_dist_1h_5": (CLOSE - ema(CLOSE, 5)) / UNIT,
    "ema_slope_1h_5_3": slope(ema(CLOSE, 5)),
    "ema_slope_1h_34_3": slope(ema(CLOSE, 34)),
    "kama_dist_1h_10": (CLOSE - kama()) / UNIT,
    "kama_slope_1h_10_3": slope(kama()),
    "dema_dist_1h_40": (CLOSE - dema()) / UNIT,
    "t3_dist_1h_10": (CLOSE - t3()) / UNIT,
    "t3_slope_1h_10_3": slope(t3()),
    "hma_dist_1h_60": (CLOSE - hull()) / UNIT,
    "hma_slope_1h_60_3": slope(hull()),
    "ma_order_1h_8_21_55": order(),
    "ma_fan_1h_8_21_55": fan(),
    "bull_power_1h_13": (HIGH - ema(CLOSE, 13)) / UNIT,
    "bear_power_1h_13": (LOW - ema(CLOSE, 13)) / UNIT,
    "chop_1h_14": chop(),
    "vhf_1h_48": (CLOSE.rolling(48).max() - CLOSE.rolling(48).min()) / CLOSE.diff().abs().rolling(48).sum(),
}
BY_LOOPS = {"sar_dist_1h_0.02_0.2", "sar_age_1h_0.02_0.2", "supertrend_1h_10_3.0", "supertrend_dist_1h_10_3.0", "supertrend_age_1h_10_3.0"}  # fmt: skip  # noqa: E501


def test_every_column_has_a_second_source() -> None:
    assert {name for name in FOUND if not name.startswith("ht_")} == {*EXPECTED, *BY_LOOPS}


@pytest.mark.parametrize("name", EXPECTED)
def test_columns_follow_their_formulas(name: str) -> None:
    expected = EXPECTED[name].reindex(CLOSE.index).to_numpy()
    tolerance = 2e-6 * float(np.nanstd(expected))
    np.testing.assert_allclose(FOUND[name][SETTLED], expected[SETTLED], rtol=0, atol=tolerance)


def test_the_parabolic_stop_follows_wilder() -> None:
    high, low, close = BARS.high, BARS.low, BARS.close
    rising, step, turned = True, 0.02, 0
    stop, extreme = low[0], high[0]
    for row in range(1, 1000):
        stop = stop + step * (extreme - stop)
        held = (low if rising else high)[max(0, row - 2) : row]
        stop = min(stop, held.min()) if rising else max(stop, held.max())
        if (low[row] < stop) if rising else (high[row] > stop):
            rising, turned = not rising, row
            recent = (high if not rising else low)[max(0, row - 1) : row + 1]
            stop = max(extreme, recent.max()) if not rising else min(extreme, recent.min())
            extreme, step = (high[row] if rising else low[row]), 0.02
        elif (high[row] > extreme) if rising else (low[row] < extreme):
            extreme, step = (high[row] if rising else low[row]), min(step + 0.02, 0.2)
        if row >= 300:
            away = (close[row] - stop) / UNIT[row]
            assert FOUND["sar_dist_1h_0.02_0.2"][row] == pytest.approx(away, abs=1e-6), row
            assert FOUND["sar_age_1h_0.02_0.2"][row] == min(row - turned, 48) / 48


def test_the_supertrend_holds_its_line_until_the_close_crosses_it() -> None:
    ranges = pd.Series(talib.ATR(BARS.high, BARS.low, BARS.close, timeperiod=10))
    upper, lower = (HIGH + LOW) / 2 + 3 * ranges, (HIGH + LOW) / 2 - 3 * ranges
    top, bottom, side, turned = upper[10], lower[10], 1, 10
    for row in range(11, 1000):
        top = min(upper[row], top) if CLOSE[row - 1] <= top else upper[row]
        bottom = max(lower[row], bottom) if CLOSE[row - 1] >= bottom else lower[row]
        new = 1 if CLOSE[row] > top else -1 if CLOSE[row] < bottom else side
        side, turned = new, row if new != side else turned
        if row >= 300:
            line = bottom if side > 0 else top
            assert FOUND["supertrend_1h_10_3.0"][row] == side
            assert FOUND["supertrend_age_1h_10_3.0"][row] == min(row - turned, 96) / 96
            assert FOUND["supertrend_dist_1h_10_3.0"][row] == pytest.approx((CLOSE[row] - line) / UNIT[row], abs=1e-6)


@pytest.mark.parametrize("length", [18, 30])
def test_the_dominant_cycle_of_a_wave_is_its_length(length: int) -> None:
    wave = 1.1 + 0.01 * np.sin(2 * np.pi * np.arange(1000) / length)
    bars = replace(BARS, open=wave, close=wave, high=wave + 0.001, low=wave - 0.001)
    found = columns(bars)
    assert found["ht_period_1h"][-100:].mean() == pytest.approx(length, abs=1.0)
    assert set(found["ht_mode_1h"][-100:]) <= {0.0, 1.0}
    phase = np.corrcoef(found["ht_sine_1h"][-200:], wave[-200:])[0, 1]
    assert phase > 0.95
    # The leading sine is that of 45 degrees later: the wave of an eighth of its length ahead.
    assert np.corrcoef(found["ht_lead_1h"][-200:], np.roll(wave, -round(length / 8))[-200:])[0, 1] > 0.9
    np.testing.assert_allclose(found["ht_inphase_1h"][-100:] ** 2 + found["ht_quadrature_1h"][-100:] ** 2, np.mean(found["ht_inphase_1h"][-100:] ** 2 + found["ht_quadrature_1h"][-100:] ** 2), rtol=0.3)  # fmt: skip  # noqa: E501


def test_the_trend_line_averages_the_dominant_cycle_away() -> None:
    wave = 1.1 + 0.01 * np.sin(2 * np.pi * np.arange(1000) / 20)
    bars = replace(BARS, open=wave, close=wave, high=wave + 0.001, low=wave - 0.001)
    true = np.maximum(bars.high[1:], wave[:-1]) - np.minimum(bars.low[1:], wave[:-1])
    unit = pd.Series(np.r_[np.nan, true]).rolling(24).mean().to_numpy()
    line = wave - columns(bars)["ht_dist_1h"] * unit
    assert np.ptp(line[-100:]) < 0.15 * np.ptp(wave)


def test_a_market_that_stands_still_has_no_trend() -> None:
    still = np.full(500, 1.1)
    bars = replace(Bars.of(CANDLES.take(slice(0, 500))), open=still, high=still, low=still, close=still)
    documented = {"chop": 100.0, "supertrend": 1.0, "supertrend_age": 1.0, "sar_age": 1.0}
    for name, values in columns(bars).items():
        assert np.isfinite(values[-1]), name
        if not name.startswith(("ht_period", "ht_sine", "ht_lead", "ht_mode")):  # a cycle of nothing has some length
            assert values[-1] == pytest.approx(documented.get(name.split("_1h")[0], 0.0), abs=1e-9), name


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
