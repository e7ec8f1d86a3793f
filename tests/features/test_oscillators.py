"""Oscillators against their formulas in pandas; flat prices, scale, cut futures and forgotten pasts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fxgpt_core.features.bars import Bars
from fxgpt_core.features.registry import indicators
from fxgpt_core.market.providers.simulator import simulate

CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=900, seed=21)
BARS = Bars.of(CANDLES)
FRAME = CANDLES.to_frame()
OPEN, HIGH, LOW, CLOSE = (FRAME[name] for name in ("open", "high", "low", "close"))
CHANGE = CLOSE.diff()
TYPICAL, MIDDLE = (HIGH + LOW + CLOSE) / 3, (HIGH + LOW) / 2
SETTLED = slice(500, None)


def columns(bars: Bars) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    for indicator in indicators().values():
        if indicator.group == "oscillators":
            out |= indicator.compute(bars, indicator.resolved({}))
    return out


FOUND = columns(BARS)


def ema(values: pd.Series, period: int) -> pd.Series:
    return values.ewm(span=period, adjust=False).mean()


def wilder(values: pd.Series, period: int) -> pd.Series:
    return values.ewm(alpha=1 / period, adjust=False).mean()


def rsi(values: pd.Series, period: int) -> pd.Series:
    change = values.diff()
    return 100 * wilder(change.clip(lower=0), period) / wilder(change.abs(), period)


def place(values: pd.Series, low: pd.Series, high: pd.Series, window: int) -> pd.Series:
    lowest, highest = low.rolling(window).min(), high.rolling(window).max()
    return 100 * (values - lowest) / (highest - lowest)


def true_range() -> pd.Series:
    before = CLOSE.shift()
    return np.maximum(HIGH, before) - np.minimum(LOW, before)


UNIT = true_range().rolling(24).mean()


def streaks() -> pd.Series:
    out = [0]
    for step in CHANGE[1:]:
        run = out[-1]
        out.append(max(run, 0) + 1 if step > 0 else min(run, 0) - 1 if step < 0 else 0)
    return pd.Series(out, index=CLOSE.index)


def crsi() -> pd.Series:
    returns = np.log(CLOSE).diff()
    rank = returns.rolling(101).apply(lambda w: 100 * (w[:-1] < w[-1]).mean(), raw=True)
    return (rsi(CLOSE, 3) + rsi(streaks(), 2) + rank) / 3


def cci(window: int) -> pd.Series:
    mean = TYPICAL.rolling(window).mean()
    away = TYPICAL.rolling(window).apply(lambda w: np.abs(w - w.mean()).mean(), raw=True)
    return ((TYPICAL - mean) / (0.015 * away)).clip(-500, 500)


def ultimate() -> pd.Series:
    pressure = CLOSE - np.minimum(LOW, CLOSE.shift())
    parts = [pressure.rolling(n).sum() / true_range().rolling(n).sum() for n in (7, 14, 28)]
    return 100 * (4 * parts[0] + 2 * parts[1] + parts[2]) / 7


def aroon(values: pd.Series, window: int, best: str) -> pd.Series:
    def since(recent: np.ndarray) -> float:
        return float(getattr(np, best)(recent[::-1]))

    return 100 * (window - values.rolling(window + 1).apply(since, raw=True)) / window


def kdj() -> pd.Series:
    k = wilder(place(CLOSE, LOW, HIGH, 9).dropna(), 3)
    return (3 * k - 2 * wilder(k, 3)).reindex(CLOSE.index)


def cmo(window: int) -> pd.Series:
    return 100 * CHANGE.rolling(window).sum() / CHANGE.abs().rolling(window).sum()


def imi(window: int) -> pd.Series:
    body = CLOSE - OPEN
    return 100 * body.clip(lower=0).rolling(window).sum() / body.abs().rolling(window).sum()


def rvi() -> pd.Series:
    deviation = CLOSE.rolling(10).std(ddof=0)
    return 100 * wilder(deviation.where(CHANGE > 0, 0.0), 14) / wilder(deviation.where(CHANGE != 0, 0.0), 14)


def mass() -> pd.Series:
    average = ema(HIGH - LOW, 9)
    return (average / ema(average, 9)).rolling(25).sum() / 25 - 1


def trix() -> pd.Series:
    triple = ema(ema(ema(CLOSE, 12), 12), 12)
    return triple.pct_change() * CLOSE


def tsi() -> pd.Series:
    return 100 * ema(ema(CHANGE[1:], 40), 20) / ema(ema(CHANGE[1:].abs(), 40), 20)


def smi() -> pd.Series:
    highest, lowest = HIGH.rolling(40).max(), LOW.rolling(40).min()
    away, half = (CLOSE - (highest + lowest) / 2).dropna(), ((highest - lowest) / 2).dropna()
    return (100 * ema(ema(away, 3), 3) / ema(ema(half, 3), 3)).reindex(CLOSE.index)


def ao() -> pd.Series:
    return MIDDLE.rolling(5).mean() - MIDDLE.rolling(34).mean()


def less_mean(values: pd.Series, window: int) -> pd.Series:
    return values - values.rolling(window).mean()


EXPECTED = {
    "rsi_1h_14": rsi(CLOSE, 14),
    "rsi_fast_1h_4": rsi(CLOSE, 4),
    "rsi_slow_1h_28": rsi(CLOSE, 28),
    "rsi_change_1h_14_5": rsi(CLOSE, 14).diff(5),
    "stochrsi_1h_14_14": place(rsi(CLOSE, 14), rsi(CLOSE, 14), rsi(CLOSE, 14), 14),
    "stochrsi_1h_14_60": place(rsi(CLOSE, 14), rsi(CLOSE, 14), rsi(CLOSE, 14), 60),
    "streak_rsi_1h_2": rsi(streaks(), 2),
    "crsi_1h_3_2_100": crsi(),
    "stoch_k_1h_14_3": place(CLOSE, LOW, HIGH, 14).rolling(3).mean(),
    "stoch_d_1h_14_3_3": place(CLOSE, LOW, HIGH, 14).rolling(3).mean().rolling(3).mean(),
    "kdj_j_1h_9_3": kdj(),
    "cci_1h_14": cci(14),
    "cci_1h_60": cci(60),
    "willr_1h_14": place(CLOSE, LOW, HIGH, 14) - 100,
    "ultosc_1h_7_14_28": ultimate(),
    "aroon_up_1h_25": aroon(HIGH, 25, "argmax"),
    "aroon_down_1h_25": aroon(LOW, 25, "argmin"),
    "aroon_osc_1h_100": aroon(HIGH, 100, "argmax") - aroon(LOW, 100, "argmin"),
    "cmo_1h_8": cmo(8),
    "cmo_1h_40": cmo(40),
    "imi_1h_80": imi(80),
    "bop_1h_14": ((CLOSE - OPEN) / (HIGH - LOW)).rolling(14).mean(),
    "rvi_1h_14_10": rvi(),
    "mass_1h_9_25": mass(),
    "roc_1h_2": CLOSE.diff(2) / 2**0.5 / UNIT,
    "roc_1h_12": CLOSE.diff(12) / 12**0.5 / UNIT,
    "roc_1h_60": CLOSE.diff(60) / 60**0.5 / UNIT,
    "trix_1h_12": trix() / UNIT,
    "trix_hist_1h_12_9": less_mean(trix(), 9) / UNIT,
    "ao_1h_5_34": ao() / UNIT,
    "ac_1h_5_34_5": less_mean(ao(), 5) / UNIT,
    "tsi_1h_40_20": tsi(),
    "tsi_hist_1h_40_20_10": less_mean(tsi(), 10),
    "smi_1h_40_3_3": smi(),
}


def test_every_column_has_a_second_source() -> None:
    assert set(FOUND) == {*EXPECTED, "fisher_1h_10", "fisher_change_1h_10"}


@pytest.mark.parametrize("name", EXPECTED)
def test_columns_follow_their_formulas(name: str) -> None:
    spread = float(np.nanstd(EXPECTED[name]))
    expected = EXPECTED[name].reindex(CLOSE.index).to_numpy()
    np.testing.assert_allclose(FOUND[name][SETTLED], expected[SETTLED], rtol=0, atol=2e-6 * spread)


def test_the_fisher_transform_follows_its_recursion() -> None:
    x = fisher = before = 0.0
    for row in range(9, 900):
        recent = MIDDLE[row - 9 : row + 1]
        where = (MIDDLE.iloc[row] - recent.min()) / (recent.max() - recent.min())
        x = 0.66 * (where - 0.5) + 0.67 * x
        cut = max(-0.999, min(0.999, x))
        before, fisher = fisher, 0.5 * np.log((1 + cut) / (1 - cut)) + 0.5 * fisher
        assert FOUND["fisher_1h_10"][row] == pytest.approx(fisher, abs=1e-9)
    assert FOUND["fisher_change_1h_10"][-1] == pytest.approx(fisher - before, abs=1e-9)


def test_bounded_columns_keep_their_bounds() -> None:
    whole = {"rsi", "rsi_fast", "rsi_slow", "stochrsi", "streak_rsi", "crsi", "stoch_k", "stoch_d"} | {
        "ultosc",
        "rvi",
        "imi",
    }
    sides = {"cmo": 100, "tsi": 100, "smi": 100, "aroon_osc": 100, "bop": 1, "cci": 500}
    for name, values in FOUND.items():
        stem = name.split("_1h")[0]
        if stem in whole:
            assert np.nanmin(values) >= -1e-9, name
            assert np.nanmax(values) <= 100 + 1e-9, name
        elif stem in sides:
            assert np.nanmax(np.abs(values)) <= sides[stem] + 1e-9, name


def test_a_market_that_stands_still_gives_neutral_values() -> None:
    still = np.full(400, 1.1)
    bars = replace(Bars.of(CANDLES.take(slice(0, 400))), open=still, high=still, low=still, close=still)
    neutral = {"rsi", "rsi_fast", "rsi_slow", "stochrsi", "streak_rsi", "stoch_k", "stoch_d", "imi", "rvi"}
    documented = {"willr": -50.0, "crsi": 100 / 3, "aroon_up": 100.0, "aroon_down": 100.0}
    for name, values in columns(bars).items():
        stem = name.split("_1h")[0]
        expected = 50.0 if stem in neutral else documented.get(stem, 0.0)
        assert values[-1] == pytest.approx(expected), name
        assert not np.isinf(values).any(), name


def test_a_market_that_stops_is_not_divided_by_rounding() -> None:
    prices = {name: np.r_[getattr(BARS, name)[:400], np.full(200, BARS.close[399])] for name in ("open", "high", "low", "close")}  # fmt: skip  # noqa: E501
    found = columns(replace(Bars.of(CANDLES.take(slice(0, 600))), **prices))
    for stem, expected in (("cmo_1h_40", 0.0), ("cci_1h_60", 0.0), ("stochrsi_1h_14_60", 50.0), ("imi_1h_80", 50.0)):
        np.testing.assert_array_equal(found[stem][-40:], expected, err_msg=stem)


def test_the_price_scale_does_not_matter() -> None:
    names = ("open", "high", "low", "close")
    scaled = columns(replace(BARS, **{name: getattr(BARS, name) * 137.0 for name in names}))
    for name, values in FOUND.items():
        np.testing.assert_allclose(scaled[name], values, rtol=1e-6, atol=1e-6, err_msg=name)


def test_cutting_the_future_or_the_distant_past_off_changes_nothing() -> None:
    for name, values in columns(Bars.of(CANDLES.take(slice(0, 640)))).items():
        np.testing.assert_array_equal(values, FOUND[name][:640], err_msg=name)
    for name, values in columns(Bars.of(CANDLES.take(slice(300, None)))).items():
        spread = np.nanstd(FOUND[name])
        np.testing.assert_allclose(values[512:], FOUND[name][812:], rtol=0, atol=1e-6 * spread, err_msg=name)
