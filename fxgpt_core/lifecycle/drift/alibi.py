"""Second implementation of the drift statistics: alibi-detect 0.13 on PyTorch (Business Source Licence 1.1)."""

from __future__ import annotations

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
