"""Formulas against second sources, and independence of the price level."""

import math

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st

from fxgpt_core.common.errors import ConfigError
from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.features.bars import Bars
from fxgpt_core.features.registry import feature, indicators
from fxgpt_core.features.rolling import ewma, rolling_mean, rolling_std, rolling_sum
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate

CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=700, seed=4)
BARS = Bars.of(CANDLES)
FRAME = CANDLES.to_frame()


def column(name: str, indicator: str, **parameters: object) -> np.ndarray:
    found = indicators()[indicator]
    return found.compute(BARS, found.resolved(parameters))[name]


@given(st.integers(1, 60), st.integers(1, 80))
def test_rolling_sums_equal_the_plain_definition(window: int, count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    expected = pd.Series(values).rolling(window).sum().to_numpy()
    np.testing.assert_allclose(rolling_sum(values, window), expected, rtol=1e-12, atol=1e-12)


def test_rolling_moments_and_ewma_agree_with_pandas() -> None:
    series = FRAME["close"]
    np.testing.assert_allclose(rolling_mean(BARS.close, 20), series.rolling(20).mean())
    np.testing.assert_allclose(rolling_std(BARS.close, 20), series.rolling(20).std(ddof=0), atol=1e-9)
    np.testing.assert_allclose(ewma(BARS.close, 5.0), series.ewm(halflife=5, adjust=True).mean())


def test_a_rolling_sum_does_not_depend_on_where_it_starts() -> None:
    values = np.random.default_rng(0).normal(size=300)
    np.testing.assert_array_equal(rolling_sum(values, 37)[200:], rolling_sum(values[123:], 37)[77:])


def test_range_estimators_follow_their_formulas() -> None:
    high, low, open_, close = (FRAME[n].to_numpy()[-20:] for n in ("high", "low", "open", "close"))
    before = FRAME["close"].to_numpy()[-21:-1]
    u, d, c, gap = np.log(high / open_), np.log(low / open_), np.log(close / open_), np.log(open_ / before)
    parkinson = np.sqrt(np.mean((u - d) ** 2) / (4 * math.log(2)))
    rogers = np.mean(u * (u - c) + d * (d - c))
    k = 0.34 / (1.34 + 21 / 19)
    yang_zhang = np.sqrt(gap.var(ddof=1) + k * c.var(ddof=1) + (1 - k) * rogers)
    garman = np.sqrt(np.mean(0.5 * (u - d) ** 2 - (2 * math.log(2) - 1) * c**2))
    assert column("vol_parkinson_1h_20", "parkinson", window=20)[-1] == pytest.approx(parkinson)
    assert column("vol_gk_1h_20", "garman_klass", window=20)[-1] == pytest.approx(garman)
    ratio = column("est_rs_gk_1h_20", "estimators", windows=(20,))[-1]
    assert ratio == pytest.approx(np.log(np.sqrt(rogers) / garman))
    assert column("vol_yz_1h_20", "yang_zhang")[-1] == pytest.approx(yang_zhang)


def test_oscillators_agree_with_their_definitions_in_pandas() -> None:
    change = FRAME["close"].diff()
    gain, loss = change.clip(lower=0), -change.clip(upper=0)
    up, down = (x.ewm(alpha=1 / 14, adjust=False).mean() for x in (gain, loss))
    np.testing.assert_allclose(column("rsi_1h_14", "rsi")[-100:], (100 - 100 / (1 + up / down))[-100:], atol=1e-4)
    low, high = FRAME["low"].rolling(14).min(), FRAME["high"].rolling(14).max()
    np.testing.assert_allclose(
        column("willr_1h_14", "williams_r")[13:], (-100 * (high - FRAME["close"]) / (high - low))[13:], atol=1e-6
    )
    middle, spread = FRAME["close"].rolling(20).mean(), FRAME["close"].rolling(20).std(ddof=0)
    upper = (middle + 2 * spread) / FRAME["close"] - 1
    np.testing.assert_allclose(column("bb_h_1h_20_2.0", "bollinger")[19:], upper[19:], atol=1e-9)
    np.testing.assert_allclose(column("atr_1h_14", "atr"), talib.ATR(BARS.high, BARS.low, BARS.close) / BARS.close)


def test_every_column_is_independent_of_the_price_level() -> None:
    prices = {n: getattr(CANDLES, n) * 128.0 for n in ("open", "high", "low", "close", "spread")}
    scaled = Candles("EURUSD", CANDLES.timeframe, "mid", CANDLES.ts_utc, **prices, volume=CANDLES.volume)
    for indicator, parameters in FeatureSpec().chosen(TIMEFRAMES["1h"]):
        both = (BARS, Bars.of(scaled))
        left, right = (indicator.compute(b, parameters, indicator.learn(b, parameters)) for b in both)
        for name in left:
            np.testing.assert_allclose(right[name], left[name], rtol=1e-5, atol=1e-4, err_msg=name)


def test_a_market_that_stands_still_gives_no_infinities() -> None:
    ones = np.ones(400)
    still = Candles("EURUSD", CANDLES.timeframe, "mid", CANDLES.ts_utc[:400], ones, ones, ones, ones, ones * 0, ones)
    for indicator, parameters in FeatureSpec().chosen(TIMEFRAMES["1h"]):
        state = indicator.learn(Bars.of(still), parameters)
        for name, values in indicator.compute(Bars.of(still), parameters, state).items():
            assert not np.isinf(values).any(), name
            if "releases" not in indicator.reads and (indicator.fit is None or state is not None):
                assert np.isfinite(values[-1]), name


def test_missing_volume_gives_missing_columns() -> None:
    silent = Candles(*(getattr(CANDLES, n) for n in ("symbol", "timeframe", "side", "ts_utc", "open", "high", "low", "close")), volume=np.full(700, np.nan), spread=CANDLES.spread)  # fmt: skip  # noqa: E501
    found = indicators()["relative_volume"]
    assert np.isnan(found.compute(Bars.of(silent), found.resolved({}))["vol_rel_1h_20"]).all()


def test_every_indicator_names_its_source_and_group() -> None:
    for indicator in indicators().values():
        assert indicator.source
        assert indicator.group.isidentifier()
        assert indicator.function.__doc__


def test_two_indicators_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="registered twice"):
        feature("rsi", group="oscillators", source="x", warm_up=lambda p: 0)(lambda bars: {})


@pytest.mark.parametrize("group", ["oscillators", "trend", "channels", "patterns", "money_flow"])
def test_warm_up_holds_for_other_parameters_too(group: str) -> None:
    generator = np.random.default_rng(0)
    for indicator in (i for i in indicators().values() if i.group == group):
        for _ in range(4):
            chosen = {}
            for name, parameter in indicator.parameters.items():
                if parameter.whole:
                    count = len(parameter.default) if isinstance(parameter.default, tuple) else 1
                    drawn = generator.integers(parameter.low, parameter.high + 1, count).tolist()
                    chosen[name] = tuple(set(drawn)) if isinstance(parameter.default, tuple) else drawn[0]
            resolved = indicator.resolved(chosen)
            found = np.column_stack(list(indicator.compute(BARS, resolved).values()))
            defined, first = np.isfinite(found).all(axis=1), indicator.warm_up(resolved)
            assert defined[first:].all(), (indicator.name, resolved)
            assert not defined[:first].any(), (indicator.name, resolved)
