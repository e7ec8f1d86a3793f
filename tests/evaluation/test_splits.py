"""Splits never let a label's life reach into what it is judged on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.evaluation.split_config import WalkForwardConfig
from fxgpt_core.evaluation.splits import final_split, walk_forward
from fxgpt_core.features.dataset import Dataset, Split
from fxgpt_core.features.table import FeatureTable
from fxgpt_core.features.targets import make_labels
from fxgpt_core.market.candles import Candles

HOUR = np.timedelta64(3600 * 10**9, "ns")
DAY = 24 * HOUR
HORIZONS = (60, 240, 1440)


def make_dataset(bars: int = 2500, warm_up: int = 100, horizons: tuple[int, ...] = HORIZONS) -> Dataset:
    """Hourly bars of an open market, with weekends cut out."""
    stamps = np.datetime64("2020-01-06T00:00", "ns") + np.arange(2 * bars) * HOUR
    hour_of_week = (stamps.astype("datetime64[h]").astype(int) - 4 * 24) % 168  # 0 = Monday 00:00
    stamps = stamps[hour_of_week < 5 * 24 - 2][:bars]
    rng = np.random.default_rng(1)
    close = np.exp(rng.normal(0, 1e-3, bars).cumsum())
    nothing = np.full(bars, np.nan)
    candles = Candles(
        "EURUSD", timeframe("1h"), "mid", stamps, close, close * 1.001, close * 0.999, close, nothing, nothing
    )
    labels = make_labels(candles, horizons)
    yardstick = np.full((bars, len(horizons)), 1e-3)
    yardstick[:warm_up] = np.nan
    table = FeatureTable(
        timeframe("1h"), stamps, candles.known_at, ("zero",), np.zeros((bars, 1), dtype=np.float32), "hash"
    )
    return Dataset(
        symbol="EURUSD",
        candles=candles,
        timeframes=(timeframe("1h"),),
        horizons=horizons,
        tables={"1h": table},
        last_known=np.arange(bars)[:, None],
        yardstick=yardstick,
        targets=labels.log_return / yardstick,
        label_end=labels.label_end,
        mask=labels.mask & np.isfinite(yardstick),
        definition_hash="hash",
    )


DATASET = make_dataset()

configs = st.builds(
    WalkForwardConfig,
    first_train=st.floats(0.3, 0.7),
    folds=st.integers(1, 8),
    mode=st.sampled_from(["expanding", "rolling"]),
    embargo_days=st.floats(0, 5),
    purge_days=st.floats(0, 3),
    validation_share=st.floats(0, 0.4),
    min_train_rows=st.just(1),
)


def assert_purged(dataset: Dataset, split: Split, config: WalkForwardConfig) -> None:
    for column in range(len(dataset.horizons)):
        ends = dataset.label_end[:, column]
        used = split.train[:, column] | split.validation[:, column]
        assert (ends[used] <= split.trained_until).all()
        assert np.isfinite(dataset.targets[used, column]).all()
        if split.validation.any():
            first = dataset.known_at[split.validation.any(axis=1)].min()
            gap = np.timedelta64(round(config.purge_days * 86400), "s")
            assert (ends[split.train[:, column]] + gap <= first + np.timedelta64(1, "s")).all()
            assert (dataset.known_at[split.train[:, column]] < first).all()


@settings(max_examples=40, deadline=None)
@given(configs)
def test_no_training_label_lives_into_its_test_span_or_validation_part(config: WalkForwardConfig) -> None:
    for split in walk_forward(DATASET, config):
        assert_purged(DATASET, split, config)
        first_test = DATASET.known_at[split.test].min()
        embargo = np.timedelta64(round(config.embargo_days * 86400), "s")
        assert abs((first_test - embargo) - split.trained_until) <= np.timedelta64(1, "s")


@settings(max_examples=20, deadline=None)
@given(configs)
def test_folds_follow_each_other_and_cover_the_rest_once(config: WalkForwardConfig) -> None:
    splits = walk_forward(DATASET, config)
    tested = np.sum([split.test for split in splits], axis=0)
    usable = np.flatnonzero(DATASET.usable)
    np.testing.assert_array_equal(np.flatnonzero(tested), usable[int(len(usable) * config.first_train) :])
    assert tested.max() == 1
    starts = [np.flatnonzero(split.test)[0] for split in splits]
    assert starts == sorted(starts)


def test_rolling_mode_forgets_the_oldest_labels_and_expanding_does_not() -> None:
    rolling = walk_forward(DATASET, WalkForwardConfig(mode="rolling"))[-1]
    expanding = walk_forward(DATASET, WalkForwardConfig())[-1]
    assert np.flatnonzero(expanding.train.any(axis=1))[0] == 100
    assert np.flatnonzero(rolling.train.any(axis=1))[0] > 1000


def test_validation_is_the_asked_share_of_the_training_rows() -> None:
    split = walk_forward(DATASET, WalkForwardConfig())[0]
    rows = (split.train | split.validation).any(axis=1)
    held = split.validation.any(axis=1).sum()
    assert held / rows.sum() == pytest.approx(0.15, abs=0.02)


@settings(max_examples=20, deadline=None)
@given(configs)
def test_final_split_uses_the_last_known_label_and_tests_nothing(config: WalkForwardConfig) -> None:
    split = final_split(DATASET, config)
    assert_purged(DATASET, split, config)
    assert not split.test.any()
    assert split.trained_until == DATASET.label_end[DATASET.mask].max()
    assert split.trained_until <= DATASET.known_at[-1]


def test_too_little_history_is_refused_with_the_numbers() -> None:
    with pytest.raises(DataError, match=r"fewer than min_train_rows = 5000"):
        walk_forward(DATASET, WalkForwardConfig(min_train_rows=5000))
    with pytest.raises(DataError, match="folds"):
        walk_forward(make_dataset(bars=110), WalkForwardConfig(folds=20, first_train=0.5))
