"""Temporal splits, purged by the true end of each label and embargoed (SPEC 3 and 9; López de Prado 2018, ch. 7)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.evaluation.split_config import WalkForwardConfig
from fxgpt_core.features.dataset import Dataset, Split


def walk_forward(dataset: Dataset, config: WalkForwardConfig) -> list[Split]:
    """Return one split per fold: train and validate on the past, forecast the rows of the fold.

    The usable bars (yardstick known) are cut once: the first `first_train` share only trains, the rest becomes
    `folds` consecutive test spans of equal length. A label counts for a fold only if its life ends at or before
    `trained_until` = the fold's first decision time − `embargo_days`. In rolling mode training starts as many usable
    bars before the fold as the first training span held.

    Raises DataError when a fold would be empty or would train on fewer than `min_train_rows` labels of some horizon.
    """
    bars = np.flatnonzero(dataset.usable)  # (usable,)
    window = int(len(bars) * config.first_train)
    if len(bars) - window < config.folds:
        raise DataError(
            f"Walk-forward of {dataset.symbol}: {len(bars)} usable bars leave {len(bars) - window} for "
            f"{config.folds} folds after a first training share of {config.first_train}; import more bars or ask for "
            "fewer folds."
        )
    edges = np.linspace(window, len(bars), config.folds + 1).round().astype(int)
    return [
        _fold(dataset, config, index, bars, int(begin), int(end), window)
        for index, (begin, end) in enumerate(pairwise(edges))
    ]


def final_split(dataset: Dataset, config: WalkForwardConfig) -> Split:
    """Return the split of the model that goes live: every label known so far, none kept for testing.

    `trained_until` is the end of the last known label. In rolling mode training starts as in `walk_forward`.
    Raises DataError when some horizon has fewer than `min_train_rows` training labels.
    """
    known = dataset.mask & (dataset.label_end <= dataset.known_at[-1]) if len(dataset) else dataset.mask
    if not known.any():
        raise DataError(f"Dataset of {dataset.symbol} has no known label: import more bars.")
    trained_until = dataset.label_end[known].max()
    bars = np.flatnonzero(dataset.usable)
    first = 0
    if config.mode == "rolling":
        first = int(bars[-int(len(bars) * config.first_train)])
    train, validation = _train_and_validation(dataset, config, first, trained_until)
    split = Split("final", train, validation, np.zeros(len(dataset), dtype=bool), trained_until)
    _check_size(dataset, config, split)
    return split


def _fold(
    dataset: Dataset,
    config: WalkForwardConfig,
    index: int,
    bars: NDArray[np.int64],
    begin: int,
    end: int,
    window: int,
) -> Split:
    """Build the split whose test rows are `bars[begin:end]`."""
    trained_until = dataset.known_at[bars[begin]] - _days(config.embargo_days)
    first = int(bars[begin - window]) if config.mode == "rolling" else 0
    train, validation = _train_and_validation(dataset, config, first, trained_until)
    test = np.zeros(len(dataset), dtype=bool)
    test[bars[begin:end]] = True
    split = Split(f"fold{index}", train, validation, test, trained_until)
    _check_size(dataset, config, split)
    return split


def _train_and_validation(
    dataset: Dataset, config: WalkForwardConfig, first: int, trained_until: np.datetime64
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return label masks (bars, horizons): the last share of the span validates, purged from what trains.

    Validation begins at one bar for all horizons, so that no horizon's training label reaches into the validation
    rows of another.
    """
    eligible = dataset.mask & (dataset.label_end <= trained_until)  # NaT compares false
    eligible[:first] = False
    rows = np.flatnonzero(eligible.any(axis=1))
    held = round(len(rows) * config.validation_share)
    if not held:
        return eligible, np.zeros_like(eligible)
    start = int(rows[-held])
    validation = eligible.copy()
    validation[:start] = False
    train = eligible & (dataset.label_end <= dataset.known_at[start] - _days(config.purge_days))
    train[start:] = False
    return train, validation


def _check_size(dataset: Dataset, config: WalkForwardConfig, split: Split) -> None:
    counts = split.train.sum(axis=0)
    if counts.min() < config.min_train_rows:
        horizon = dataset.horizons[int(counts.argmin())]
        raise DataError(
            f"Split {split.name} of {dataset.symbol} has {counts.min()} training labels for the {horizon}-minute "
            f"horizon, fewer than min_train_rows = {config.min_train_rows}: import more bars, or lower the embargo, "
            "the purge or the number of folds."
        )


def _days(days: float) -> np.timedelta64:
    return np.timedelta64(round(days * 86_400_000_000_000), "ns")
