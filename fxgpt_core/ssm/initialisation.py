"""Starting values of the diagonal state matrix A (Gu, Gupta, Goel, Ré 2022, the S4D paper, section 4)."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Initialisation = Literal["legs", "lin", "inv", "random", "real"]


def legs(pairs: int) -> NDArray[np.complex128]:
    """Return the S4D-LegS diagonal: eigenvalues of the normal part of HiPPO-LegS with positive imaginary part."""
    size = 2 * pairs
    root = np.sqrt(2 * np.arange(size) + 1.0)
    # HiPPO-LegS plus the rank-one correction p p^T, p = sqrt(n + 1/2), is -1/2 I + S with S skew-symmetric.
    skew = -np.tril(np.outer(root, root) / 2, -1) + np.triu(np.outer(root, root) / 2, 1)
    frequencies = np.linalg.eigvalsh(-1j * skew)
    return -0.5 + 1j * np.sort(frequencies)[pairs:]


def diagonal(kind: Initialisation, channels: int, pairs: int, generator: torch.Generator | None = None) -> Tensor:
    """Return A at the start of training: (channels, pairs) complex128, one of each conjugate pair, real part < 0.

    With N = 2 pairs and n = 0 .. pairs - 1: `legs` is S4D-LegS (same for every channel, as all but `random`); `inv` is
    eq. 8, -1/2 + i N/pi (N / (2n + 1) - 1); `lin` is eq. 9, -1/2 + i pi n; `real` is S4D-Real, -(n + 1), whose
    imaginary part starts at 0 and is learned; `random` has the decay 1/2 of the others and imaginary parts drawn
    evenly from [0, pi N / 2), the range of `lin`, for each channel (the paper's ablation of random imaginary parts).
    """
    n = np.arange(pairs)
    if kind == "random":
        drawn = torch.rand(channels, pairs, dtype=torch.float64, generator=generator) * (math.pi * pairs)
        return torch.complex(torch.full_like(drawn, -0.5), drawn)
    if kind == "legs":
        row = legs(pairs)
    elif kind == "lin":
        row = -0.5 + 1j * np.pi * n
    elif kind == "inv":
        size = 2 * pairs
        row = -0.5 + 1j * size / np.pi * (size / (2 * n + 1) - 1)
    else:
        row = -(n + 1.0) + 0j
    return torch.from_numpy(np.tile(row, (channels, 1)))
