"""Post-hoc shrinkage of samples, fitted on validation rows only.

A small network overfits the conditional mean and scale of short data. So, per horizon,
z' = shrink * centre + scale * (z - centre), where centre is the row's sample mean: `shrink` in [0, 1] pulls the mean
towards zero, `scale` corrects the spread. Both are themselves shrunk towards "no mean" and "no correction" by how few
independent validation labels there are, since labels of overlapping horizons are not independent observations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fxgpt_core.common.config import Config
from fxgpt_core.features.dataset import Dataset

Floats = NDArray[np.float64]

_FEWEST = 5.0  # effective rows below which nothing is fitted


class AdjustmentConfig(Config):
    """What validation rows have to show before forecasts leave the yardstick."""

    scale_errors: float = Field(
        0.5, ge=0, le=10, description="Standard errors of gain at which the learned scale of a horizon counts nothing."
    )
    mean_errors: float = Field(
        2.0,
        ge=0,
        le=10,
        description="The same for its learned mean; more, since currencies hardly trend: at one, every sixth mean "
        "would be let in by chance.",
    )
    shape_errors: float | None = Field(
        3.0,
        ge=0,
        le=100,
        description="Standard errors by which draws given the context must beat draws of one law for all rows; high, "
        "because every epoch tries. The CRPS hardly sees two modes: where they are what is looked for, null gives "
        "draws the context without asking.",
    )
    spread_prior: float = Field(
        2000.0,
        ge=0,
        le=1e6,
        description="Effective rows at which a new spread counts half: spreads drift from month to month.",
    )
    mean_prior: float = Field(100.0, ge=0, le=1e6, description="Effective rows at which a mean counts half.")


def sample_crps(samples: Floats, outcome: Floats) -> Floats:
    """Return the CRPS of stratified draws (rows, draws) against outcomes (rows,): (rows,).

    Mean pinball loss of the ordered draws at levels (i - 1/2) / draws, which equals the CRPS of their empirical
    distribution (Laio & Tamea 2007; Bröcker 2012).
    """
    ordered = np.sort(samples, axis=-1)
    draws = ordered.shape[-1]
    level = (np.arange(draws) + 0.5) / draws
    gap = outcome[:, None] - ordered
    return np.asarray(2 * np.mean(np.maximum(level * gap, (level - 1) * gap), axis=-1))


@dataclass(frozen=True)
class Adjustment:
    """`shrink` and `scale` per horizon, (horizons,)."""

    shrink: Floats
    scale: Floats

    @classmethod
    def none(cls, horizons: int) -> Adjustment:
        """Return the adjustment that keeps the spread and has no opinion on the mean."""
        return cls(np.zeros(horizons), np.ones(horizons))

    @classmethod
    def fit(
        cls,
        samples: NDArray[np.float32],
        targets: Floats,
        mask: NDArray[np.bool_],
        overlap: Floats,
        prior: AdjustmentConfig,
        judged: bool = False,
    ) -> Adjustment:
        """Fit on samples (rows, draws, horizons), targets and mask (rows, horizons).

        `overlap` (horizons,) is how many base bars a label spans: rows / overlap counts as effective rows; `prior`
        says how many of them give the data half the say. `judged`: the mean has proved itself before and stays.
        """
        shrink = np.ones(targets.shape[1]) if judged else shrinkage(samples, targets, mask, overlap, prior)
        found = cls(shrink, np.ones(targets.shape[1]))
        for h in range(targets.shape[1]):
            rows = mask[:, h]
            effective = rows.sum() / max(overlap[h], 1.0)
            if effective < _FEWEST:
                continue
            draws, outcome = samples[rows, :, h].astype(np.float64), targets[rows, h]
            centre = draws.mean(axis=1, keepdims=True)
            grid = np.exp(np.linspace(-0.5, 0.5, 41))
            error = [sample_crps(found.shrink[h] * centre + s * (draws - centre), outcome).mean() for s in grid]
            found.scale[h] = grid[int(np.argmin(error))] ** (effective / (effective + prior.spread_prior))
        return found

    def apply(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return adjusted samples of the same shape (rows, draws, horizons)."""
        centre = samples.mean(axis=1, keepdims=True)
        return np.asarray(self.shrink * centre + self.scale * (samples - centre), dtype=np.float32)


def label_overlap(dataset: Dataset) -> Floats:
    """Return how many base bars a label of each horizon spans: (horizons,)."""
    return np.asarray(dataset.horizons, dtype=np.float64) / dataset.base.minutes


def shrinkage(
    samples: NDArray[np.float32],
    targets: Floats,
    mask: NDArray[np.bool_],
    overlap: Floats,
    prior: AdjustmentConfig,
) -> Floats:
    """Return how much of the sample mean to keep, in [0, 1], (horizons,); arguments as in `Adjustment.fit`.

    Per horizon the positive part of the regression slope of outcome on mean after subtracting its own noise, then
    pulled to zero by `prior.mean_prior`: currencies hardly trend, so a lucky validation span is the likelier reason.
    """
    out = np.zeros(targets.shape[1])
    for h in range(targets.shape[1]):
        rows = mask[:, h]
        effective = float(rows.sum() / max(overlap[h], 1.0))
        if effective < _FEWEST:
            continue
        centre, outcome = samples[rows, :, h].mean(axis=1, dtype=np.float64), targets[rows, h]
        power = float(np.mean(centre**2))
        slope = float(np.mean(centre * outcome)) / max(power, 1e-12)
        if slope <= 0:
            continue
        noise = float(np.mean((outcome - slope * centre) ** 2)) / (power * effective)  # squared error of the slope
        kept = float(np.clip(slope - noise / slope, 0.0, 1.0))
        out[h] = kept * effective / (effective + prior.mean_prior)
    return out
