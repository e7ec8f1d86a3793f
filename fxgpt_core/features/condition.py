"""In what condition stored features are: what is missing, constant, infinite or explosive in some month."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.features.coverage import Coverage, CoverageConfig
from fxgpt_core.features.table import FeatureTable

KINDS = ("all missing", "mostly missing", "constant", "infinite", "explosive")


@dataclass(frozen=True)
class ColumnCondition:
    """One column of one timeframe: share of rows without a value, and kind of oddity -> months that have it."""

    timeframe: str
    column: str
    missing_share: float
    odd_months: Mapping[str, int]
    months: int

    @property
    def sentence(self) -> str:
        """What is odd about the column, for people."""
        found = ", ".join(f"{kind} in {count}" for kind, count in self.odd_months.items())
        return f"{self.column} is {found} of {self.months} months"


def month_condition(block: FeatureTable) -> dict[str, Any]:
    """Return, for a manifest, what a month's columns lack: rows, column -> missing values, column -> kind of oddity."""
    missing = np.isnan(block.values).sum(axis=0)
    doubtful = _doubtful(block.values, missing)
    judged = Coverage.of(block.values[:, doubtful])
    reasons = {int(doubtful[i]): why for i, why in {**judged.dropped, **judged.suspect}.items()}
    return {
        "rows": len(block),
        "missing": {block.names[i]: int(missing[i]) for i in np.flatnonzero(missing)},
        "odd": {block.names[i]: _kind(why) for i, why in sorted(reasons.items())},
    }


def table_condition(
    timeframe: str, columns: Sequence[str], months: Sequence[Mapping[str, Any]]
) -> list[ColumnCondition]:
    """Return the condition of every column over all months, from what `month_condition` found in each."""
    rows = sum(month["rows"] for month in months)
    missing: Counter[str] = Counter()
    odd: dict[str, Counter[str]] = {}
    for month in months:
        missing.update(month["missing"])
        for column, kind in month["odd"].items():
            odd.setdefault(column, Counter())[kind] += 1
    return [
        ColumnCondition(timeframe, name, missing[name] / max(rows, 1), dict(odd.get(name, {})), len(months))
        for name in columns
    ]


def _doubtful(values: NDArray[np.float32], missing: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the columns that a closer look is worth: the others move, within bounds, and are mostly there.

    Medians of hundreds of columns cost more than the columns themselves.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # columns without a value
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    span, size = high - low, np.maximum(np.abs(low), np.abs(high))
    lively = (span > 1e-5 * size) & (span > 1e-8) & (span <= CoverageConfig().explosive_least)
    return np.flatnonzero(~lively | (missing > 0.5 * len(values)))


def _kind(why: str) -> str:
    return next((kind for kind in KINDS if why.startswith(kind)), why)
