"""Volume profiles against NumPy on each window alone; volume missing, price scale, flat prices, causality."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import entropy

from fxgpt_core.features.bars import Bars
from fxgpt_core.features.registry import indicators
from fxgpt_core.market.providers.simulator import simulate

CANDLES = simulate("EURUSD", "5m", start=np.datetime64("2024-01-03T00:00", "ns"), bars=900, seed=6)
BARS = Bars.of(CANDLES)


def columns(bars: Bars, **parameters: object) -> dict[str, np.ndarray]:
    found = indicators()["volume_profile"]
    return found.compute(bars, found.resolved(parameters))


FOUND = columns(BARS)


def plain(bars: Bars, row: int, window: int, weights: np.ndarray, bins: int = 32) -> dict[str, float]:
    """The columns of one window, from the definition."""
    part = slice(row - window + 1, row + 1)
    high, low, close = bars.high[part], bars.low[part], bars.close[row]
    bottom, width = low.min(), (high.max() - low.min()) / bins
    profile = np.zeros(bins)
    for weight, top, base in zip(weights[part], high, low, strict=True):
        first = min(math.floor((base - bottom) / width + 1e-9), bins - 1)
        last = max(first, math.floor((top - bottom) / width - 1e-9))
        profile[first : last + 1] += weight / (last + 1 - first)
    share = profile / profile.sum()
    poc = int(np.flatnonzero(np.isclose(share, share.max(), rtol=1e-9, atol=0))[0])
    inside = [poc]
    while share[inside].sum() < 0.7 - 1e-9:
        below, above = min(inside) - 1, max(inside) + 1
        fuller_above = above < bins and (below < 0 or share[above] > share[below] * (1 + 1e-9))
        inside.append(above if fuller_above else below)
    area_high, area_low = bottom + (max(inside) + 1) * width, bottom + min(inside) * width
    middles = np.arange(bins) + 0.5
    mean = share @ middles
    spread = math.sqrt(share @ (middles - mean) ** 2)
    at = min(math.floor((close - bottom) / width + 1e-9), bins - 1)
    true = np.maximum(bars.high[1:], bars.close[:-1]) - np.minimum(bars.low[1:], bars.close[:-1])
    unit = true[row - 24 : row].mean()
    return {
        "poc": np.clip((close - bottom - (poc + 0.5) * width) / unit, -50, 50),
        "area_high": np.clip((area_high - close) / unit, -50, 50),
        "area_low": np.clip((close - area_low) / unit, -50, 50),
        "pos": np.clip((close - area_low) / (area_high - area_low), -1, 2),
        "poc_place": (poc + 0.5) / bins,
        "entropy": entropy(share) / math.log(bins),
        "skew": share @ (middles - mean) ** 3 / spread**3,
        "spread": spread / bins,
        "at_close": share[at] / share[poc],
        "below": share[:at].sum() + share[at] * min(1.0, (close - bottom) / width - at),
    }


def check(bars: Bars, found: dict[str, np.ndarray], weights: np.ndarray) -> None:
    for window in (96, 288):
        for row in range(window - 1, len(bars), 41):
            for name, value in plain(bars, row, window, weights).items():
                got = found[f"vp_{name}_5m_{window}"][row]
                assert got == pytest.approx(value, rel=1e-6, abs=1e-7), (name, window, row)


def test_columns_follow_their_definition() -> None:
    check(BARS, FOUND, BARS.volume)


def test_where_volume_is_missing_every_bar_counts_the_same() -> None:
    without = replace(BARS, volume=np.full(len(BARS), np.nan))
    check(without, columns(without), np.ones(len(BARS)))
    nil = columns(replace(BARS, volume=np.zeros(len(BARS))))
    for name, values in columns(without).items():
        np.testing.assert_array_equal(nil[name], values)


def test_one_missing_volume_matters_to_the_windows_that_hold_it_only() -> None:
    volume = BARS.volume.copy()
    volume[400] = np.nan
    found = columns(replace(BARS, volume=volume))["vp_entropy_5m_96"]
    timed = columns(replace(BARS, volume=np.ones(len(BARS))))["vp_entropy_5m_96"]
    np.testing.assert_array_equal(found[400:496], timed[400:496])
    np.testing.assert_array_equal(
        np.delete(found, slice(400, 496)), np.delete(FOUND["vp_entropy_5m_96"], slice(400, 496))
    )


def test_a_profile_of_a_few_bars() -> None:
    # Ten bars: nine at 1.0..1.1 with little volume, one at 1.9..2.0 with most of it.
    base = Bars.of(CANDLES.take(slice(0, 10)))
    low = np.array([1.0] * 9 + [1.9])
    bars = replace(base, open=low, low=low, high=low + 0.1, close=low + 0.1, volume=np.array([1.0] * 9 + [91.0]))
    found = {k: v[-1] for k, v in columns(bars, windows=(10,), bins=10, period=2).items()}
    assert found["vp_poc_place_5m_10"] == pytest.approx(0.95)
    assert found["vp_pos_5m_10"] == pytest.approx(1.0)
    assert found["vp_at_close_5m_10"] == pytest.approx(1.0)
    assert found["vp_below_5m_10"] == pytest.approx(1.0)
    assert found["vp_entropy_5m_10"] == pytest.approx(entropy([0.09, 0.91]) / math.log(10))


def test_the_price_scale_does_not_matter() -> None:
    names = ("open", "high", "low", "close")
    scaled = columns(replace(BARS, **{name: getattr(BARS, name) * 137.0 for name in names}))
    for name, values in FOUND.items():
        np.testing.assert_allclose(scaled[name], values, rtol=1e-7, atol=1e-7, err_msg=name)


def test_flat_prices_give_finite_columns() -> None:
    still = np.full(400, 1.1)
    bars = replace(Bars.of(CANDLES.take(slice(0, 400))), open=still, high=still, low=still, close=still)
    last = {name.split("_5m")[0]: values[-1] for name, values in columns(bars).items()}
    assert last == {
        "vp_poc": 0.0, "vp_area_high": 0.0, "vp_area_low": 0.0, "vp_pos": 0.5, "vp_poc_place": 0.5, "vp_entropy": 0.0,
        "vp_skew": 0.0, "vp_spread": 0.0, "vp_at_close": 1.0, "vp_below": 0.5,
    }  # fmt: skip


def test_cutting_the_future_or_the_distant_past_off_changes_no_bit() -> None:
    for name, values in columns(Bars.of(CANDLES.take(slice(0, 640)))).items():
        np.testing.assert_array_equal(values, FOUND[name][:640], err_msg=name)
    for name, values in columns(Bars.of(CANDLES.take(slice(100, None)))).items():
        np.testing.assert_array_equal(values[300:], FOUND[name][400:], err_msg=name)
