"""Gramian angular fields (GAF; Wang and Oates 2015): cosines of summed, or sines of differing, angles of two moments.

A value x is the angle arccos x; time runs along both axes. Several variables share one field, the mean of theirs. That
is the Gramian of the joint angles: no variable leads, their order does not matter, and it costs one product of
matrices however many there are. What the mean hides, which of them moved, is in the segmentation.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def draw(scaled: Tensor, kind: Literal["summation", "difference"], positive: bool, out: Tensor) -> None:
    """Write the fields, -1..1, of series (rows, length, variables) that span 0..1 into `out` (rows, length, length).

    With `positive` the values are cosines as they are, otherwise stretched to -1..1 first. Entry (i, j) is
    cos(φ_i + φ_j) for `summation` and sin(φ_i - φ_j) for `difference`.
    """
    cosine = scaled if positive else 2.0 * scaled - 1.0
    sine = (1.0 - cosine.square()).clamp(min=0.0).sqrt()
    left = torch.cat([cosine, sine] if kind == "summation" else [sine, cosine], dim=2)
    right = torch.cat([cosine, -sine], dim=2) / scaled.shape[2]
    torch.bmm(left, right.mT, out=out)


def diagonal_series(fields: Tensor) -> Tensor:
    """Return what the diagonals of summation fields (rows, length, length) say of the series: (rows, length), 0..1.

    cos 2φ = 2x² - 1: of one variable in its positive range it is the series itself, of a signed one its size, of
    several the root of their mean square.
    """
    return ((torch.diagonal(fields, dim1=1, dim2=2) + 1.0) / 2.0).clamp(min=0.0).sqrt()
