"""Second implementation of the drift statistics: alibi-detect 0.13 on PyTorch (Business Source Licence 1.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class AlibiDetector:
    """KS and MMD by alibi-detect; it is imported, with PyTorch, on first use."""

    name = "alibi"

    def ks(self, reference: NDArray[Any], window: NDArray[Any]) -> Floats:
        """Return the KS distance per column: (columns,); the library's p-values are not used."""
        from alibi_detect.cd import KSDrift

        values = KSDrift(reference).predict(window, drift_type="feature")["data"]
        return np.asarray(values["distance"], dtype=np.float64)

    def mmd2(self, reference: Floats, window: Floats, sigma: float) -> float:
        """Return the unbiased squared MMD; the library's permutation test is cut to one draw, its p-value not used."""
        from alibi_detect.cd import MMDDrift

        found = MMDDrift(reference, backend="pytorch", sigma=np.array([sigma]), n_permutations=1, device="cpu")
        return float(found.predict(window)["data"]["distance"])


class AlibiOnlineMmd:
    """`streams.OnlineMmd` by alibi-detect: its window and its statistic, against the whole reference given.

    The library would split the reference at random and find thresholds by bootstrap, as if rows were independent; both
    are left out.
    """

    def __init__(self, reference: Floats, sigma: float, window: int) -> None:
        self._detector, self._window = _online_mmd(reference, sigma, window), window
        self._rows: Floats = np.empty((0, reference.shape[1]))

    def update(self, row: Floats) -> Floats:
        """See `streams.OnlineStatistic.update`."""
        self._rows = np.vstack([self._rows, row])[-self._window :]
        found = float(self._detector.score(row))
        return np.array([found if len(self._rows) == self._window else np.nan])

    def state(self) -> dict[str, NDArray[Any]]:
        """See `streams.OnlineStatistic.state`."""
        return {"rows": self._rows}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `streams.OnlineStatistic.restore`; the rows are shown to the detector again."""
        self._detector.reset_state()
        self._rows = self._rows[:0]
        for row in state["rows"]:
            self.update(row)


class AlibiOnlineCvm:
    """`streams.OnlineCvm` by alibi-detect, without its bootstrap of thresholds."""

    def __init__(self, reference: Floats, window: int) -> None:
        self._detector, self._window = _online_cvm(reference, window), window

    def update(self, row: Floats) -> Floats:
        """See `streams.OnlineStatistic.update`."""
        found = np.asarray(self._detector.score(row)[0], dtype=np.float64)
        self._detector.xs = self._detector.xs[-self._window :]  # it would remember every row for ever
        return found

    def state(self) -> dict[str, NDArray[Any]]:
        """See `streams.OnlineStatistic.state`."""
        return {"rows": np.asarray(self._detector.xs, dtype=np.float64)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `streams.OnlineStatistic.restore`; the rows are shown to the detector again."""
        self._detector.reset_state()
        for row in state["rows"]:
            self.update(row)


def _online_mmd(reference: Floats, sigma: float, window: int) -> Any:
    import torch
    from alibi_detect.cd.pytorch.mmd_online import MMDDriftOnlineTorch
    from alibi_detect.utils.pytorch import zero_diag

    class WholeReference(MMDDriftOnlineTorch):  # type: ignore[misc]
        def _configure_thresholds(self) -> None:
            self.thresholds = [float("inf")]

        def _configure_ref_subset(self) -> None:
            self.ref_inds, self.init_test_inds = torch.arange(self.n), torch.zeros(window, dtype=torch.int64)
            self.k_xx_sub_sum = zero_diag(self.k_xx).sum() / (self.n * (self.n - 1))
            self._initialise_state()

    bandwidth = np.array([sigma])
    return WholeReference(reference, ert=1.0, window_size=window, sigma=bandwidth, device="cpu", verbose=False)


def _online_cvm(reference: Floats, window: int) -> Any:
    from alibi_detect.cd.cvm_online import CVMDriftOnline

    class NoThresholds(CVMDriftOnline):  # type: ignore[misc]
        def _configure_thresholds(self) -> None:
            self.thresholds = np.full((1, 1), np.inf)

    return NoThresholds(reference, ert=1.0, window_sizes=[window], verbose=False)
