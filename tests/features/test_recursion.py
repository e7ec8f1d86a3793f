"""More warm-up changes nothing that counts, or the column is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.features import registry
from fxgpt_core.features.bars import Bars
from fxgpt_core.features.checks.recursion import TOLERANCE, Known, change_in_deviations, check_recursion
from fxgpt_core.features.registry import Columns, Indicator
from fxgpt_core.features.rolling import ewma, rolling_mean
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.market.providers.simulator import simulate

LAYOUT = tuple(TIMEFRAMES[c] for c in ("1h", "4h"))
CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=3500, seed=3)
SPEC = FeatureSpec(groups=("ohlc",))


def plant(monkeypatch: pytest.MonkeyPatch, **half_lives: float) -> None:
    """Register columns whose memory fades with the given half-lives, in bars; `window` is a mean of 1000 bars."""

    def slow(bars: Bars) -> Columns:
        out = {(name,): ewma(bars.log_range, half_life) for name, half_life in half_lives.items() if half_life}
        return {
            **out,
            **{(name,): rolling_mean(bars.log_range, 1000) for name, value in half_lives.items() if not value},
        }

    known = {**registry.indicators(), "slow": Indicator("slow", "ohlc", "planted", slow, lambda p: 0)}
    monkeypatch.setattr(registry, "_INDICATORS", known)


def test_the_shipped_features_need_no_more_warm_up() -> None:
    report = check_recursion(CANDLES, LAYOUT, FeatureSpec(), sampled=2)
    assert report.passed, report.failing
    assert report.months == 2  # 4h bars are computed from the start of history anyway
    assert report.columns > 60
    assert "None of" in report.sentence


def test_a_long_memory_is_named_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, endless=400.0, brief=20.0)
    report = check_recursion(CANDLES, LAYOUT, SPEC, sampled=2)
    assert {found.column for found in report.found} == {"endless_1h"}
    found = report.found[0]
    assert 0.01 < found.size < 5
    assert found.rows > 300
    assert not report.passed
    assert "endless_1h" in report.sentence
    assert found.warm_up >= 1024


def test_the_size_is_that_of_the_largest_change(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, slow=60.0, slower=90.0)
    report = check_recursion(CANDLES, LAYOUT, SPEC, sampled=2)
    assert [found.column for found in report.found] == ["slower_1h", "slow_1h"]
    # What lies before the anchor weighs half as much every half-life; a month's first bar is 512 bars after it.
    ratio = report.found[0].size / report.found[1].size
    assert 0.5 < ratio / 2 ** (512 / 60 - 512 / 90) < 2


def test_what_is_declared_is_listed_and_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, endless=400.0)
    known = {"endless": Known("an average of years", 10.0)}
    report = check_recursion(CANDLES, LAYOUT, SPEC, sampled=2, known=known)
    assert report.passed
    assert report.found[0].reason == "an average of years"
    assert "1 that are known to" in report.sentence
    assert "an average of years" in report.found[0].sentence
    less = {"endless": replace(known["endless"], at_most=report.found[0].size / 2)}
    assert not check_recursion(CANDLES, LAYOUT, SPEC, sampled=2, known=less).passed  # more than what is known of it


def test_a_window_longer_than_the_warm_up_is_undefined_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, window=0.0)
    report = check_recursion(CANDLES, LAYOUT, SPEC, sampled=1)
    assert [found.column for found in report.failing] == ["window_1h"]
    assert report.found[0].size == np.inf
    assert "undefined" in report.found[0].sentence


def test_short_history_is_said_not_judged() -> None:
    report = check_recursion(CANDLES.take(slice(0, 900)), LAYOUT, SPEC)
    assert report.passed
    assert report.months == 0
    assert report.skipped == ("1h",)
    assert "too little history" in report.sentence


def test_changes_are_measured_in_deviations() -> None:
    rng = np.random.default_rng(0)
    right = rng.normal(0, 2, (500, 5)).astype(np.float32)
    right[:, 3] = 5.0
    left = right.copy()
    left[7, 0] += 1.0
    left[8, 1] = np.nan
    left[:, 2] = np.nextafter(left[:, 2], np.float32(np.inf))
    left[9, 3] = 5.5
    right[3, 4] = left[3, 4] = np.nan
    out = change_in_deviations(left, right)
    assert out[7, 0] == pytest.approx(0.5, rel=0.1)
    assert (np.delete(out[:, 0], 7) == 0).all()
    assert out[8, 1] == np.inf
    assert (out[:, 2] == 0).all()  # the last bit of a float32
    assert out[9, 3] == pytest.approx(0.1)  # what does not vary is measured against its size
    assert (out[:, 4] == 0).all()
    assert TOLERANCE == 1e-6
