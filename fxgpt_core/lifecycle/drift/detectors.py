"""The seam between drift rules and whoever computes the statistics: `DriftDetector`, two implementations that agree."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.lifecycle.drift.statistics import mmd2, rbf

Floats = NDArray[np.float64]


class DriftDetector(Protocol):
    """Computes two-sample statistics; `reference`: (n, columns), `window`: (m, columns), finite."""

    name: str

    def ks(self, reference: Floats, window: Floats) -> tuple[Floats, Floats]:
        """Return the KS distance and its p-value (independent rows assumed) per column: (columns,) each."""
        ...

    def mmd2(self, reference: Floats, window: Floats, sigma: float) -> float:
        """Return the unbiased squared MMD with a Gaussian kernel of bandwidth `sigma`."""
        ...


class ScipyDetector:
    """KS by scipy, MMD by numpy."""

    name = "scipy"

    def ks(self, reference: Floats, window: Floats) -> tuple[Floats, Floats]:
        from scipy.stats import ks_2samp

        found = [ks_2samp(reference[:, i], window[:, i], method="asymp") for i in range(reference.shape[1])]
        return np.array([f.statistic for f in found]), np.array([f.pvalue for f in found])

    def mmd2(self, reference: Floats, window: Floats, sigma: float) -> float:
        return mmd2(rbf(reference, reference, sigma), rbf(window, window, sigma), rbf(reference, window, sigma))


def detector(name: str) -> DriftDetector:
    """Return the detector `scipy` or `alibi` (alibi-detect, Business Source Licence)."""
    if name == "alibi":
        from fxgpt_core.lifecycle.drift.alibi import AlibiDetector

        return AlibiDetector()
    return ScipyDetector()
