"""Which labels may train: purged by the true end of each label's life, embargoed in calendar days.

López de Prado, Advances in Financial Machine Learning (2018), section 7.4; SPEC 3 and 9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.evaluation.split_config import PurgeConfig
from fxgpt_core.features.dataset import Dataset, Split

Bools = NDArray[np.bool_]


def days(count: float) -> np.timedelta64:
    """Return calendar days as a time difference in nanoseconds."""
    return np.timedelta64(round(count * 86_400_000_000_000), "ns")


@dataclass(frozen=True)
class Uses:
    """What becomes of labels: `train`, `validation` (bars, horizons); `purged` (bars,) lost labels between the two."""

    train: Bools
    validation: Bools
    purged: Bools


def with_validation(dataset: Dataset, config: PurgeConfig, eligible: Bools) -> Uses:
    """Cut the last share of the rows of `eligible` (bars, horizons) off as validation, purged from what trains.

    Validation begins at one bar for all horizons, so that no horizon's training label reaches into the validation
    rows of another.
    """
    rows = np.flatnonzero(eligible.any(axis=1))
    held = round(len(rows) * config.validation_share)
    if not held:
        return Uses(eligible, np.zeros_like(eligible), np.zeros(len(eligible), dtype=bool))
    start = int(rows[-held])
    validation = eligible.copy()
    validation[:start] = False
    train = eligible & (dataset.label_end <= dataset.known_at[start] - days(config.purge_days))
    train[start:] = False
    return Uses(train, validation, (eligible & ~train & ~validation).any(axis=1))


@dataclass(frozen=True)
class Block:
    """One unbroken test span, base bars [begin, end).

    It lives from its first decision (`starts`) to the end of the last known label of any horizon made in it
    (`ends`): labels end by trading time, so lives that span a weekend are longer than their horizon.
    """

    begin: int
    end: int
    starts: np.datetime64
    ends: np.datetime64

    @classmethod
    def of(cls, dataset: Dataset, begin: int, end: int) -> Block:
        """Return the block of base bars [begin, end) of a dataset."""
        lives = dataset.label_end[begin:end][dataset.mask[begin:end]]
        last = dataset.known_at[end - 1]
        return cls(begin, end, dataset.known_at[begin], max(last, lives.max()) if len(lives) else last)

    def purges(self, dataset: Dataset, gap: np.timedelta64) -> Bools:
        """Return the labels (bars, horizons) whose life overlaps the block's, or ends less than `gap` before it."""
        decided = dataset.known_at[:, None]
        return np.asarray((dataset.label_end + gap > self.starts) & (decided < self.ends))

    def embargoes(self, dataset: Dataset, embargo: np.timedelta64) -> Bools:
        """Return the bars (bars,) decided within `embargo` after the block's last label ended."""
        decided = dataset.known_at
        return np.asarray((decided >= self.ends) & (decided < self.ends + embargo))


def require_labels(dataset: Dataset, config: PurgeConfig, split: Split) -> None:
    """Raise DataError where some horizon has fewer than `min_train_rows` training labels."""
    counts = split.train.sum(axis=0)
    if counts.min() < config.min_train_rows:
        horizon = dataset.horizons[int(counts.argmin())]
        raise DataError(
            f"Split {split.name} of {dataset.symbol} has {counts.min()} training labels for the {horizon}-minute "
            f"horizon, fewer than min_train_rows = {config.min_train_rows}: import more bars, or lower the embargo, "
            "the purge or the number of folds."
        )
