"""The seam between drift rules and whoever computes the statistics: `DriftDetector`, two implementations that agree."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.lifecycle.drift.statistics import ks_distances, mmd2, rbf

Floats = NDArray[np.float64]


class DriftDetector(Protocol):
    """Computes two-sample statistics; `reference`: (n, columns), `window`: (m, columns)."""

    name: str

    def ks(self, reference: NDArray[Any], window: NDArray[Any]) -> Floats:
        """Return the KS distance per column: (columns,); infinite values stand for missing ones."""
        ...

    def mmd2(self, reference: Floats, window: Floats, sigma: float) -> float:
        """Return the unbiased squared MMD of finite rows with a Gaussian kernel of bandwidth `sigma`."""
        ...


class ScipyDetector:
    """KS and MMD by numpy, without the p-values that SciPy and alibi-detect compute for every column."""

    name = "scipy"

    def ks(self, reference: NDArray[Any], window: NDArray[Any]) -> Floats:
        return ks_distances(reference, window)

    def mmd2(self, reference: Floats, window: Floats, sigma: float) -> float:
        return mmd2(rbf(reference, reference, sigma), rbf(window, window, sigma), rbf(reference, window, sigma))


def detector(name: str) -> DriftDetector:
    """Return the detector `scipy` or `alibi` (alibi-detect, Business Source Licence)."""
    if name == "alibi":
        from fxgpt_core.lifecycle.drift.alibi import AlibiDetector

        return AlibiDetector()
    return ScipyDetector()
