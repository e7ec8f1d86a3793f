"""Money flow against TA-Lib's lines and plain loops; missing and zero volume, scale, cut futures and pasts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import talib

from fxgpt_core.features.bars import Bars
from fxgpt_core.features.registry import indicators
from fxgpt_core.market.providers.simulator import simulate

CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=900, seed=31)
BARS = Bars.of(CANDLES)
HIGH, LOW, CLOSE, VOLUME = (pd.Series(v) for v in (BARS.high, BARS.low, BARS.close, BARS.volume))
PRICES = (BARS.high, BARS.low, BARS.close)
TYPICAL, MIDDLE = (HIGH + LOW + CLOSE) / 3, (HIGH + LOW) / 2
TRUE = np.maximum(HIGH, CLOSE.shift()) - np.minimum(LOW, CLOSE.shift())


def columns(bars: Bars) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    for indicator in indicators().values():
        if indicator.group == "money_flow":
            out |= indicator.compute(bars, indicator.resolved({}))
    return out


FOUND = columns(BARS)


def test_money_flow_index_and_chaikin_agree_with_talib() -> None:
    np.testing.assert_allclose(FOUND["mfi_1h_14"], talib.MFI(*PRICES, BARS.volume, timeperiod=14), atol=1e-8)
    np.testing.assert_allclose(FOUND["cmf_1h_20"], talib.CMF(*PRICES, BARS.volume, timeperiod=20), atol=1e-10)
    # Differences of the accumulation line, relative to volume, instead of its exponential averages.
    line = pd.Series(talib.AD(*PRICES, BARS.volume))
    spans = {n: line.diff(n) / VOLUME.rolling(n).sum() for n in (3, 10)}
    np.testing.assert_allclose(FOUND["adosc_1h_3_10"][10:], (spans[3] - spans[10])[10:], atol=1e-9)


@pytest.mark.parametrize("window", [12, 60])
def test_balance_is_a_difference_of_the_on_balance_line(window: int) -> None:
    line = pd.Series(talib.OBV(BARS.close, BARS.volume))
    expected = line.diff(window) / VOLUME.rolling(window).sum()
    np.testing.assert_allclose(FOUND[f"obv_1h_{window}"][window:], expected[window:], atol=1e-12)


@pytest.mark.parametrize("window", [16, 160])
def test_the_volume_weighted_price_is_that_of_the_window(window: int) -> None:
    unit = TRUE.rolling(24).mean() * window**0.5
    for row in range(165, 900, 31):
        part = slice(row - window + 1, row + 1)
        weighted = np.average(TYPICAL[part], weights=VOLUME[part])
        away = (CLOSE[row] - weighted) / unit[row]
        assert FOUND[f"vwap_dist_1h_{window}"][row] == pytest.approx(away, abs=1e-9)
        lean = (weighted - TYPICAL[part].mean()) / unit[row]
        assert FOUND[f"vwap_lean_1h_{window}"][row] == pytest.approx(lean, abs=1e-9)


def test_force_and_ease_of_movement_follow_their_formulas() -> None:
    unit, usual = TRUE.rolling(96).mean(), VOLUME.rolling(96).mean()
    force = (CLOSE.diff() * VOLUME).rolling(13).mean() / usual / unit
    ease = (MIDDLE.diff() / unit * (HIGH - LOW) / unit * usual / VOLUME).clip(-20, 20).rolling(14).mean()
    np.testing.assert_allclose(FOUND["force_1h_13"], force, atol=1e-10)
    np.testing.assert_allclose(FOUND["eom_1h_14"], ease, atol=1e-10)


def test_volume_indices_sum_returns_by_the_change_of_volume() -> None:
    returns, change = np.diff(np.log(BARS.close)), np.diff(BARS.volume)
    for row in range(60, 900, 17):
        r, c = returns[row - 60 : row], change[row - 60 : row]
        root = np.sqrt((r * r).sum())
        assert FOUND["pvi_1h_60"][row] == pytest.approx(r[c > 0].sum() / root, abs=1e-9)
        assert FOUND["nvi_1h_60"][row] == pytest.approx(r[c < 0].sum() / root, abs=1e-9)


def test_missing_volume_gives_missing_columns_and_only_while_it_is_in_a_window() -> None:
    nothing = columns(replace(BARS, volume=np.full(900, np.nan)))
    assert all(np.isnan(values).all() for values in nothing.values())
    volume = BARS.volume.copy()
    volume[400] = np.nan
    for name, values in columns(replace(BARS, volume=volume)).items():
        assert np.isnan(values[400]), name
        np.testing.assert_array_equal(values[:400], FOUND[name][:400], err_msg=name)
        np.testing.assert_allclose(values[560:], FOUND[name][560:], atol=1e-12, err_msg=name)


@pytest.mark.parametrize("volume", [0.0, 5.0])
def test_flat_prices_and_no_trades_give_neutral_values(volume: float) -> None:
    still = np.full(900, 1.1)
    bars = replace(BARS, open=still, high=still, low=still, close=still, volume=np.full(900, volume))
    for name, values in columns(bars).items():
        np.testing.assert_allclose(values[170:], 50.0 if name.startswith("mfi") else 0.0, atol=1e-9, err_msg=name)


def test_moves_without_trades_give_finite_values() -> None:
    for name, values in columns(replace(BARS, volume=np.zeros(900))).items():
        assert np.isfinite(values[170:]).all(), name


def test_neither_the_price_scale_nor_the_lot_matters() -> None:
    scaled = {name: getattr(BARS, name) * 137.0 for name in ("open", "high", "low", "close")}
    for name, values in columns(replace(BARS, **scaled, volume=BARS.volume * 0.01)).items():
        np.testing.assert_allclose(values, FOUND[name], rtol=1e-7, atol=1e-7, err_msg=name)


def test_cutting_the_future_or_the_distant_past_off_changes_nothing() -> None:
    for name, values in columns(Bars.of(CANDLES.take(slice(0, 640)))).items():
        np.testing.assert_array_equal(values, FOUND[name][:640], err_msg=name)
    for name, values in columns(Bars.of(CANDLES.take(slice(300, None)))).items():
        np.testing.assert_array_equal(values[512:], FOUND[name][812:], err_msg=name)
