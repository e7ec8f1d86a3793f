"""Which horizons contradict each other and how often (SPEC 9, multi-horizon consistency)."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.forecast import Forecast
from fxgpt_core.evaluation import scores
from fxgpt_core.evaluation.breakdown import FEWEST, share_estimate
from fxgpt_core.evaluation.config import EvaluationConfig
from fxgpt_core.evaluation.result import Consistency, Estimate
from fxgpt_core.features.outcomes import Outcomes

Floats = NDArray[np.float64]


def contradictions(name: str, forecast: Forecast, truth: Outcomes, config: EvaluationConfig) -> tuple[Consistency, ...]:
    """Return the contradictions of family `name` for every pair of horizons; `truth` has the rows of the forecast.

    Intervals rest on the effective rows of the longer label.
    """
    widths = scores.width(forecast.quantiles, 0.9, forecast.levels)  # (rows, horizons)
    zero = np.zeros(forecast.mean.shape)
    edge = 0.5 - scores.pit(zero, forecast.quantiles, forecast.levels)  # P(up) − 0.5
    found = []
    for left, right in combinations(range(len(forecast.horizons)), 2):
        pair, overlap = [left, right], truth.overlap(right)
        points = (forecast.mean[:, pair] != 0).all(axis=1)
        surely = (np.abs(edge[:, pair]) >= config.contradiction_margin).all(axis=1)
        opposed = _opposite(forecast.mean[:, pair])[points]
        happened = truth.returns[:, pair][points]
        happened = happened[np.isfinite(happened).all(axis=1) & (happened != 0).all(axis=1)]
        speaks = len(opposed) >= FEWEST
        found.append(
            Consistency(
                family=name,
                shorter=forecast.horizons[left],
                longer=forecast.horizons[right],
                rows=len(forecast),
                opposed=_share(opposed, overlap, config) if speaks else None,
                outcomes=float(_opposite(happened).mean()) if speaks and len(happened) else None,
                confident=_share((surely & _opposite(edge[:, pair]))[points], overlap, config) if speaks else None,
                narrower=_share(widths[:, right] < widths[:, left], overlap, config),
            )
        )
    return tuple(found)


def _opposite(pair: Floats) -> NDArray[np.bool_]:
    """Tell where the two columns of (rows, 2) have opposite signs."""
    return np.asarray(pair[:, 0] * np.sign(pair[:, 1]) < 0)


def _share(hits: NDArray[Any], overlap: int, config: EvaluationConfig) -> Estimate:
    return share_estimate(hits.astype(np.float64), overlap, config.confidence, config.terms)
