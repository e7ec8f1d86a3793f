"""Walk-forward splits, rolling or expanding, and the split of the model that goes live (SPEC 3 and 9)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.evaluation.fold_edges import Fold, choose_folds, newest_window, rung
from fxgpt_core.evaluation.purging import days, require_labels, with_validation
from fxgpt_core.evaluation.split_config import WalkForwardConfig
from fxgpt_core.features.dataset import Dataset, Split


def walk_forward(dataset: Dataset, config: WalkForwardConfig) -> list[Split]:
    """Return one split per fold, in time order: train and validate on the past, forecast the rows of the fold.

    The usable bars (yardstick known) after the first training span are cut into consecutive test spans, by share of
    bars or by months (`evaluation.fold_edges` says where, and why edges stay when bars are added). A label counts
    for a fold only if its life ends at or before `trained_until` = the fold's first decision time − `embargo_days`.
    In rolling mode training starts one training span before the fold.

    Raises DataError when there is too little history, or when a fold would train on fewer than `min_train_rows`
    labels of some horizon.
    """
    bars = np.flatnonzero(dataset.usable)  # (usable,)
    folds = choose_folds(dataset.known_at[bars], config)
    if not folds:
        left = len(bars) - int(rung(len(bars)) * config.first_train)
        raise DataError(
            f"Walk-forward of {dataset.symbol}: {len(bars)} usable bars leave {left} for {config.folds} folds after a "
            f"first training share of {config.first_train}; import more bars or ask for fewer folds."
        )
    return [_split(dataset, config, bars, fold) for fold in folds]


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
    first = int(bars[newest_window(dataset.known_at[bars], config)]) if config.mode == "rolling" else 0
    eligible = known & (np.arange(len(dataset)) >= first)[:, None]
    uses = with_validation(dataset, config, eligible)
    nothing = np.zeros(len(dataset), dtype=bool)
    split = Split("final", uses.train, uses.validation, nothing, trained_until, uses.purged, nothing)
    require_labels(dataset, config, split)
    return split


def _split(dataset: Dataset, config: WalkForwardConfig, bars: NDArray[np.int64], fold: Fold) -> Split:
    """Build the split that tests `bars[fold.begin:fold.end]`."""
    begin, first = int(bars[fold.begin]), int(bars[fold.first])
    starts = dataset.known_at[begin]
    trained_until = starts - days(config.embargo_days)
    spanned = dataset.mask.copy()
    spanned[:first], spanned[begin:] = False, False
    eligible = spanned & (dataset.label_end <= trained_until)  # NaT compares false
    uses = with_validation(dataset, config, eligible)
    reaching = spanned & (dataset.label_end > starts)
    test = np.zeros(len(dataset), dtype=bool)
    test[bars[fold.begin : fold.end]] = True
    split = Split(
        fold.name,
        uses.train,
        uses.validation,
        test,
        trained_until,
        purged=uses.purged | reaching.any(axis=1),
        embargoed=(spanned & ~eligible & ~reaching).any(axis=1),
    )
    require_labels(dataset, config, split)
    return split
