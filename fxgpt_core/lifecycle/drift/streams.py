"""Statistics of a stream of bars: the last `window` rows against a reference, brought up to date row by row.

They supply numbers, never a verdict: the thresholds come from the training span (`online.OnlinePart`). The second
implementation is that of alibi-detect (`alibi.py`), which computes each window anew and agrees within rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.lifecycle.drift.statistics import rbf

Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]

MMD, CVM = "online_mmd", "online_cvm"


class OnlineStatistic(Protocol):
    """A statistic of the last rows of a stream against a reference."""

    def update(self, row: Floats) -> Floats:
        """Take the next finite row, (columns,), and return the statistics: (streams,), NaN until the window is full."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what the statistic goes on from."""
        ...

    def restore(self, state: Arrays) -> None:
        """Go on from a state: what follows is equal, bit for bit, to what would have followed there."""
        ...


class OnlineMmd:
    """Unbiased squared MMD (Gretton et al. 2012, eq. 3) of all columns: one stream; a row costs n + window kernels."""

    def __init__(self, reference: Floats, sigma: float, window: int) -> None:
        self._reference, self._sigma, self._window = reference, sigma, window
        n = len(reference)
        kernel = rbf(reference, reference, sigma)
        self._constant = float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))
        self._rows: Floats = np.empty((0, reference.shape[1]))
        self._across: Floats = np.empty(0)  # of each row: sum of its kernels with the reference
        self._within = 0.0  # sum of kernels of different rows of the window

    def update(self, row: Floats) -> Floats:
        """See `OnlineStatistic.update`."""
        if len(self._rows) == self._window:
            self._within -= 2 * float(self._kernels(self._rows[0], self._rows[1:]).sum())
            self._rows, self._across = self._rows[1:], self._across[1:]
        self._within += 2 * float(self._kernels(row, self._rows).sum())
        self._rows = np.vstack([self._rows, row])
        self._across = np.append(self._across, self._kernels(row, self._reference).sum())
        m = self._window
        if len(self._rows) < m:
            return np.array([np.nan])
        across = self._across.sum() / (m * len(self._reference))
        return np.array([self._constant + self._within / (m * (m - 1)) - 2 * across])

    def state(self) -> dict[str, NDArray[Any]]:
        """See `OnlineStatistic.state`."""
        return {"rows": self._rows, "across": self._across, "within": np.array([self._within])}

    def restore(self, state: Arrays) -> None:
        """See `OnlineStatistic.restore`."""
        self._rows, self._across = state["rows"], state["across"]
        self._within = float(state["within"][0])

    def _kernels(self, row: Floats, others: Floats) -> Floats:
        return np.asarray(np.exp(-((others - row) ** 2).sum(axis=1) / (2 * self._sigma**2)))


class CvmScale:
    """Turns sums of squared differences of two distribution functions, of n and m points, into standard deviations.

    Under independence; Anderson (1962, Annals of Mathematical Statistics 33, eqs. 2, 3 and 14).
    """

    def __init__(self, n: int, m: int) -> None:
        total = n + m
        self._factor = n * m / total**2
        self.mean = 1 / 6 + 1 / (6 * total)
        variance = (total + 1) * (4 * n * m * total - 3 * (n**2 + m**2) - 2 * n * m) / (45 * total**2 * 4 * n * m)
        self.deviation = float(np.sqrt(variance))

    def of(self, apart: Floats) -> Floats:
        """Return the statistic of the sums over all points of both samples."""
        return np.asarray((self._factor * apart - self.mean) / self.deviation)


class OnlineCvm:
    """Two-sample Cramér–von Mises statistic of each column, scaled by `CvmScale`; it keeps counts: nothing rounds."""

    _rows: Floats
    _counts: NDArray[np.int64]
    _ranks: NDArray[np.int64]
    _expected: Floats

    def __init__(self, reference: Floats, window: int) -> None:
        self._sorted, self._window = np.sort(reference, axis=0), window
        n, m = len(reference), window
        columns = range(reference.shape[1])
        self._share = np.column_stack([self._below(self._sorted[:, c], c) for c in columns]) / n  # F at its own points
        self._scale = CvmScale(n, m)
        self._start(np.empty((0, reference.shape[1])))

    def update(self, row: Floats) -> Floats:
        """See `OnlineStatistic.update`."""
        if len(self._rows) == self._window:
            gone, self._rows, self._ranks, self._expected = (
                self._rows[0], self._rows[1:], self._ranks[1:], self._expected[1:],
            )  # fmt: skip
            self._ranks = self._ranks - (gone <= self._rows)
            self._counts = self._counts - (gone <= self._sorted)
        own = (self._rows <= row).sum(axis=0) + 1
        self._ranks = np.vstack([self._ranks + (row <= self._rows), own])
        self._counts = self._counts + (row <= self._sorted)
        self._rows = np.vstack([self._rows, row])
        expected = np.array([self._below(row[c], c) for c in range(len(row))]) / len(self._sorted)
        self._expected = np.vstack([self._expected, expected])
        if len(self._rows) < self._window:
            return np.full(len(row), np.nan)
        apart = ((self._share - self._counts / self._window) ** 2).sum(axis=0)
        apart = apart + ((self._expected - self._ranks / self._window) ** 2).sum(axis=0)
        return self._scale.of(apart)

    def state(self) -> dict[str, NDArray[Any]]:
        """See `OnlineStatistic.state`."""
        return {"rows": self._rows}

    def restore(self, state: Arrays) -> None:
        """See `OnlineStatistic.restore`; counts are found again from the rows, exactly."""
        self._start(state["rows"])

    def _start(self, rows: Floats) -> None:
        self._rows = rows
        self._counts = (rows[:, None, :] <= self._sorted[None, :, :]).sum(axis=0)  # (reference, columns)
        self._ranks = (rows[:, None, :] <= rows[None, :, :]).sum(axis=0)  # (rows, columns)
        below = [self._below(rows[:, c], c) for c in range(rows.shape[1])]
        self._expected = np.column_stack(below) / len(self._sorted)

    def _below(self, values: Any, column: int) -> NDArray[np.int64]:
        """Return how many reference values of a column are at or below the given ones."""
        return np.asarray(np.searchsorted(self._sorted[:, column], values, side="right"))


def online_statistic(kind: str, backend: str, reference: Floats, sigma: float, window: int) -> OnlineStatistic:
    """Return the statistic `online_mmd` or `online_cvm` as `scipy` (this module) or `alibi` computes it."""
    if backend == "alibi":
        from fxgpt_core.lifecycle.drift.alibi import AlibiOnlineCvm, AlibiOnlineMmd

        return AlibiOnlineMmd(reference, sigma, window) if kind == MMD else AlibiOnlineCvm(reference, window)
    return OnlineMmd(reference, sigma, window) if kind == MMD else OnlineCvm(reference, window)
