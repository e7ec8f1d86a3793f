"""Columns between timeframes against pandas on what was known, never the running bar."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.features.alignment import last_known
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.bars import Bars, SlowerBars, Surroundings
from fxgpt_core.features.blocks import compute_block, compute_table, months
from fxgpt_core.features.registry import indicators
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_core.market.resampling import resample

CANDLES = simulate("EURUSD", "15m", start=np.datetime64("2024-01-03T00:00", "ns"), bars=4200, seed=8)
SLOWER = {code: resample(CANDLES, TIMEFRAMES[code]) for code in ("1h", "4h")}
SPEC = FeatureSpec(groups=("cross",))


def columns(candles: Candles, slower: dict[str, Candles]) -> dict[str, np.ndarray]:
    joined = tuple(SlowerBars(Bars.of(c), last_known(candles.known_at, c.known_at)) for c in slower.values())
    found = indicators()["cross_timeframe"]
    return found.compute(Bars.of(candles, joined), found.resolved({}))


FOUND = columns(CANDLES, SLOWER)


def rolled(frame: pd.DataFrame) -> pd.DataFrame:
    step = np.log(frame["close"]).diff()
    energy = (step**2).rolling(20).sum()
    return frame.assign(
        rms=np.sqrt(energy / 20),
        trend=step.rolling(20).sum() / np.sqrt(energy),
        rsi=100 * step.clip(lower=0).rolling(14).sum() / step.abs().rolling(14).sum(),
    )


@pytest.mark.parametrize(("code", "ratio"), [("1h", 4), ("4h", 16)])
def test_columns_agree_with_an_asof_join_in_pandas(code: str, ratio: int) -> None:
    def known(candles: Candles) -> pd.DataFrame:
        frame = pd.DataFrame({n: getattr(candles, n) for n in ("high", "low", "close")})
        return rolled(frame).assign(known_at=candles.known_at)

    both = pd.merge_asof(known(CANDLES), known(SLOWER[code]), on="known_at", suffixes=("", "_slow"))
    product = both["trend"] * both["trend_slow"]
    expected = {
        "dist": (np.log(both["close"] / both["close_slow"]) / both["rms_slow"]).clip(-10, 10),
        "pos": ((both["close"] - both["low_slow"]) / (both["high_slow"] - both["low_slow"])).clip(-1, 2),
        "vol": np.log(both["rms"] * np.sqrt(ratio) / both["rms_slow"]),
        "mom": both["trend_slow"] - both["trend"],
        "agree": product / (1 + product.abs()),
        "rsi": both["rsi_slow"] - both["rsi"],
    }
    for name, values in expected.items():
        got = FOUND[f"cross_{name}_15m_{code}_{14 if name == 'rsi' else 20}"]
        np.testing.assert_allclose(got, values, rtol=1e-7, atol=1e-9, err_msg=name)
        assert np.isfinite(got[21 * ratio :]).all()


def test_the_running_slower_bar_is_not_seen() -> None:
    row = int(
        np.flatnonzero(CANDLES.known_at == np.datetime64("2024-01-17T10:45"))[0]
    )  # the bar 10:00-11:00 is running
    high = CANDLES.high.copy()
    high[row - 1] *= 1.01  # inside the running hour
    moved = replace(CANDLES, high=high)
    changed = columns(CANDLES, {"1h": resample(moved, TIMEFRAMES["1h"])})
    for name, values in changed.items():
        np.testing.assert_array_equal(values[: row + 1], FOUND[name][: row + 1])
    assert changed["cross_pos_15m_1h_20"][row + 1] < FOUND["cross_pos_15m_1h_20"][row + 1]  # 11:00: it has closed


def test_without_slower_timeframes_there_are_no_columns() -> None:
    assert columns(CANDLES, {}) == {}
    tables = build_dataset(CANDLES, [TIMEFRAMES[c] for c in ("15m", "1h", "4h")], (60,), SPEC).tables
    assert [len(table.names) for table in tables.values()] == [12, 6, 0]


def test_a_month_alone_equals_the_month_cut_from_the_whole() -> None:
    whole = compute_table(CANDLES, SPEC, Surroundings(SLOWER))
    for month, rows in months(CANDLES):
        alone = compute_block(CANDLES, month, SPEC, Surroundings(SLOWER))
        np.testing.assert_array_equal(alone.values, whole.values[rows])
    free = columns(CANDLES, SLOWER)  # from the start of history: the anchor does not matter
    np.testing.assert_allclose(whole.values, np.stack(list(free.values()), axis=1), rtol=1e-6, atol=1e-7)


def test_the_price_scale_does_not_matter_and_flat_prices_are_finite() -> None:
    def scaled(candles: Candles, factor: float) -> Candles:
        return replace(candles, **{n: getattr(candles, n) * factor for n in ("open", "high", "low", "close")})

    other = columns(scaled(CANDLES, 137.0), {code: scaled(c, 137.0) for code, c in SLOWER.items()})
    for name, values in FOUND.items():
        np.testing.assert_allclose(other[name], values, rtol=1e-7, atol=1e-9, err_msg=name)
    still = np.full(len(CANDLES), 1.1)
    flat = replace(CANDLES, open=still, high=still, low=still, close=still)
    found = columns(flat, {"1h": resample(flat, TIMEFRAMES["1h"])})
    assert {name.split("_")[1]: values[-1] for name, values in found.items()} == {
        "dist": 0.0, "pos": 0.5, "vol": pytest.approx(np.log(2.0)), "mom": 0.0, "agree": 0.0, "rsi": 0.0,
    }  # fmt: skip
