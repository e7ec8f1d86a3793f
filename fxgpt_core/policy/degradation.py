"""Whether a model forecasts worse than it used to: a pure comparison of estimates (SPEC 13)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import hypot
from typing import Any, Literal

import numpy as np

from fxgpt_core.common.dependence import MeanEstimate, share_interval
from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.policy.config import DegradationConfig
from fxgpt_core.policy.floors import Figure, below_floors

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
    """How one version's realised forecasts did up to `judged_at` (datetime64[ns] UTC).

    `figures` are what absolute floors are held against. `since`: when this version was first found degraded, None
    where it is not or nobody keeps count; a training begun after that has answered it.
    """

    version: str
    judged_at: np.datetime64
    comparisons: tuple[Comparison, ...]
    figures: tuple[Figure, ...] = ()
    since: np.datetime64 | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            "version": self.version,
            "judged_at": str(self.judged_at),
            "comparisons": [asdict(entry) for entry in self.comparisons],
            "figures": [asdict(entry) for entry in self.figures],
            "since": None if self.since is None else str(self.since),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PerformanceNews:
        """Rebuild from `to_dict`."""

        def estimate(found: Mapping[str, Any] | None) -> MeanEstimate | None:
            return None if found is None else MeanEstimate(**found)

        comparisons = tuple(
            Comparison(one["measure"], one["horizon"], MeanEstimate(**one["recent"]), estimate(one["reference"]))
            for one in values["comparisons"]
        )
        since = values.get("since")
        return cls(
            values["version"],
            np.datetime64(values["judged_at"], "ns"),
            comparisons,
            tuple(Figure(**one) for one in values.get("figures", ())),
            None if since is None else np.datetime64(since, "ns"),
        )


def degradations(news: PerformanceNews, config: DegradationConfig) -> tuple[str, ...]:
    """Return a sentence for every measure that is significantly worse, or below a floor that somebody set.

    None where there is too little evidence.

    Bounds are one-sided, with the effective number of outcomes, at what of `false_alarm` this look may spend, divided
    by the comparisons that have enough of them (Bonferroni over both: whatever depends on what, the expected number of
    false alarms a month stays below `false_alarm`). `news` is that of a look of the schedule (`last_look`).
    """
    enough = [entry for entry in news.comparisons if _enough(entry, config)]
    level = config.false_alarm_of_a_look / max(1, len(enough))
    found = (_worse(entry, level, config) for entry in enough)
    below = below_floors(news.figures, config.floors, config.min_effective)
    return (*(sentence for sentence in found if sentence), *below)


def last_look(first: np.datetime64, now: np.datetime64, config: DegradationConfig) -> np.datetime64 | None:
    """Return the last look at or before `now` of the schedule that begins at `first`; None before the first one.

    Looks stand on the calendar of a version and not on who asks: how often somebody asks changes nothing.
    """
    step = np.timedelta64(round(config.look_days * 86_400), "s")
    looks = int((now - first) // step)
    return None if looks < 1 else np.datetime64(first + looks * step, "ns")


def _enough(entry: Comparison, config: DegradationConfig) -> bool:
    judged = [entry.recent] if entry.measure == "coverage" else [entry.recent, entry.reference]
    return all(one is not None and one.effective_rows >= config.min_effective for one in judged)


def _as_uncertain(recent: MeanEstimate, reference: MeanEstimate | None) -> MeanEstimate:
    """Return an estimate that is no more certain, row by row, than the reference.

    Days of misjudged volatility come in clusters that last for days. A short window lies within one of them and shows
    nothing of it; the long reference does, and a model that is as good as ever errs in the same clusters.
    """
    if reference is None:
        return recent
    share = recent.rows / reference.rows
    error = max(recent.error, reference.error / share**0.5)
    return replace(recent, error=error, effective_rows=min(recent.effective_rows, reference.effective_rows * share))


def _worse(entry: Comparison, level: float, config: DegradationConfig) -> str:
    where, reference = horizon_name(entry.horizon), entry.reference
    recent = _as_uncertain(entry.recent, reference)
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
