"""Whether a model forecasts worse than it used to: a pure comparison of estimates (SPEC 13)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import hypot
from typing import Any, Literal

import numpy as np

from fxgpt_core.common.dependence import MeanEstimate, share_interval
from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.policy.config import DegradationConfig

Measure = Literal["crps", "accuracy", "coverage"]


@dataclass(frozen=True)
class Comparison:
    """One measure at one horizon (minutes): of the judged window, `recent`, and of the model's own `reference`.

    `crps` in units of the yardstick, `accuracy` and `coverage` as shares. Coverage is held against its nominal value
    and needs no reference.
    """

    measure: Measure
    horizon: int
    recent: MeanEstimate
    reference: MeanEstimate | None = None


@dataclass(frozen=True)
class PerformanceNews:
    """How one version's realised forecasts did up to `judged_at` (datetime64[ns] UTC)."""

    version: str
    judged_at: np.datetime64
    comparisons: tuple[Comparison, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            "version": self.version,
            "judged_at": str(self.judged_at),
            "comparisons": [asdict(entry) for entry in self.comparisons],
        }


def degradations(news: PerformanceNews, config: DegradationConfig) -> tuple[str, ...]:
    """Return a sentence for every measure that is significantly worse; none where there is too little evidence.

    Bounds are one-sided, with the effective number of outcomes, at `false_alarm` divided by the comparisons that have
    enough of them (Bonferroni).
    """
    enough = [entry for entry in news.comparisons if _enough(entry, config)]
    level = config.false_alarm / max(1, len(enough))
    found = (_worse(entry, level, config) for entry in enough)
    return tuple(sentence for sentence in found if sentence)


def _enough(entry: Comparison, config: DegradationConfig) -> bool:
    judged = [entry.recent] if entry.measure == "coverage" else [entry.recent, entry.reference]
    return all(one is not None and one.effective_rows >= config.min_effective for one in judged)


def _worse(entry: Comparison, level: float, config: DegradationConfig) -> str:
    where, recent, reference = horizon_name(entry.horizon), entry.recent, entry.reference
    evidence = f"{recent.effective_rows:.0f} effective outcomes"
    if entry.measure == "coverage":
        low, high = share_interval(recent.mean, recent.effective_rows, 1 - 2 * level, recent.terms)
        if low <= config.coverage + config.coverage_points and high >= config.coverage - config.coverage_points:
            return ""
        return (
            f"{config.coverage:.0%} coverage at {where} is {recent.mean:.1%} ({low:.1%} to {high:.1%}, {evidence}), "
            f"off by more than {config.coverage_points:.1%}"
        )
    if reference is None:
        return ""
    worse = recent.mean - reference.mean if entry.measure == "crps" else reference.mean - recent.mean
    least = worse - _reach(recent, reference, level)
    if entry.measure == "crps" and least > 0:
        return f"CRPS at {where} is {recent.mean:.4f} of the yardstick, was {reference.mean:.4f} ({evidence})"
    if entry.measure == "accuracy" and least > config.accuracy_points:
        return f"accuracy at {where} is {recent.mean:.1%}, was {reference.mean:.1%} ({evidence})"
    return ""


def _reach(one: MeanEstimate, other: MeanEstimate, level: float) -> float:
    """Return the one-sided reach of a difference of two independent means (Welch 1947)."""
    from scipy.stats import t

    error = hypot(one.error, other.error)
    if error == 0:
        return 0.0
    freedom = error**4 / sum(entry.error**4 / entry.terms for entry in (one, other))
    return float(t.ppf(1 - level, freedom)) * error
