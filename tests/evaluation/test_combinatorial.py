"""Combinatorial splits: no life overlaps a test block on either side, every group is tested equally often."""

from __future__ import annotations

from itertools import pairwise
from math import comb

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fxgpt_core.common.errors import DataError
from fxgpt_core.evaluation.combinatorial import CombinatorialSplits, combinatorial
from fxgpt_core.evaluation.split_config import CombinatorialConfig
from fxgpt_core.features.dataset import Dataset, Split
from tests.evaluation.split_data import DAY, HOUR, datasets, make_dataset

DATASET = make_dataset()

configs = st.builds(
    CombinatorialConfig,
    groups=st.integers(4, 7),
    tested=st.integers(1, 3),
    embargo_days=st.floats(0, 3),
    purge_days=st.floats(0, 2),
    validation_share=st.floats(0, 0.3),
    min_train_rows=st.just(1),
)


def splits_of(dataset: Dataset, config: CombinatorialConfig) -> CombinatorialSplits:
    """Splits of a random dataset, of which little may remain beside wide gaps."""
    try:
        return combinatorial(dataset, config)
    except DataError:
        assume(False)
        raise


def blocks(split: Split, usable: np.ndarray) -> list[np.ndarray]:
    """Runs of test bars that only unusable bars interrupt, found bar by bar."""
    runs: list[list[int]] = []
    open_run = False
    for bar in np.flatnonzero(usable):
        if not split.test[bar]:
            open_run = False
        elif open_run:
            runs[-1].append(int(bar))
        else:
            runs.append([int(bar)])
            open_run = True
    return [np.array(run) for run in runs]


@settings(max_examples=30, deadline=None)
@given(datasets, configs)
def test_no_training_life_overlaps_any_test_life_and_the_embargo_is_kept(
    dataset: Dataset, config: CombinatorialConfig
) -> None:
    """By brute force: every life that is learned from against every life that is tested, as intervals."""
    embargo, gap = (np.timedelta64(round(d * 86400 * 10**9), "ns") for d in (config.embargo_days, config.purge_days))
    for split in splits_of(dataset, config).splits:
        rows, columns = np.nonzero(split.train | split.validation)
        begins, ends = dataset.known_at[rows], dataset.label_end[rows, columns]
        assert (ends <= split.trained_until).all()
        for block in blocks(split, dataset.usable):
            labels = dataset.mask[block]
            lives = dataset.label_end[block][labels]
            starts = np.repeat(dataset.known_at[block], labels.sum(axis=1))
            order = np.argsort(begins)
            # A tested life [a, b) meets a learned life [c, d) where c < b and a < d.
            for a, b in zip(starts[::7], lives[::7], strict=True):
                meeting = order[: np.searchsorted(begins[order], b)]
                assert not (ends[meeting] > a).any()
            last = max(lives.max(initial=dataset.known_at[block[-1]]), dataset.known_at[block[-1]])
            before = begins < dataset.known_at[block[0]]
            assert (ends[before] + gap <= dataset.known_at[block[0]]).all()
            assert (begins[~before] >= last + embargo).all()


@settings(max_examples=20, deadline=None)
@given(datasets, configs)
def test_validation_comes_after_training_and_is_purged(dataset: Dataset, config: CombinatorialConfig) -> None:
    for split in splits_of(dataset, config).splits:
        if split.validation.any():
            first = dataset.known_at[split.validation.any(axis=1)].min()
            gap = np.timedelta64(round(config.purge_days * 86400 * 10**9), "ns")
            assert (dataset.label_end[split.train] + gap <= first).all()
            assert (dataset.known_at[split.train.any(axis=1)] < first).all()


@settings(max_examples=30, deadline=None)
@given(datasets, configs)
def test_every_choice_of_groups_is_tested_once_and_paths_use_every_forecast_once(
    dataset: Dataset, config: CombinatorialConfig
) -> None:
    made = splits_of(dataset, config)
    groups, tested = config.groups, config.tested
    assert len(set(made.tested)) == len(made.splits) == comb(groups, tested)
    times = np.sum([split.test for split in made.splits], axis=0)
    np.testing.assert_array_equal(times, np.where(dataset.usable, comb(groups - 1, tested - 1), 0))
    paths = made.paths
    assert paths.shape == (comb(groups, tested) * tested // groups, groups)
    used = {(int(split), group) for path in paths for group, split in enumerate(path)}
    assert used == {(split, group) for split, choice in enumerate(made.tested) for group in choice}
    assert len(used) == paths.size
    for number in range(len(paths)):
        rows = np.concatenate([rows for _, rows in made.path(number)])
        np.testing.assert_array_equal(rows, np.flatnonzero(dataset.usable))
        assert all(made.splits[split].test[rows].all() for split, rows in made.path(number))


def test_paths_of_six_groups_with_two_tested_are_those_of_the_book() -> None:
    """López de Prado (2018), figures 12.1 and 12.2: 15 splits, 5 paths; group 1 is tested by splits 1 to 5."""
    made = combinatorial(DATASET, CombinatorialConfig(groups=6, tested=2))
    assert len(made.splits) == 15
    expected = [[0, 0, 1, 2, 3, 4], [1, 5, 5, 6, 7, 8], [2, 6, 9, 9, 10, 11], [3, 7, 10, 12, 12, 13]]
    assert made.paths.tolist() == [*expected, [4, 8, 11, 13, 14, 14]]


def test_lives_that_span_a_weekend_purge_by_their_true_end() -> None:
    """The same row count means three days more on a Friday: rows just before a block that starts on Monday."""
    config = CombinatorialConfig(purge_days=0, embargo_days=0, validation_share=0, min_train_rows=1)
    checked = 0
    for warm_up in range(0, 300, 6):  # move the groups' edges through the week
        dataset = make_dataset(1500, warm_up, horizons=(240,))
        split = combinatorial(dataset, config).splits[-1]  # tests groups 3 and 4, trains on what lies before
        start = np.flatnonzero(split.test)[0]
        trained = np.flatnonzero(split.train[:, 0])[-1]
        assert dataset.label_end[trained, 0] <= dataset.known_at[start]
        assert dataset.label_end[trained + 1, 0] > dataset.known_at[start]
        checked += int(dataset.known_at[start] - dataset.known_at[trained] > 2 * DAY)
    assert checked, "no block began near a weekend"


def test_the_embargo_counts_from_the_end_of_the_last_tested_life() -> None:
    split = combinatorial(DATASET, CombinatorialConfig(tested=1)).splits[1]
    block = np.flatnonzero(split.test)
    last = DATASET.label_end[block[DATASET.mask[block].any(axis=1)]].max()
    assert last - DATASET.known_at[block[-1]] >= 24 * HOUR
    after = np.flatnonzero(split.train.any(axis=1))
    after = after[after > block[-1]]
    assert DATASET.known_at[after[0]] >= last + 2 * DAY
    assert DATASET.known_at[after[0] - 1] < last + 2 * DAY
    assert split.restarts == (int(after[0]),)
    assert split.purged is not None
    assert split.embargoed is not None
    between = slice(int(block[-1]) + 1, int(after[0]))
    assert (split.purged | split.embargoed)[between].all()


@settings(max_examples=20, deadline=None)
@given(datasets, configs)
def test_training_restarts_once_after_every_block_that_training_follows(
    dataset: Dataset, config: CombinatorialConfig
) -> None:
    for split in splits_of(dataset, config).splits:
        used = np.flatnonzero((split.train | split.validation).any(axis=1))
        expected = set()
        for left, right in pairwise(used):
            if split.test[left:right].any():
                expected.add(int(right))
        if split.test[: used[0]].any():
            expected.add(int(used[0]))
        assert set(split.restarts) == expected


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(ValidationError, match="must be fewer than groups"):
        CombinatorialConfig(groups=3, tested=3)
    with pytest.raises(DataError, match="fewer than min_train_rows = 2000"):
        combinatorial(DATASET, CombinatorialConfig(min_train_rows=2000))
    with pytest.raises(DataError, match="make no 5 groups"):
        combinatorial(make_dataset(bars=100, warm_up=97), CombinatorialConfig())
