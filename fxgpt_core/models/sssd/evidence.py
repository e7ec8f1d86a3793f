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


def standing_crps(quantiles: Floats, width: Floats, outcome: Floats) -> Floats:
    """Return the CRPS (rows,) of one law, given by evenly spaced `quantiles` (levels,), stretched to `width` (rows,).

    Mean pinball loss at levels (i - 1/2) / n, as in `adjustment.sample_crps`.
    """
    level = (np.arange(len(quantiles)) + 0.5) / len(quantiles)
    gap = outcome[:, None] - width[:, None] * quantiles
    return np.asarray(2 * np.mean(np.maximum(level * gap, (level - 1) * gap), axis=1))


def mirrored_quantiles(values: Floats, levels: int) -> Floats:
    """Return evenly spaced quantiles (levels,) of `values` (n,) and their mirror images: a law without a mean."""
    level = (np.arange(levels) + 0.5) / levels
    return np.asarray(np.quantile(np.concatenate([values, -values]), level, method="hazen"))


@dataclass(frozen=True)
class Judged:
    """One horizon's labels: swing of the log scale around its centre and standardised outcome, (rows,) each."""

    taught: Floats
    train: Floats
    swing: Floats
    validation: Floats

    def margin(self, share: float, levels: int) -> Floats:
        """Return quantiles (levels,) of what `share` of the swing leaves of the training labels."""
        return mirrored_quantiles(self.train * np.exp(-share * self.taught), levels)

    def score(self, share: float) -> Floats:
        """Return the CRPS of the validation labels where `share` of the swing is used: (validation rows,)."""
        return standing_crps(self.margin(share, _LEVELS), np.exp(share * self.swing), self.validation)


def trust(judged: Judged, overlap: float, errors: float) -> tuple[float, float]:
    """Return the share of a log scale's swing to use, and the mean validation CRPS with it.

    `overlap`: validation rows that one label spans; `errors`: standard errors of gain at which a scale counts for
    nothing (positive-part shrinkage, James & Stein 1961).
    """
    reference = judged.score(0.0)
    gains = [reference - judged.score(share) for share in SHARES]
    best = int(np.argmax([gain.mean() for gain in gains]))
    t = max(t_value(gains[best], overlap), 1e-9)
    share = SHARES[best] * max(1.0 - (errors / t) ** 2, 0.0)
    return share, float(judged.score(share).mean())


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
