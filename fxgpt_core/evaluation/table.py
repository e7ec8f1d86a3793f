"""Scores of every family at every horizon on shared rows: the figures of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.dependence import estimate_mean
from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.evaluation import scores
from fxgpt_core.evaluation.breakdown import FEWEST, ScoredRows, share_estimate
from fxgpt_core.evaluation.confidence_set import ConfidenceSet, model_confidence_set
from fxgpt_core.evaluation.config import EvaluationConfig
from fxgpt_core.evaluation.point import point_errors
from fxgpt_core.evaluation.reliability import ks_distance, ks_p_value, pit_histogram
from fxgpt_core.evaluation.result import Coverage, Estimate, FamilyScores, PooledScores, Skill
from fxgpt_core.evaluation.significance import compare
from fxgpt_core.features.outcomes import Outcomes

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """CRPS of every family on the shared rows, (rows, horizons), and how they are compared."""

    truth: Outcomes
    known: NDArray[np.bool_]
    crps: Mapping[str, Floats]
    baselines: tuple[str, ...]
    config: EvaluationConfig
    seed: int

    @cached_property
    def confidence_sets(self) -> tuple[ConfidenceSet, ...]:
        """The model confidence set of every horizon, of all families together."""
        return tuple(
            model_confidence_set(
                {name: loss[self.known[:, column], column] for name, loss in self.crps.items()},
                self.seed,
                self.truth.overlap(column),
                self.config.confidence,
                repeats=self.config.repeats,
                terms=self.config.terms,
            )
            for column in range(len(self.truth.horizons))
        )

    @property
    def weights(self) -> tuple[float, ...]:
        """The weights of the horizons in pooled figures."""
        try:
            return self.config.weights(len(self.truth.horizons))
        except ValueError as error:
            raise DataError(f"Evaluation of {self.truth.symbol}: {error}.") from error

    def best(self, column: int) -> str:
        """Return the baseline with the lowest CRPS at a horizon."""
        rows = self.known[:, column]
        return min(self.baselines, key=lambda name: float(self.crps[name][rows, column].mean()))

    def skill(self, name: str, baseline: str, column: int, overlap: int) -> Skill:
        """Return the skill of a family against a baseline at a horizon."""
        rows = self.known[:, column]
        loss, reference = self.crps[name][rows, column], self.crps[baseline][rows, column]
        result = compare(loss, reference, overlap, self.config.confidence, self.config.terms)
        return Skill(baseline, result.value, result.low, result.high, result.p_value)

    def score(self, name: str, raw: Forecast, calibrated: Forecast, column: int) -> FamilyScores:
        """Return everything about one family at one horizon."""
        rows, overlap = self.known[:, column], self.truth.overlap(column)
        y = self.truth.returns[rows, column]  # (known,)
        loss = estimate_mean(self.crps[name][rows, column], overlap, self.config.terms)
        quantiles, raw_quantiles = calibrated.quantiles[rows, column], raw.quantiles[rows, column]
        pit = scores.pit(y, quantiles, calibrated.levels)
        point = point_errors(y, calibrated.mean[rows, column])
        chosen = self.confidence_sets[column]
        direction, direction_rows = self._direction(y, calibrated.mean[rows, column], overlap)
        best = self.best(column)
        skills = {b: self.skill(name, b, column, overlap) for b in self.baselines if b != name}
        against = skills.get(best)
        return FamilyScores(
            family=name,
            baseline=name in self.baselines,
            horizon=self.truth.horizons[column],
            rows=loss.rows,
            effective_rows=loss.effective_rows,
            crps=Estimate(loss.mean, *loss.interval(self.config.confidence)),
            raw_crps=float(scores.crps(y, raw_quantiles, raw.levels).mean()),
            skills=tuple(skills.values()),
            best=against,
            coverage=tuple(
                self._coverage(y, raw_quantiles, quantiles, calibrated.levels, c, overlap)
                for c in self.config.coverages
            ),
            raw_pit_ks=ks_distance(scores.pit(y, raw_quantiles, raw.levels)),
            pit_ks=ks_distance(pit),
            pit_p=ks_p_value(ks_distance(pit), estimate_mean(pit, overlap, self.config.terms).effective_rows),
            direction=direction,
            direction_rows=direction_rows,
            rmse=point.rmse,
            mae=point.mae,
            flags=self._flags(self.truth.horizons[column], against, direction),
            log_score=float(scores.log_score(y, quantiles, calibrated.levels).mean()),
            pinball=tuple(scores.pinball(y, quantiles, calibrated.levels).mean(axis=0).tolist()),
            pit_histogram=pit_histogram(pit),
            mape=point.mape,
            r2=point.r2,
            r2_zero=point.r2_zero,
            confidence_p=chosen.p_values[name],
            in_confidence_set=name in chosen.members,
        )

    def pool(self, name: str, relative_energy: float | None = None) -> PooledScores:
        """Return one family over all horizons, each CRPS in units of the horizon's best baseline."""
        rows = self.known.all(axis=1)
        loss, reference = np.zeros(rows.sum()), np.zeros(rows.sum())
        for column, weight in enumerate(self.weights):
            best = self.crps[self.best(column)][rows, column]
            loss += weight * self.crps[name][rows, column] / best.mean()
            reference += weight * best / best.mean()
        overlap = max(self.truth.overlap(column) for column in range(len(self.weights)))
        result = compare(loss, reference, overlap, self.config.confidence, self.config.terms)
        return PooledScores(
            family=name,
            baseline=name in self.baselines,
            relative_crps=float(loss.mean()),
            skill=Estimate(result.value, result.low, result.high),
            p_value=result.p_value,
            rows=len(loss),
            effective_rows=result.effective_rows,
            relative_energy=relative_energy,
        )

    def scored_rows(self, name: str, calibrated: Forecast, column: int) -> ScoredRows:
        """Return one family's scores at a horizon row by row, for breakdowns."""
        rows, best = self.known[:, column], self.best(column)
        y, quantiles = self.truth.returns[rows, column], calibrated.quantiles[rows, column]
        return ScoredRows(
            loss=self.crps[name][rows, column],
            reference=None if name == best else self.crps[best][rows, column],
            covered=scores.covered(y, quantiles, 0.9, calibrated.levels),
            direction=scores.direction_hit(y, calibrated.mean[rows, column]),
        )

    def _coverage(
        self, y: Floats, raw: Floats, calibrated: Floats, levels: tuple[float, ...], nominal: float, overlap: int
    ) -> Coverage:
        return Coverage(
            nominal=nominal,
            raw=self._share(scores.covered(y, raw, nominal, levels), overlap),
            calibrated=self._share(scores.covered(y, calibrated, nominal, levels), overlap),
            raw_width=float(scores.width(raw, nominal, levels).mean()),
            width=float(scores.width(calibrated, nominal, levels).mean()),
        )

    def _direction(self, y: Floats, mean: Floats, overlap: int) -> tuple[Estimate | None, int]:
        hits = scores.direction_hit(y, mean)
        hits = hits[np.isfinite(hits)]
        if len(hits) < FEWEST:
            return None, len(hits)
        return self._share(hits, overlap), len(hits)

    def _share(self, hits: Floats, overlap: int) -> Estimate:
        return share_estimate(hits, overlap, self.config.confidence, self.config.terms)

    def _flags(self, horizon: int, skill: Skill | None, direction: Estimate | None) -> tuple[str, ...]:
        """Too good is an alarm: the lower bound counts, not the figure."""
        flags, name = [], horizon_name(horizon)
        if skill is not None and skill.low > self.config.leakage_skill:
            flags.append(
                f"suspect leakage: CRPS skill at {name} is at least {skill.low:.1%} above {skill.baseline}, "
                f"alarm at {self.config.leakage_skill:.0%}"
            )
        if direction is not None and direction.low > self.config.leakage_direction:
            flags.append(
                f"suspect leakage: direction at {name} is right at least {direction.low:.1%} of the time, "
                f"alarm at {self.config.leakage_direction:.0%}"
            )
        return tuple(flags)
