"""The model confidence set: the models that data cannot tell from the best (Hansen, Lunde & Nason 2011)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.dependence import TERMS, cosine_terms, cosines
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.evaluation.bootstrap import REPEATS, block_length, draw_blocks
from fxgpt_core.evaluation.significance import NOTHING

Floats = NDArray[np.float64]
Statistic = Literal["max", "range"]


@dataclass(frozen=True)
class ConfidenceSet:
    """`p_values`: model -> MCS p-value, in order of elimination, the last one 1; `members`: those above 1 − confidence.

    The set holds the best model with probability `confidence`; a small set means that data speak clearly.
    """

    p_values: Mapping[str, float]
    members: tuple[str, ...]
    confidence: float
    length: float


def model_confidence_set(
    losses: Mapping[str, Floats],
    seed: int,
    overlap: int = 1,
    confidence: float = 0.95,
    statistic: Statistic = "max",
    repeats: int = REPEATS,
    terms: int = TERMS,
) -> ConfidenceSet:
    """Return the set of models, from model -> (rows,) losses on the same rows, lower is better.

    Models are eliminated one by one with T_max (a model against the mean of those left, section 3.1.2, eq. 7) or T_R
    ("range", every pair). The distribution under equal skill comes from a stationary block bootstrap of all models
    together; statistic and resamples are studentised with the equal-weighted cosine variance, each with its own, which
    keeps the level under overlap and persistence (DESIGN, "Honest numbers").

    Raises BadInputError where losses are of different length, not finite, or fewer than 8.
    """
    names, values = _stacked(losses)
    rows, count = values.shape
    used = cosine_terms(rows, overlap, terms)
    relative = values - values.mean(axis=1, keepdims=True)  # what all models share says nothing
    length = max(block_length(relative[:, column], overlap) for column in range(count))
    blocks = draw_blocks(rows, length, seed, repeats)
    centre, scale = relative.mean(axis=0), float(np.abs(values).mean())
    measured = _Moments(centre[None], (cosines(rows, used) @ (relative - centre))[None], rows, scale)
    resampled = _Moments(blocks.means(relative) - centre, blocks.cosine_coefficients(relative, used), rows, scale)
    left, p_values, highest = list(range(count)), {}, 0.0
    while len(left) > 1:
        observed = measured.ratios(left, statistic)[0]  # (models left,)
        drawn = resampled.ratios(left, statistic).max(axis=1)  # (repeats,)
        highest = max(highest, float((drawn >= observed.max()).mean()))
        worst = left.pop(int(observed.argmax()))
        p_values[names[worst]] = highest
    p_values[names[left[0]]] = 1.0
    members = tuple(name for name in names if p_values[name] > 1 - confidence)
    return ConfidenceSet(p_values, members, confidence, length)


@dataclass(frozen=True)
class _Moments:
    """Mean losses (draws, models), their cosine coefficients (draws, terms, models), and the scale of losses."""

    means: Floats
    coefficients: Floats
    rows: int
    scale: float

    def ratios(self, left: list[int], statistic: Statistic) -> Floats:
        """Return for each model left how far it is behind, in standard errors: (draws, models left)."""
        means, waves = self.means[:, left], self.coefficients[:, :, left]
        if statistic == "max":
            return self._over_error(
                means - means.mean(axis=1, keepdims=True), waves - waves.mean(axis=2, keepdims=True)
            )
        columns = [self._over_error(means[:, [i]] - means, waves[:, :, [i]] - waves) for i in range(len(left))]
        return np.stack([column.max(axis=1) for column in columns], axis=1)

    def _over_error(self, means: Floats, waves: Floats) -> Floats:
        error = np.sqrt(2 * (waves**2).mean(axis=1)) / self.rows
        varies = error > NOTHING * self.scale
        certain = np.where(np.abs(means) > NOTHING * self.scale, np.copysign(np.inf, means), 0.0)
        return np.divide(means, error, out=certain, where=varies)


def _stacked(losses: Mapping[str, Floats]) -> tuple[list[str], Floats]:
    lengths = {len(loss) for loss in losses.values()}
    if len(lengths) != 1 or min(lengths) < 8:
        raise BadInputError(
            f"A model confidence set needs losses of every model on the same rows, at least 8; given are "
            f"{ {name: len(loss) for name, loss in losses.items()} }."
        )
    values = np.column_stack(list(losses.values()))
    if not np.isfinite(values).all():
        unknown = [name for name, loss in losses.items() if not np.isfinite(loss).all()]
        raise BadInputError(f"Losses of {', '.join(unknown)} are not all finite: pass rows with known outcomes only.")
    return list(losses), values
