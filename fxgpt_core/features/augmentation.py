"""Training augmentation (SPEC 2): a little noise on standardised inputs, and windows that end a few bars early.

A shift goes into the past only: the label stays that of the decision row while the inputs are those of up to `shift`
bars before, which is stale but never ahead. Both are functions of the generator that is passed in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fxgpt_core.common.config import Config


class AugmentationConfig(Config):
    """How training inputs are disturbed; SPEC 2 names noise 0.001 and shift 5, nothing is disturbed by default."""

    noise: float = Field(default=0.0, ge=0, le=1, description="Gaussian noise on inputs, in their deviations; 0.001.")
    shift: int = Field(default=0, ge=0, le=100, description="Most base bars by which inputs are older; 5.")


def shifts(rows: int, config: AugmentationConfig, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return how many bars earlier each window ends: (rows,) int64, uniform on 0..`config.shift`."""
    return rng.integers(0, config.shift + 1, size=rows, dtype=np.int64)


def noisy(values: NDArray[np.float32], config: AugmentationConfig, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a copy of standardised `values`, any shape, with Gaussian noise of `config.noise` deviations."""
    if not config.noise:
        return values.copy()
    noise = rng.standard_normal(values.shape, dtype=np.float32)
    return values + np.float32(config.noise) * noise
