"""How far a network may leave the yardstick: what its mean, scale and opinion on shape gain on validation labels.

The principle of `tabular.location_scale`, for a network that is still learning: per horizon the swing of the log scale
and the mean are used to the share that pays out of sample, less what chance explains, and chance is given more credit
for a mean, which is what a small network overfits first; draws look at the context only where that clearly beats one
law for all rows.
"""

from __future__ import annotations

from collections.abc import Callable
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
class Rows:
    """One horizon's labels (rows,): learned mean, swing of the log scale around its centre, standardised outcome."""

    mean: Floats
    swing: Floats
    outcome: Floats


@dataclass(frozen=True)
class Judged:
    """One horizon: the labels that taught, and those that judge."""

    train: Rows
    validation: Rows

    def margin(self, share: float, lean: float, levels: int) -> Floats:
        """Return quantiles (levels,) of what `share` of the swing and `lean` of the mean leave of training labels."""
        left = (self.train.outcome - lean * self.train.mean) * np.exp(-share * self.train.swing)
        return mirrored_quantiles(left, levels)

    def score(self, share: float, lean: float) -> Floats:
        """Return the CRPS of the validation labels where so much of swing and mean is used: (validation rows,)."""
        rows, law = self.validation, self.margin(share, lean, _LEVELS)
        return standing_crps(law, np.exp(share * rows.swing), rows.outcome - lean * rows.mean)


def trust(judged: Judged, overlap: float, scale_errors: float, mean_errors: float) -> tuple[float, float]:
    """Return the shares of the log scale's swing and of the mean to use.

    `overlap`: validation rows that one label spans; `scale_errors`, `mean_errors`: standard errors of gain at which a
    scale or a mean counts nothing. The mean is judged beside the scale that is used.
    """
    share = _believed(lambda some: judged.score(some, 0.0), overlap, scale_errors)
    return share, _believed(lambda some: judged.score(share, some), overlap, mean_errors)


def _believed(score: Callable[[float], Floats], overlap: float, errors: float) -> float:
    """Return the share with the best score, less what chance explains (positive part, James & Stein 1961)."""
    reference = score(0.0)
    gains = [reference - score(share) for share in SHARES]
    best = int(np.argmax([gain.mean() for gain in gains]))
    t = max(t_value(gains[best], overlap), 1e-9)
    return SHARES[best] * max(1.0 - (errors / t) ** 2, 0.0)


def shape_gain(plain: Floats, informed: Floats, counted: Bools, overlap: Floats) -> tuple[float, float]:
    """Return how much lower the CRPS of informed draws is than that of plain ones, as a share of it, and its t value.

    `plain`, `informed`: (rows, horizons); `overlap` (horizons,) as in `trust`. Horizons count alike; a row's horizons
    are averaged before its error is worked out, because they move together.
    """
    usual = np.array([plain[counted[:, h], h].mean() if counted[:, h].any() else 1.0 for h in range(plain.shape[1])])
    gain = np.where(counted, (plain - informed) / usual, 0.0).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
    gain = gain[counted.any(axis=1)]
    return (float(gain.mean()), t_value(gain, float(overlap.max()))) if len(gain) else (0.0, 0.0)


def pairing(samples: Floats, outcome: Floats, counted: Bools, seed: int = 0) -> float:
    """Return the energy score of samples (rows, draws, horizons) as a share of that with their draws paired at random.

    Below 1 where draws of the horizons that belong together say more than each horizon alone; 1 with one horizon. Only
    rows with all outcomes count (rows, horizons). Gneiting & Raftery (2007), eq. 22.
    """
    rows = counted.all(axis=1)
    if samples.shape[2] < 2 or not rows.any():
        return 1.0
    drawn, truth = samples[rows], outcome[rows]
    mixed = drawn.copy()
    rng = np.random.default_rng(seed)
    for h in range(1, drawn.shape[2]):
        mixed[..., h] = drawn[:, rng.permutation(drawn.shape[1]), h]
    return _energy_score(drawn, truth) / _energy_score(mixed, truth)


def _energy_score(samples: Floats, outcome: Floats) -> float:
    draws = samples.shape[1]
    near = np.linalg.norm(samples - outcome[:, None], axis=-1).mean()
    apart = [np.linalg.norm(samples - np.roll(samples, by, axis=1), axis=-1).mean() for by in range(1, draws)]
    return float(near - 0.5 * np.mean(apart))


def t_value(gain: Floats, overlap: float) -> float:
    """Return mean gain (rows,) by its standard error, where `overlap` rows share one observation."""
    error = float(gain.std()) / np.sqrt(max(len(gain) / max(overlap, 1.0), 1.0))
    return float(gain.mean()) / error if error > 0 else 0.0
