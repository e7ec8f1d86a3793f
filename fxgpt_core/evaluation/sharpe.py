"""Is a Sharpe ratio more than luck? Probabilistic and deflated Sharpe ratio, minimum track record length.

Bailey & López de Prado (2012, "The Sharpe ratio efficient frontier", J. Risk 15) and (2014, "The deflated Sharpe
ratio", J. Portfolio Management 40). Sharpe ratios are per observation, not annualised; `kurtosis` is 3 for a normal
distribution. The papers count observations as independent; here the number may be an effective one (`SharpeRatio`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.dependence import TERMS, estimate_mean
from fxgpt_core.common.errors import BadInputError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SharpeRatio:
    """Sharpe ratio per observation with the moments of the returns and the number of independent observations."""

    value: float
    skewness: float
    kurtosis: float
    rows: int
    effective_rows: float

    def probability_above(self, benchmark: float = 0.0) -> float:
        """Return the probabilistic Sharpe ratio with the effective number of observations."""
        return probabilistic_sharpe(self.value, benchmark, self.effective_rows, self.skewness, self.kurtosis)

    def deflated(self, trial_ratios: Sequence[float]) -> float:
        """Return the deflated Sharpe ratio, given the ratios per observation of every trial made, this one too."""
        ratios = np.asarray(trial_ratios, dtype=np.float64)
        spread = float(ratios.var(ddof=1)) if len(ratios) > 1 else 0.0
        return self.probability_above(expected_maximum(spread, max(len(ratios), 1)))

    def rows_needed(self, benchmark: float = 0.0, confidence: float = 0.95) -> float:
        """Return the minimum track record length in rows as dependent as these; infinite where never enough."""
        needed = minimum_track_record(self.value, benchmark, self.skewness, self.kurtosis, confidence)
        return needed * self.rows / self.effective_rows


def sharpe_ratio(returns: Floats, overlap: int = 1, terms: int = TERMS) -> SharpeRatio:
    """Return the Sharpe ratio of (rows,) returns; its effective rows come from its influence function.

    The influence of a return, z − SR (z² − 1) / 2 with z its standardised value, has the variance of the papers'
    formula; its long-run variance says what dependence adds (Lo 2002). Raises BadInputError below 8 rows or where
    returns do not vary.
    """
    rows = len(returns)
    if rows < 8 or not np.isfinite(returns).all() or returns.std() == 0:
        raise BadInputError(f"A Sharpe ratio needs at least 8 finite returns that vary; given are {rows}.")
    z = (returns - returns.mean()) / returns.std()
    value = float(returns.mean() / returns.std(ddof=1))
    influence = z - value / 2 * (z**2 - 1)
    effective = estimate_mean(influence, overlap, terms).effective_rows
    return SharpeRatio(value, float((z**3).mean()), float((z**4).mean()), rows, effective)


def probabilistic_sharpe(
    ratio: float, benchmark: float, rows: float, skewness: float = 0.0, kurtosis: float = 3.0
) -> float:
    """Return the probability that the true ratio is above `benchmark` (2012, eq. 8), `rows` observations."""
    from scipy.stats import norm

    if rows <= 1:
        raise BadInputError(f"The probability of a Sharpe ratio needs more than one observation, not {rows:g}.")
    return float(norm.cdf((ratio - benchmark) * np.sqrt((rows - 1) / _variance(ratio, skewness, kurtosis))))


def expected_maximum(variance: float, trials: int) -> float:
    """Return SR0, the largest ratio to expect of `trials` independent trials without skill (2014, eq. 1).

    `variance`: of the ratios over the trials.
    """
    from scipy.stats import norm

    if trials < 1 or variance < 0:
        raise BadInputError(f"SR0 needs at least one trial and no negative variance, not {trials} and {variance:g}.")
    if trials == 1:
        return 0.0
    upper, outer = norm.ppf(1 - 1 / trials), norm.ppf(1 - 1 / (trials * np.e))
    return float(np.sqrt(variance) * ((1 - np.euler_gamma) * upper + np.euler_gamma * outer))


def deflated_sharpe(
    ratio: float, variance: float, trials: int, rows: float, skewness: float = 0.0, kurtosis: float = 3.0
) -> float:
    """Return the probability that a ratio picked as the best of `trials` is above what luck gives (2014, eq. 2)."""
    return probabilistic_sharpe(ratio, expected_maximum(variance, trials), rows, skewness, kurtosis)


def minimum_track_record(
    ratio: float, benchmark: float = 0.0, skewness: float = 0.0, kurtosis: float = 3.0, confidence: float = 0.95
) -> float:
    """Return how many independent observations show that a ratio is above `benchmark` (2012, eq. 11).

    Infinite where the ratio is not above it.
    """
    from scipy.stats import norm

    if ratio <= benchmark:
        return float("inf")
    return float(1 + _variance(ratio, skewness, kurtosis) * (norm.ppf(confidence) / (ratio - benchmark)) ** 2)


def _variance(ratio: float, skewness: float, kurtosis: float) -> float:
    """Return the variance of the estimated ratio times the number of observations (Mertens 2002)."""
    return 1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2
