"""Walk-forward splits never let a label's life reach into what it is judged on, and their edges stay."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fxgpt_core.common.errors import DataError
from fxgpt_core.evaluation.fold_edges import folds_by_month, folds_by_share, rung
from fxgpt_core.evaluation.split_config import WalkForwardConfig
from fxgpt_core.evaluation.splits import final_split, walk_forward
from fxgpt_core.features.dataset import Dataset, Split
from tests.evaluation.split_data import DAY, datasets, make_dataset

DATASET = make_dataset()

configs = st.builds(
    WalkForwardConfig,
    spans=st.sampled_from(["share", "calendar"]),
    first_train=st.floats(0.3, 0.7),
    folds=st.integers(1, 8),
    mode=st.sampled_from(["expanding", "rolling"]),
    train_months=st.integers(1, 2),
    test_months=st.just(1),
    last_folds=st.integers(2, 4),
    least_folds=st.integers(1, 2),
    embargo_days=st.floats(0, 5),
    purge_days=st.floats(0, 3),
    validation_share=st.floats(0, 0.4),
    min_train_rows=st.just(1),
)


def days(count: float) -> np.timedelta64:
    return np.timedelta64(round(count * 86400 * 10**9), "ns")


def splits_of(dataset: Dataset, config: WalkForwardConfig) -> list[Split]:
    """Splits of a random dataset, which may have too little history for some configurations."""
    try:
        return walk_forward(dataset, config)
    except DataError:
        assume(False)
        raise


def lives(dataset: Dataset, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Begin and end of the life of every chosen label."""
    rows, columns = np.nonzero(labels)
    return dataset.known_at[rows], dataset.label_end[rows, columns]


def assert_validation_is_purged(dataset: Dataset, split: Split, purge_days: float) -> None:
    if not split.validation.any():
        return
    first = dataset.known_at[split.validation.any(axis=1)].min()
    begins, ends = lives(dataset, split.train)
    assert (begins < first).all()
    assert (ends + days(purge_days) <= first).all()


@settings(max_examples=40, deadline=None)
@given(datasets, configs)
def test_no_training_label_lives_into_its_test_span_or_validation_part(
    dataset: Dataset, config: WalkForwardConfig
) -> None:
    for split in splits_of(dataset, config):
        first_test = dataset.known_at[split.test].min()
        for labels in (split.train, split.validation):
            begins, ends = lives(dataset, labels)
            assert (begins < first_test).all()
            assert (ends + days(config.embargo_days) <= first_test).all()
            assert (ends <= split.trained_until).all()
            assert np.isfinite(dataset.targets[labels]).all()
        assert_validation_is_purged(dataset, split, config.purge_days)
        assert split.restarts == ()


@settings(max_examples=40, deadline=None)
@given(datasets, configs)
def test_what_does_not_train_was_purged_embargoed_or_lies_outside(dataset: Dataset, config: WalkForwardConfig) -> None:
    for split in splits_of(dataset, config):
        lost = dataset.mask & ~(split.train | split.validation)
        first, begin = (np.flatnonzero(mask)[0] for mask in (split.train.any(axis=1), split.test))
        assert split.purged is not None
        assert split.embargoed is not None
        marked = split.purged | split.embargoed
        assert marked[first:begin][lost[first:begin].any(axis=1)].all(), "nothing is dropped without saying so"
        assert not marked[begin:].any()


@settings(max_examples=20, deadline=None)
@given(datasets, configs)
def test_test_rows_are_disjoint_ordered_and_reach_the_last_bar(dataset: Dataset, config: WalkForwardConfig) -> None:
    splits = splits_of(dataset, config)
    rows = np.concatenate([np.flatnonzero(split.test) for split in splits])
    assert (np.diff(rows) > 0).all()
    usable = np.flatnonzero(dataset.usable)
    np.testing.assert_array_equal(rows, usable[usable >= rows[0]])


@settings(max_examples=20, deadline=None)
@given(configs, st.integers(1, 300))
def test_folds_stay_as_they_are_when_bars_are_added(config: WalkForwardConfig, more: int) -> None:
    """All but the last fold, as long as the history does not reach the next rung or the oldest month is not let go."""
    bars = 1600
    before, after = (walk_forward(DATASET.head(count), config) for count in (bars, bars + more))
    usable = bars - 100
    by_month = not before[0].name.startswith("fold")
    if by_month != (not after[0].name.startswith("fold")) or (not by_month and rung(usable) != rung(usable + more)):
        return  # the history grew into months, or reached the next rung: that moves everything, once
    later = {split.name: split for split in after}
    for split in before[:-1]:
        if by_month and split.name not in later:
            continue  # let go for a newer month
        new = later[split.name]
        assert new.trained_until == split.trained_until
        for name in ("train", "validation", "test", "purged", "embargoed"):
            old_mask, new_mask = getattr(split, name), getattr(new, name)
            np.testing.assert_array_equal(old_mask, new_mask[:bars], err_msg=name)
            assert not new_mask[bars:].any()


def test_rungs_lie_less_than_a_fifth_apart_and_are_never_above_the_bars() -> None:
    counts = np.arange(1, 5000)
    rungs = np.array([rung(int(count)) for count in counts])
    assert (rungs <= counts).all()
    assert (np.diff(rungs) >= 0).all()
    assert (counts[100:] / rungs[100:] < 1.2).all()
    assert [rung(value) for value in (0, 1, 1024, 1217, 1218)] == [0, 1, 1024, 1024, 1218]


def test_edges_of_shares_move_only_when_the_history_reaches_the_next_rung() -> None:
    config = WalkForwardConfig(folds=4)
    begins = {count: [fold.begin for fold in folds_by_share(count, config)] for count in range(1024, 1218)}
    assert begins[1024] == [512, 640, 768, 896]
    assert begins[1025] == [512, 640, 768, 896, 1024]
    assert begins[1217] == [512, 640, 768, 896, 1024, 1152]
    assert folds_by_share(1218, config)[0].begin == 609


def test_months_of_the_specification_on_three_years_of_bars() -> None:
    decided = np.arange("2018-01-15T05:00", "2020-11-20T00:00", np.timedelta64(4, "h"), dtype="datetime64[ns]")
    rolling = folds_by_month(decided, WalkForwardConfig(spans="calendar", mode="rolling"))
    assert [fold.name for fold in rolling] == [str(np.datetime64("2020-02") + i) for i in range(10)]
    assert str(decided[rolling[0].first]) == "2019-08-01T01:00:00.000000000"
    assert str(decided[rolling[0].begin]) == "2020-02-01T01:00:00.000000000"
    assert all(a.end == b.begin for a, b in itertools.pairwise(rolling))
    expanding = folds_by_month(decided, WalkForwardConfig(spans="calendar", last_folds=4))
    assert [fold.name for fold in expanding] == ["2020-02", "2020-05", "2020-08", "2020-11"]
    assert {fold.first for fold in expanding} == {0}


def test_shares_stand_in_where_the_history_is_too_short_for_months() -> None:
    asked = WalkForwardConfig(spans="calendar", mode="rolling")
    assert next(split.name for split in walk_forward(DATASET, asked)) == "fold0"
    fitting = WalkForwardConfig(spans="calendar", mode="rolling", train_months=2)
    assert [split.name for split in walk_forward(DATASET, fitting)] == ["2020-04", "2020-05"]


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
    _, ends = lives(DATASET, split.train | split.validation)
    assert ends.max() <= split.trained_until
    assert_validation_is_purged(DATASET, split, config.purge_days)
    assert not split.test.any()
    assert split.trained_until == DATASET.label_end[DATASET.mask].max()
    assert split.trained_until <= DATASET.known_at[-1]


def test_the_final_rolling_window_is_as_long_as_those_of_the_folds() -> None:
    months = WalkForwardConfig(spans="calendar", mode="rolling", train_months=2)
    first = np.flatnonzero(final_split(DATASET, months).train.any(axis=1))[0]
    assert abs((DATASET.known_at[-1] - DATASET.known_at[first]) - 61 * DAY) < 4 * DAY
    shares = WalkForwardConfig(mode="rolling")
    first = np.flatnonzero(final_split(DATASET, shares).train.any(axis=1))[0]
    assert first == len(DATASET) - int(rung(2400) * 0.5)


def test_too_little_history_is_refused_with_the_numbers() -> None:
    with pytest.raises(DataError, match=r"fewer than min_train_rows = 5000"):
        walk_forward(DATASET, WalkForwardConfig(min_train_rows=5000))
    with pytest.raises(DataError, match="folds"):
        walk_forward(make_dataset(bars=110), WalkForwardConfig(folds=20, first_train=0.5))
    with pytest.raises(ValidationError, match="least_folds 12 must not exceed last_folds 10"):
        WalkForwardConfig(least_folds=12)


def test_the_head_of_a_dataset_is_what_was_known_then() -> None:
    """Cutting computed labels must equal computing labels of cut bars."""
    for bars in (150, 777, 2499):
        cut, made = DATASET.head(bars), make_dataset(bars=2500).head(bars)
        fresh = make_dataset(bars=bars)
        for name in ("targets", "mask", "label_end", "yardstick", "last_known"):
            np.testing.assert_array_equal(getattr(cut, name), getattr(fresh, name), err_msg=name)
            np.testing.assert_array_equal(getattr(cut, name), getattr(made, name), err_msg=name)
        assert len(cut.tables["1h"]) == bars
    with pytest.raises(DataError, match="first 0 bars"):
        DATASET.head(0)


def test_a_split_refuses_what_contradicts_itself() -> None:
    split = walk_forward(DATASET, WalkForwardConfig())[0]
    trained = int(np.flatnonzero(split.train.any(axis=1))[0])
    test = split.test.copy()
    test[trained] = True
    with pytest.raises(DataError, match=f"the first {trained}, are trained on and tested"):
        replace(split, test=test)
    with pytest.raises(DataError, match="purged has shape"):
        replace(split, purged=split.test[:-1])
    for restarts in ((0,), (5, 5), (9, 4), (len(test),)):
        with pytest.raises(DataError, match="must increase within"):
            replace(split, restarts=restarts)
    with pytest.raises(DataError, match="training and validation"):
        replace(split, validation=split.train)
