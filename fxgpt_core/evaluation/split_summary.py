"""Splits as plain values, for people and programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.features.dataset import Dataset, Split


def summarise(dataset: Dataset, splits: Sequence[Split]) -> list[dict[str, Any]]:
    """Return one JSON-able row a split: spans as decision times (UTC, None where empty), labels and bars counted.

    `train_labels` and `validation_labels` count by horizon (minutes); `purged` and `embargoed` are bars that lost at
    least one label; `restarts` are the decision times at which training begins anew.
    """
    return [_summary(dataset, split) for split in splits]


def _summary(dataset: Dataset, split: Split) -> dict[str, Any]:
    known_at = dataset.known_at
    uses = {"train": split.train, "validation": split.validation}
    made: dict[str, Any] = {"name": split.name, "trained_until": _minute(split.trained_until)}
    for name, labels in uses.items():
        made[name] = _span(known_at, labels.any(axis=1))
        counts = labels.sum(axis=0).tolist()
        made[f"{name}_labels"] = {str(h): count for h, count in zip(dataset.horizons, counts, strict=True)}
    made["test"], made["test_rows"] = _span(known_at, split.test), int(split.test.sum())
    for name in ("purged", "embargoed"):
        mask = getattr(split, name)
        made[name] = 0 if mask is None else int(mask.sum())
    made["restarts"] = [_minute(known_at[bar]) for bar in split.restarts]
    return made


def _span(known_at: NDArray[np.datetime64], mask: NDArray[np.bool_]) -> list[str] | None:
    """Return first and last decision time of a mask (bars,), None where it is empty."""
    rows = np.flatnonzero(mask)
    return [_minute(known_at[rows[0]]), _minute(known_at[rows[-1]])] if len(rows) else None


def _minute(moment: np.datetime64) -> str:
    return f"{moment.astype('datetime64[m]')}Z"
