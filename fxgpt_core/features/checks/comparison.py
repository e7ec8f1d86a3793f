"""`Comparison`: what was known at a cut, computed with and without the future, side by side and bit for bit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.features.checks.cuts import Cut

Times = NDArray[np.datetime64]


@dataclass(frozen=True)
class Leak:
    """One thing that changed: `what` (a column, `yardstick_60`, `join_4h`, …), at which cut, in how many rows.

    `first`: the time (UTC) from which on it differs.
    """

    what: str
    cut: Cut
    rows: int
    first: np.datetime64

    @property
    def sentence(self) -> str:
        """The leak in words."""
        return f"{self.what} differs in {self.rows} rows from {str(self.first)[:16]}Z on, cut at {self.cut}."


@dataclass
class Comparison:
    """Collects what differs at one cut, and how many numbers were compared."""

    cut: Cut
    values: int = 0
    leaks: list[Leak] = field(default_factory=list)

    def same(self, what: str, stamps: Times, left: NDArray[Any], right: NDArray[Any]) -> None:
        """Compare two columns, (rows,) each, whose rows are known at `stamps`; missing equals missing."""
        self.table((what,), stamps, left[:, None], right[:, None])

    def table(self, names: tuple[str, ...], stamps: Times, left: NDArray[Any], right: NDArray[Any]) -> None:
        """Compare two tables, (rows, columns) each; rows that one of them lacks are said once, of the whole."""
        rows = min(len(left), len(right))
        if len(left) != len(right):
            self.found(f"rows of {names[0]}", abs(len(left) - len(right)), stamps[min(rows, len(stamps) - 1)])
        left, right, stamps = left[:rows], right[:rows], stamps[:rows]
        self.values += left.size
        different = left != right
        if left.dtype.kind in "fM":
            void = np.isnat if left.dtype.kind == "M" else np.isnan
            different &= ~(void(left) & void(right))
        for column in np.flatnonzero(different.any(axis=0)):
            changed = different[:, column]
            self.found(names[column], int(changed.sum()), stamps[int(changed.argmax())])

    def found(self, what: str, rows: int, first: np.datetime64) -> None:
        """Note that `what` differs."""
        self.leaks.append(Leak(what, self.cut, rows, first))
