"""Scores of every family at every horizon on shared rows: the figures of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.dependence import estimate_mean
from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.evaluation import scores
from fxgpt_core.evaluation.bootstrap import paired_bootstrap
from fxgpt_core.evaluation.breakdown import FEWEST, ScoredRows, share_estimate
from fxgpt_core.evaluation.confidence_set import ConfidenceSet, model_confidence_set
from fxgpt_core.evaluation.config import EvaluationConfig
from fxgpt_core.evaluation.point import point_errors
from fxgpt_core.evaluation.reliability import ks_distance, ks_p_value, pit_histogram
from fxgpt_core.evaluation.residuals import autocorrelations
from fxgpt_core.evaluation.result import Alarm, Coverage, Estimate, FamilyScores, PooledScores, Recent, Resampled, Skill
from fxgpt_core.evaluation.significance import compare
from fxgpt_core.features.outcomes import Outcomes

Floats = NDArray[np.float64]

_BEST = ""
"""Stands for the best baseline of every horizon taken together; no family has this name."""


@dataclass(frozen=True)
class Table:
    """CRPS of every family on the shared rows, (rows, horizons), and how they are compared.

    `draws`: family -> how many samples its quantiles were read off, for those that sample.
    """

    truth: Outcomes
    known: NDArray[np.bool_]
    crps: Mapping[str, Floats]
    baselines: tuple[str, ...]
    config: EvaluationConfig
    seed: int
    draws: Mapping[str, int] = field(default_factory=dict)

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
        direction, direction_rows, direction_effective = self._direction(y, calibrated.mean[rows, column], overlap)
        best = self.best(column)
        skills = {b: self.skill(name, b, column, overlap) for b in self.baselines if b != name}
        if best in skills:
            resampled = self._resampled(self.crps[name][rows, column], self.crps[best][rows, column], overlap)
            skills[best] = replace(skills[best], bootstrap=resampled)
        against = skills.get(best)
        alarms = self._alarms(against, direction)
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
            direction_effective_rows=direction_effective,
            rmse=point.rmse,
            mae=point.mae,
            flags=tuple(_in_words(alarm, self.truth.horizons[column], best) for alarm in alarms),
            alarms=alarms,
            log_score=float(scores.log_score(y, quantiles, calibrated.levels).mean()),
            pinball=scores.mean_pinball(y, quantiles, calibrated.levels),
            pit_histogram=pit_histogram(pit),
            mape=point.mape,
            r2=point.r2,
            r2_zero=point.r2_zero,
            confidence_p=chosen.p_values[name],
            in_confidence_set=name in chosen.members,
            draws=self.draws.get(name),
            sampling_excess=self._sampling_excess(name, quantiles, calibrated.levels),
            residuals=autocorrelations(pit, overlap, self.config.lags, self.config.confidence, self.config.terms),
        )

    def pool(self, name: str, relative_energy: float | None = None) -> PooledScores:
        """Return one family over all horizons, each CRPS in units of the horizon's best baseline."""
        loss, overlap = self._relative[name], max(self.truth.overlap(c) for c in range(len(self.weights)))
        confidence, terms = self.config.confidence, self.config.terms
        result = compare(loss, self._relative[_BEST], overlap, confidence, terms)
        skills = []
        for baseline in self.baselines:
            if baseline != name:
                found = compare(loss, self._relative[baseline], overlap, confidence, terms)
                skills.append(Skill(baseline, found.value, found.low, found.high, found.p_value))
        return PooledScores(
            family=name,
            baseline=name in self.baselines,
            relative_crps=float(loss.mean()),
            skill=Estimate(result.value, result.low, result.high),
            p_value=result.p_value,
            rows=len(loss),
            effective_rows=result.effective_rows,
            relative_energy=relative_energy,
            skills=tuple(skills),
            bootstrap=self._resampled(loss, self._relative[_BEST], overlap),
        )

    def recent(self, name: str) -> tuple[Recent, ...]:
        """Return one family against each other one over the newest days; nothing where those hold too few rows."""
        newest = self._newest
        if newest.sum() < FEWEST:
            return ()
        overlap = max(self.truth.overlap(c) for c in range(len(self.weights)))
        found = []
        for rival in self.crps:
            if rival != name:
                ours, theirs = self._relative[name][newest], self._relative[rival][newest]
                one = compare(ours, theirs, overlap, self.config.confidence, self.config.terms)
                gain = Estimate(one.value, one.low, one.high)
                found.append(Recent(name, rival, gain, one.p_value, len(ours), one.effective_rows))
        return tuple(found)

    @property
    def newest_span(self) -> tuple[str, str]:
        """First and last of the newest decisions that `recent` compares, empty where they are too few."""
        if self._newest.sum() < FEWEST:
            return "", ""
        decided_at = self.truth.decided_at[self.known.all(axis=1)][self._newest]
        return str(decided_at[0]), str(decided_at[-1])

    @cached_property
    def _newest(self) -> NDArray[np.bool_]:
        """Which of the rows known at all horizons lie in the newest days: (rows known at all,)."""
        decided_at = self.truth.decided_at[self.known.all(axis=1)]
        days = np.timedelta64(round(self.config.recent_days * 86_400), "s")
        return np.asarray(decided_at > decided_at[-1] - days)

    @cached_property
    def _relative(self) -> dict[str, Floats]:
        """CRPS of every family over all horizons, weighted, each in units of its best baseline: (rows known at all,).

        Under `_BEST` that of the best baseline of every horizon taken together.
        """
        rows = self.known.all(axis=1)
        names = [self.best(column) for column in range(len(self.weights))]
        units = [self.crps[name][rows, column].mean() for column, name in enumerate(names)]
        for name, unit, horizon in zip(names, units, self.truth.horizons, strict=True):
            if not unit > 0:
                raise DataError(
                    f"Evaluation of {self.truth.symbol}: {name} misses nothing at {horizon_name(horizon)} over "
                    f"{int(rows.sum())} decisions, so skill against it has no meaning: look whether prices move there."
                )
        share = np.array(self.weights) / np.array(units)
        best = np.column_stack([self.crps[name][rows, column] for column, name in enumerate(names)])
        return {**{name: loss[rows] @ share for name, loss in self.crps.items()}, _BEST: best @ share}

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
            interval_score=float(scores.interval_score(y, calibrated, nominal, levels).mean()),
        )

    def _sampling_excess(self, name: str, quantiles: Floats, levels: tuple[float, ...]) -> float | None:
        if name not in self.draws:
            return None
        return float(scores.sampling_excess(quantiles, self.draws[name], levels).mean())

    def _direction(self, y: Floats, mean: Floats, overlap: int) -> tuple[Estimate | None, int, float | None]:
        hits = scores.direction_hit(y, mean)
        hits = hits[np.isfinite(hits)]
        if len(hits) < FEWEST:
            return None, len(hits), None
        effective = estimate_mean(hits, overlap, self.config.terms).effective_rows
        return self._share(hits, overlap), len(hits), effective

    def _resampled(self, loss: Floats, reference: Floats, overlap: int) -> Resampled:
        config = self.config
        return paired_bootstrap(loss, reference, self.seed, overlap, config.confidence, config.repeats, config.terms)

    def _share(self, hits: Floats, overlap: int) -> Estimate:
        return share_estimate(hits, overlap, self.config.confidence, self.config.terms)

    def _alarms(self, skill: Skill | None, direction: Estimate | None) -> tuple[Alarm, ...]:
        """Too good is an alarm: the lower bound counts, not the figure."""
        alarms = []
        if skill is not None and skill.low > self.config.leakage_skill:
            alarms.append(Alarm("skill", skill.low, self.config.leakage_skill))
        if direction is not None and direction.low > self.config.leakage_direction:
            alarms.append(Alarm("direction", direction.low, self.config.leakage_direction))
        return tuple(alarms)


def _in_words(alarm: Alarm, horizon: int, best: str) -> str:
    if alarm.kind == "skill":
        said = f"CRPS skill at {horizon_name(horizon)} is at least {alarm.low:.1%} above {best}"
    else:
        said = f"direction at {horizon_name(horizon)} is right at least {alarm.low:.1%} of the time"
    return f"suspect leakage: {said}, alarm at {alarm.limit:.0%}"
