"""How far a network may leave the yardstick: what its scale and its opinion on shape gain on validation labels.

The principle of `tabular.location_scale`, for a network that is still learning: per horizon the swing of the log scale
is used to the share that pays out of sample, less what chance explains; draws look at the context only where that
clearly beats one law for all rows, since a conditional mean is what a small network overfits first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SHARES = (0.25, 0.5, 0.75, 1.0)
_LEVELS = 49  # quantiles that stand for the law of u: the CRPS changes by less than 1e-4 with more


@dataclass(frozen=True)
class Scale:
    """Verdict on the learned scale: `trust` and `crps`, its mean score over labels, (horizons,) each."""

    trust: Floats
    crps: Floats


def standing_crps(quantiles: Floats, width: Floats, outcome: Floats) -> Floats:
    """Return the CRPS (rows,) of one law, given by evenly spaced `quantiles` (levels,), stretched to `width` (rows,).

    Mean pinball loss at levels (i - 1/2) / n, as in `adjustment.sample_crps`.
    """
    level = (np.arange(len(quantiles)) + 0.5) / len(quantiles)
    gap = outcome[:, None] - width[:, None] * quantiles
    return np.asarray(2 * np.mean(np.maximum(level * gap, (level - 1) * gap), axis=1))


def standing_quantiles(draws: Floats) -> Floats:
    """Return evenly spaced quantiles (levels, horizons) of `draws` (draws, horizons), their mean moved to zero."""
    level = (np.arange(_LEVELS) + 0.5) / _LEVELS
    return np.asarray(np.quantile(draws - draws.mean(axis=0), level, axis=0, method="hazen"))


def judge_scale(
    quantiles: Floats,
    swing: tuple[Floats, Floats],
    outcome: tuple[Floats, Floats],
    counted: tuple[Bools, Bools],
    overlap: Floats,
    errors: float,
) -> Scale:
    """Judge log scales around their centre, `swing`: on training and validation rows, (rows, horizons) each.

    `quantiles` (levels, horizons) of the law of u; `outcome`, `counted`: as `swing`, of standardised targets; `overlap`
    (horizons,): validation rows that one label spans; `errors`: standard errors of gain at which a scale counts for
    nothing (positive-part shrinkage, James & Stein 1961). Each share is judged with the spread that training rows give
    it, so that the yardstick itself is not held back by a law of u that was made for another scale.
    """
    horizons = quantiles.shape[1]
    trust, crps = np.zeros(horizons), np.full(horizons, np.nan)
    for h in range(horizons):
        train, validation = counted[0][:, h], counted[1][:, h]
        if not train.any() or not validation.any():
            continue
        score = _Judged(
            quantiles[:, h],
            swing[0][train, h],
            np.abs(outcome[0][train, h]),
            swing[1][validation, h],
            outcome[1][validation, h],
        )
        reference = score(0.0)
        gains = [reference - score(share) for share in SHARES]
        best = int(np.argmax([gain.mean() for gain in gains]))
        t = max(t_value(gains[best], float(overlap[h])), 1e-9)
        trust[h] = SHARES[best] * max(1.0 - (errors / t) ** 2, 0.0)
        crps[h] = score(trust[h]).mean()
    return Scale(trust, crps)


@dataclass(frozen=True)
class _Judged:
    """One horizon: quantiles of u, swing and absolute outcome of training rows, swing and outcome of validation."""

    quantiles: Floats
    taught: Floats
    size: Floats
    swing: Floats
    outcome: Floats

    def __call__(self, share: float) -> Floats:
        """Return the CRPS of validation rows where `share` of the swing is used."""
        spread = float(np.mean(self.size * np.exp(-share * self.taught))) / float(np.abs(self.quantiles).mean())
        return standing_crps(self.quantiles, spread * np.exp(share * self.swing), self.outcome)


def shape_gain(plain: Floats, informed: Floats, counted: Bools, overlap: Floats) -> tuple[float, float]:
    """Return how much lower the CRPS of informed draws is than that of plain ones, as a share of it, and its t value.

    `plain`, `informed`: (rows, horizons); `overlap` as in `judge_scale`. Horizons count alike; a row's horizons are
    averaged before its error is worked out, because they move together.
    """
    usual = np.array([plain[counted[:, h], h].mean() if counted[:, h].any() else 1.0 for h in range(plain.shape[1])])
    gain = np.where(counted, (plain - informed) / usual, 0.0).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
    gain = gain[counted.any(axis=1)]
    return (float(gain.mean()), t_value(gain, float(overlap.max()))) if len(gain) else (0.0, 0.0)


def t_value(gain: Floats, overlap: float) -> float:
    """Return mean gain (rows,) by its standard error, where `overlap` rows share one observation."""
    error = float(gain.std()) / np.sqrt(max(len(gain) / max(overlap, 1.0), 1.0))
    return float(gain.mean()) / error if error > 0 else 0.0
