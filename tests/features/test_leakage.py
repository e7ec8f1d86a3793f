"""The leakage check passes what is clean and catches what looks ahead."""

from dataclasses import replace

import numpy as np
import pytest

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.features import registry
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.bars import Bars
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.leakage import check_leakage, cut_points
from fxgpt_core.features.registry import Indicator
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate

LAYOUT = tuple(TIMEFRAMES[c] for c in ("1h", "4h", "1d"))
HORIZONS = (60, 240)
CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=1500, seed=3)
SPEC = FeatureSpec(groups=("ohlc", "volatility"))


def test_the_shipped_features_do_not_leak() -> None:
    report = check_leakage(CANDLES, LAYOUT, HORIZONS, FeatureSpec(), cuts=9, seed=1)
    assert report.passed, report.leaking
    assert report.cuts == 9
    assert report.columns > 120
    assert "None of" in report.sentence


def test_a_slower_bar_joined_on_its_open_is_caught() -> None:
    def leaky(candles: Candles) -> Dataset:
        clean = build_dataset(candles, LAYOUT, HORIZONS, SPEC)
        opened = [np.searchsorted(t.ts_utc, clean.candles.ts_utc, side="right") - 1 for t in clean.tables.values()]
        return replace(clean, last_known=np.stack(opened, axis=1))

    leaking = check_leakage(CANDLES, LAYOUT, HORIZONS, SPEC, cuts=4, build=leaky).leaking
    assert {"join_4h", "join_1d"} <= set(leaking)


def test_a_centred_window_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def centred(bars: Bars) -> dict[tuple[str], np.ndarray]:
        values = np.convolve(bars.close, np.ones(5) / 5, mode="same") / bars.close
        return {("centred",): values}

    known = dict(registry.indicators())
    known["centred"] = Indicator("centred", "ohlc", "a mean over two bars to come", centred, lambda p: 0)
    monkeypatch.setattr(registry, "_INDICATORS", known)
    report = check_leakage(CANDLES, LAYOUT, HORIZONS, SPEC, cuts=4)
    leaking = report.leaking
    assert "centred_1h" in leaking
    assert "close_open_1h" not in leaking
    assert not report.passed
    assert "centred_1h" in report.sentence


def test_a_seasonality_of_the_whole_sample_is_caught() -> None:
    def leaky(candles: Candles) -> Dataset:
        clean = build_dataset(candles, LAYOUT, HORIZONS, SPEC)
        hour = (clean.known_at.astype("datetime64[h]").astype(np.int64)) % 24
        size = np.abs(np.diff(np.log(candles.close), prepend=np.log(candles.close[0])))
        shape = np.array([size[hour == h].mean() for h in range(24)]) / size.mean()
        return replace(clean, yardstick=clean.yardstick * shape[hour][:, None])

    leaking = check_leakage(CANDLES, LAYOUT, HORIZONS, SPEC, cuts=4, build=leaky).leaking
    assert {"yardstick_60", "yardstick_240"} <= set(leaking)


def test_a_fill_from_behind_is_caught() -> None:
    def leaky(candles: Candles) -> Dataset:
        clean = build_dataset(candles, LAYOUT, HORIZONS, SPEC)
        table = clean.tables["1h"]
        shifted = replace(table, values=np.concatenate([table.values[1:], table.values[-1:]]))
        return replace(clean, tables={**clean.tables, "1h": shifted})

    assert "close_close_1h" in check_leakage(CANDLES, LAYOUT, HORIZONS, SPEC, cuts=3, build=leaky).leaking


def test_cuts_cover_month_ends_and_weekends() -> None:
    cuts = np.array(cut_points(CANDLES, 30, seed=0))
    index = np.searchsorted(CANDLES.known_at, cuts)
    steps = CANDLES.known_at[index + 1] - cuts
    assert (steps > np.timedelta64(1, "D")).any()  # a weekend follows the cut
    assert len(set(cuts)) == 30


def test_too_little_history_is_refused() -> None:
    with pytest.raises(BadInputError, match="50 bars"):
        check_leakage(CANDLES.take(slice(0, 20)), LAYOUT, HORIZONS, SPEC)
