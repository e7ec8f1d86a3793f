"""`Leaderboard`: how the families do over all pairs, from the stored evaluation of each (SPEC 9).

Every pair has its own models and its own best baseline, so nothing is pooled over rows: a family's figure is the mean
of its skills over pairs, its spread their deviation. Pairs trade the same hours and share currencies, so they are not
independent; no p-value over pairs is given, the counts of pairs that are significant one by one stand in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.evaluation.result import Evaluation


@dataclass(frozen=True)
class Entry:
    """One family of one pair over all its horizons: pooled skill against the best baselines, and how it was checked.

    `skill`, `low`, `high`: pooled CRPS skill with its confidence bounds; `p_value` one-sided. `by_horizon`: horizon
    name -> skill against that horizon's best baseline (None for that baseline itself). `in_sets`: horizons at which
    the family is in the model confidence set, of `horizons`. `coverage`: of calibrated 90 % intervals, mean over
    horizons, None where 90 % was not evaluated. `rank`: 1 is the best of the pair. `alarms`: what is too good.
    `stale`: whether bars, settings or code have changed since.
    """

    symbol: str
    family: str
    baseline: bool
    rank: int
    skill: float
    low: float
    high: float
    p_value: float
    by_horizon: Mapping[str, float | None]
    in_sets: int
    horizons: int
    coverage: float | None
    effective_rows: float
    alarms: tuple[str, ...]
    champion: bool
    stale: bool


@dataclass(frozen=True)
class Standing:
    """One family over `pairs` pairs: mean skill and rank, deviation over pairs (None for one pair), and counts.

    `better`, `worse`: pairs whose confidence interval lies above or below zero; `sets`: pairs where the family is in
    the confidence set of every horizon; `champions`: pairs whose champion it is; `alarms`: pairs that raised one.
    """

    family: str
    baseline: bool
    pairs: int
    skill: float
    deviation: float | None
    rank: float
    better: int
    worse: int
    sets: int
    champions: int
    alarms: int


@dataclass(frozen=True)
class Leaderboard:
    """Families by mean rank over pairs, and every pair's entries by rank."""

    standings: tuple[Standing, ...]
    entries: tuple[Entry, ...]

    @property
    def symbols(self) -> tuple[str, ...]:
        """The pairs that were evaluated."""
        return tuple(dict.fromkeys(entry.symbol for entry in self.entries))

    def of(self, symbol: str) -> tuple[Entry, ...]:
        """Return the entries of one pair, best first."""
        return tuple(entry for entry in self.entries if entry.symbol == symbol)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


def leaderboard(
    evaluations: Iterable[Evaluation],
    champions: Mapping[str, str],
    stale: Sequence[str] = (),
    alarms: Mapping[tuple[str, str], tuple[str, ...]] | None = None,
) -> Leaderboard:
    """Return the board of the pairs that have an evaluation.

    `champions`: symbol -> family of its champion, where it has one; `stale`: symbols whose evaluation is outdated.
    `alarms`: (symbol, family) -> what is said of its alarms, acknowledged ones with their reason; None: as evaluated.
    """
    entries = tuple(
        entry
        for evaluation in sorted(evaluations, key=lambda e: e.symbol)
        for entry in _entries(evaluation, champions.get(evaluation.symbol), evaluation.symbol in stale, alarms)
    )
    families = dict.fromkeys(entry.family for entry in entries)
    standings = (_standing(name, [entry for entry in entries if entry.family == name]) for name in families)
    return Leaderboard(tuple(sorted(standings, key=lambda s: (s.rank, -s.skill))), entries)


def _entries(
    evaluation: Evaluation,
    champion: str | None,
    stale: bool,
    alarms: Mapping[tuple[str, str], tuple[str, ...]] | None,
) -> list[Entry]:
    ranked = sorted(evaluation.pooled, key=lambda pooled: pooled.relative_crps)
    return [
        Entry(
            symbol=evaluation.symbol,
            family=pooled.family,
            baseline=pooled.baseline,
            rank=rank,
            skill=pooled.skill.value,
            low=pooled.skill.low,
            high=pooled.skill.high,
            p_value=pooled.p_value,
            by_horizon={
                horizon_name(score.horizon): None if score.best is None else score.best.value
                for score in evaluation.scores
                if score.family == pooled.family
            },
            in_sets=sum(pooled.family in evaluation.confidence_set(horizon) for horizon in evaluation.horizons),
            horizons=len(evaluation.horizons),
            coverage=_coverage(evaluation, pooled.family),
            effective_rows=pooled.effective_rows,
            alarms=evaluation.flags(pooled.family)
            if alarms is None
            else alarms.get((evaluation.symbol, pooled.family), ()),
            champion=pooled.family == champion,
            stale=stale,
        )
        for rank, pooled in enumerate(ranked, start=1)
    ]


def _coverage(evaluation: Evaluation, family: str) -> float | None:
    """Return the mean calibrated coverage of 90 % intervals over horizons."""
    found = [
        coverage.calibrated.value
        for score in evaluation.scores
        if score.family == family
        for coverage in score.coverage
        if abs(coverage.nominal - 0.9) < 1e-9
    ]
    return float(np.mean(found)) if found else None


def _standing(family: str, entries: Sequence[Entry]) -> Standing:
    skills = np.array([entry.skill for entry in entries])
    return Standing(
        family=family,
        baseline=entries[0].baseline,
        pairs=len(entries),
        skill=float(skills.mean()),
        deviation=float(skills.std(ddof=1)) if len(skills) > 1 else None,
        rank=float(np.mean([entry.rank for entry in entries])),
        better=sum(entry.low > 0 for entry in entries),
        worse=sum(entry.high < 0 for entry in entries),
        sets=sum(entry.in_sets == entry.horizons for entry in entries),
        champions=sum(entry.champion for entry in entries),
        alarms=sum(bool(entry.alarms) for entry in entries),
    )
