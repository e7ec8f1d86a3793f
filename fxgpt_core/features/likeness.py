"""Do training and validation rows look too alike? (SPEC 2: Kolmogorov–Smirnov, p > 0.8, a sign of leakage.)

Two spans of a market never look the same: volatility drifts, so slow columns differ from span to span. Where rows were
shuffled, copied or filled from the other span, the distributions agree better than chance allows.

Rows depend on each other, so textbook p-values mean nothing: with n rows every slow column differs "significantly",
leak or not, and with an effective n the distance of slow columns follows another law than Kolmogorov's (simulated: 57 %
of p-values above 0.8 without a leak). So the p-value is read off the training span itself, as in drift detection: the
distance of validation from training is ranked among those of the training span's own stretches of the same length from
the rest of it. Clocks and columns with many equal values need no exception then.

Still a fifth of the columns has p > 0.8 by chance and one column proves nothing. The alarm is raised where more columns
are too alike than a binomial law allows at their effective number, the participation ratio of their correlations. Over
50 walk-forward spans of five pairs that chance was .004 and more; with the same rows dealt to training and validation
at random it was 4e-4 and less with 170 columns, 5e-8 and less with 400 to 600.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fxgpt_core.common.config import Config

Floats = NDArray[np.float64]

_ROWS = 2000  # training rows that are looked at, evenly thinned
_FEWEST = 50
_STRETCHES = 24  # evenly spaced; they overlap where validation is long


class LikenessConfig(Config):
    """When training and validation rows are too alike."""

    p_value: float = Field(default=0.8, gt=0, lt=1, description="A column is too alike above this KS p-value.")
    chance: float = Field(
        default=1e-3, gt=0, lt=1, description="Chance at which so many columns would be too alike without a leak."
    )


@dataclass(frozen=True)
class Likeness:
    """Verdict; `distance`, `p_values`: (columns,), KS distance of validation from training and its rank.

    `limit`: p-value above which a column is too alike; `share`: of such columns, by chance 1 - `limit`; `columns`:
    their effective number; `chance`: probability of that share or more without a leak; `alarm`: less than allowed.
    """

    limit: float
    distance: Floats
    p_values: Floats
    share: float
    columns: float
    chance: float
    alarm: bool

    def sentence(self, names: Sequence[str], most: int = 5) -> str:
        """Return the warning, with the most alike columns; empty where there is nothing to warn of."""
        if not self.alarm:
            return ""
        named = ", ".join(
            f"{names[i]} (p = {self.p_values[i]:.2f})" for i in np.argsort(-self.p_values, kind="stable")[:most]
        )
        return (
            f"training and validation rows look too alike, a sign of leakage: {self.share:.0%} of the columns have a "
            f"Kolmogorov–Smirnov p-value above {self.limit:g}, {1 - self.limit:.0%} are expected (chance "
            f"{self.chance:.1g}); most alike: {named}"
        )


def likeness(train: NDArray[Any], validation: NDArray[Any], config: LikenessConfig | None = None) -> Likeness | None:
    """Compare the columns of `train` (rows, columns) and `validation` (rows, columns), both in time order, no gaps.

    Returns None where there is no column, or too few rows: 50 for validation and three times as many for training as
    for validation are needed.
    """
    from scipy.special import betainc

    config = config or LikenessConfig()
    if len(validation) < _FEWEST or len(train) < 3 * len(validation) or not train.shape[1]:
        return None
    step = -(-len(train) // _ROWS)
    left, right = train[::step], validation[::step]
    stretches = _stretches(len(left), len(right))
    pairs = [_column(left[:, i], right[:, i], stretches) for i in range(left.shape[1])]
    distance, p_values = np.array(pairs).T
    share, count = float((p_values > config.p_value).mean()), _effective_columns(left)
    chance = float(betainc(count * share, count * (1 - share) + 1, 1 - config.p_value)) if share else 1.0
    return Likeness(config.p_value, distance, p_values, share, count, chance, chance < config.chance)


def _stretches(rows: int, length: int) -> NDArray[np.bool_]:
    """Return which training rows belong to each stretch: (stretches, rows)."""
    starts = np.linspace(0, rows - length, min(_STRETCHES, rows - length + 1)).round().astype(np.int64)
    at = np.arange(rows)
    return np.asarray((at >= starts[:, None]) & (at < starts[:, None] + length))


def _column(train: NDArray[Any], validation: NDArray[Any], stretches: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the KS distance of validation from training and its p-value among those of the stretches."""
    n, m = len(train), len(validation)
    both = np.concatenate([train, validation])
    order = np.argsort(both, kind="stable")
    new = _last_of_equals(both[order])
    inside = np.cumsum(order < n)[new]
    distance = float(np.abs(inside / n - (np.flatnonzero(new) + 1 - inside) / m).max())
    order = order[order < n]
    last = _last_of_equals(train[order])
    within = np.cumsum(stretches[:, order], axis=1, dtype=np.int32)[:, last]  # (stretches, values)
    rest = np.flatnonzero(last) + 1 - within
    size = int(stretches[0].sum())
    own = np.abs(within / size - rest / (n - size)).max(axis=1)
    above, equal = (own > distance + 1e-12).sum(), (np.abs(own - distance) <= 1e-12).sum()
    return distance, float((above + (equal + 1) / 2) / (len(own) + 1))


def _last_of_equals(ordered: NDArray[Any]) -> NDArray[np.bool_]:
    return np.append(ordered[1:] != ordered[:-1], True)


def _effective_columns(x: NDArray[Any]) -> float:
    """Return the participation ratio of the eigenvalues of the correlations, (Σλ)² / Σλ²."""
    centred = x - x.mean(axis=0)
    centred = (centred / np.maximum(centred.std(axis=0), 1e-12)).astype(np.float32)
    correlation = np.asarray(centred.T @ centred, dtype=np.float64) / len(x)
    return float(np.trace(correlation) ** 2 / np.square(correlation).sum())
