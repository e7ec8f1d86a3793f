"""Evidence that may be looked at after every observation: an e-process for the mean of blocks.

The e-value is the likelihood ratio of Student's t statistic, averaged over effect sizes above zero, against an effect
of zero: for normal observations of unknown variance a test martingale in what remains of them when their scale is
taken out, which is all that the rule looks at, however often (Lai 1976, Annals of Statistics 4; Pérez-Ortiz, Lardy,
de Heide and Grünwald 2024, Annals of Statistics 52; Wang and Ramdas 2025, Sequential Analysis 44, where a Gaussian
mixture takes the place of Lai's flat one). By Ville's inequality it ever reaches 1/α with a probability of at most α
where the mean is zero or below. Forecast scores are neither normal nor independent: their means over blocks, none of
whose labels reaches into another, come near it, and `docs/live.md` says what the simulation of the whole rule finds.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EFFECT = 0.8
"""Scale of the half-normal weights of effect sizes: mean of a block over its standard deviation."""
_EFFECTS = 40


def e_process(blocks: Floats) -> Floats:
    """Return the e-value after each of the (blocks,) observations that their mean lies above zero; 1 after the first.

    Where the observations do not vary, nothing can be said of their spread and the e-value stays 1.
    """
    from scipy.stats import nct, t

    values = np.ones(len(blocks))
    effects, weights = _mixture()
    for count in range(2, len(blocks) + 1):
        seen = blocks[:count]
        spread = float(seen.std(ddof=1))
        if not np.isfinite(spread) or spread <= 1e-12 * max(1.0, float(np.abs(seen).max())):
            continue
        statistic = float(seen.mean()) / spread * np.sqrt(count)
        against = t.logpdf(statistic, count - 1)
        with np.errstate(all="ignore"):
            ratios = np.exp(nct.logpdf(statistic, count - 1, effects * np.sqrt(count)) - against)
        values[count - 1] = float(np.nansum(weights * ratios))
    return values


@lru_cache(maxsize=1)
def _mixture() -> tuple[Floats, Floats]:
    """Return effect sizes and their weights: quantiles of a half-normal, all with the same weight."""
    from scipy.stats import halfnorm

    levels = (np.arange(_EFFECTS) + 0.5) / _EFFECTS
    return np.asarray(halfnorm.ppf(levels) * EFFECT), np.full(_EFFECTS, 1 / _EFFECTS)
