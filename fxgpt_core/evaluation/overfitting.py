"""How likely is the best trial of a backtest an overfit one? Combinatorially symmetric cross-validation.

Bailey, Borwein, López de Prado & Zhu (2017, "The probability of backtest overfitting", J. Computational Finance 20).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import BadInputError

Floats = NDArray[np.float64]

BLOCKS = 16
"""Blocks of the paper: 12 870 ways to choose half of them."""


@dataclass(frozen=True)
class Overfitting:
    """`probability`: share of the choices in which the best trial of one half is below the median of the other.

    `logits`: (choices,) log odds of its rank out of sample; `inside`, `outside`: (choices,) its Sharpe ratio per
    observation in the half where it was chosen and in the other; `slope`: of a line of the second over the first;
    `loss_probability`: share of the choices with a ratio below zero outside.
    """

    probability: float
    logits: Floats
    inside: Floats
    outside: Floats
    slope: float
    loss_probability: float


def probability_of_overfitting(returns: Floats, blocks: int = BLOCKS) -> Overfitting:
    """Return the probability of backtest overfitting of (rows, trials) returns, by Sharpe ratio.

    Rows are cut into `blocks` consecutive blocks of equal length, what does not fit is left off at the start; every
    choice of half of the blocks selects the best trial, which the other half judges. Ties share their rank.

    Raises BadInputError below two trials, at an odd number of blocks, or where blocks hold fewer than two rows.
    """
    rows, trials = returns.shape
    if trials < 2 or blocks < 2 or blocks % 2 or blocks > 20 or rows < 2 * blocks:
        raise BadInputError(
            f"Cross-validation of {trials} trials over {rows} rows in {blocks} blocks: at least two trials, an even "
            "number of blocks up to 20 and two rows in each are needed."
        )
    if not np.isfinite(returns).all():
        raise BadInputError("Cross-validation of trials needs finite returns: fill days without trades with zero.")
    size = rows // blocks
    cut = returns[rows - size * blocks :].reshape(blocks, size, trials)
    chosen = np.array(list(combinations(range(blocks), blocks // 2)))
    member = np.zeros((len(chosen), blocks))
    np.put_along_axis(member, chosen, 1.0, axis=1)
    total, square = cut.sum(axis=1), (cut**2).sum(axis=1)  # (blocks, trials)
    half = size * blocks // 2
    inside = _ratio(member @ total, member @ square, half)  # (choices, trials)
    outside = _ratio((1 - member) @ total, (1 - member) @ square, half)
    best = inside.argmax(axis=1)[:, None]
    theirs = np.take_along_axis(outside, best, axis=1)
    rank = (outside < theirs).sum(axis=1) + ((outside == theirs).sum(axis=1) + 1) / 2  # 1 is worst
    share = rank / (trials + 1)
    logits = np.log(share / (1 - share))
    first, second = np.take_along_axis(inside, best, axis=1)[:, 0], theirs[:, 0]
    spread = float(((first - first.mean()) ** 2).sum())
    slope = float(((first - first.mean()) * second).sum() / spread) if spread > 0 else 0.0
    return Overfitting(
        probability=float((logits <= 0).mean()),
        logits=logits,
        inside=first,
        outside=second,
        slope=slope,
        loss_probability=float((second < 0).mean()),
    )


def _ratio(total: Floats, square: Floats, rows: int) -> Floats:
    """Return Sharpe ratios from sums and sums of squares; 0 where a trial never moved."""
    mean = total / rows
    spread = np.sqrt(np.maximum(square / rows - mean**2, 0) * rows / (rows - 1))
    return np.divide(mean, spread, out=np.zeros_like(mean), where=spread > 1e-9 * np.sqrt(square / rows + 1e-300))
