"""Starting values of the diagonal state matrix A (Gu, Gupta, Goel, Ré 2022, the S4D paper)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Initialisation = Literal["legs", "lin", "inv", "random", "real"]


def legs(pairs: int) -> NDArray[np.complex128]:
    """Return the S4D-LegS diagonal: eigenvalues of the normal part of HiPPO-LegS with positive imaginary part."""
    size = 2 * pairs
    root = np.sqrt(2 * np.arange(size) + 1.0)
    # HiPPO-LegS plus the rank-one correction p p^T, p = sqrt(n + 1/2), is -1/2 I + S with S skew-symmetric.
    skew = -np.tril(np.outer(root, root) / 2, -1) + np.triu(np.outer(root, root) / 2, 1)
    frequencies = np.linalg.eigvalsh(-1j * skew)
    return -0.5 + 1j * np.sort(frequencies)[pairs:]


def diagonal(kind: Initialisation, channels: int, pairs: int, seed: int) -> NDArray[np.complex128]:
    """Return A at the start of training: (channels, pairs), one of each complex-conjugate pair, real part < 0.

    `legs`, `lin` and `inv` are the paper's S4D-LegS, S4D-Lin (eq. 9) and S4D-Inv (eq. 8); `random` draws decay and
    frequency per channel; `real` is S4D-Real with A_n = -(n + 1).
    """
    n = np.arange(pairs)
    if kind == "legs":
        row = legs(pairs)
    elif kind == "lin":
        row = -0.5 + 1j * np.pi * n
    elif kind == "inv":
        size = 2 * pairs
        row = -0.5 + 1j * size / np.pi * (size / (2 * n + 1) - 1)
    elif kind == "real":
        row = -(n + 1.0) + 0j
    else:
        rng = np.random.default_rng(seed)
        shape = (channels, pairs)
        return np.asarray(-np.exp(rng.normal(-0.7, 0.5, shape)) + 1j * rng.uniform(0, np.pi * pairs, shape))
    return np.tile(row, (channels, 1))
