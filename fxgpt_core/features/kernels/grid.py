"""Prices on a binary grid, so that running sums of them are exact and hence independent of where they begin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BITS = 40
"""Of the 53 bits of a double that a price keeps: a relative step of 1e-12, and exact sums of up to 8192 of them."""


def on_grid(prices: Floats) -> Floats:
    """Return prices rounded to `BITS` binary digits: (n,).

    TA-Lib keeps running sums. Of arbitrary doubles they carry rounding from bars long gone, and a comparison or a
    division by what should be nothing then depends on where the series began. Rounding in binary digits keeps the
    result the same when all prices are multiplied by a power of two.
    """
    fraction, exponent = np.frexp(prices)
    return np.ascontiguousarray(np.ldexp(np.rint(fraction * 2.0**BITS), exponent - BITS), dtype=np.float64)
