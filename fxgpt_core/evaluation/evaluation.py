"""Evaluate the forecasts of all families of a symbol on the same rows (SPEC 9; DESIGN, "Honest numbers")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.dependence import estimate_mean, share_interval
from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.evaluation import scores
from fxgpt_core.evaluation.config import EvaluationConfig
from fxgpt_core.evaluation.result import Coverage, Estimate, Evaluation, FamilyScores, PooledScores, Skill
from fxgpt_core.evaluation.significance import compare
from fxgpt_core.features.outcomes import Outcomes

Floats = NDArray[np.float64]

MIN_ROWS = 20
"""Below this many shared rows no figure means anything; a limit of the estimators, not a matter of taste."""


def evaluate(
    symbol: str,
    raw: Mapping[str, Forecast],
    calibrated: Mapping[str, Forecast],
    outcomes: Outcomes,
    baselines: Sequence[str],
    config: EvaluationConfig | None = None,
) -> Evaluation:
    """Return scores, intervals, tests and alarms for every family and horizon.

    `raw` and `calibrated` map family to out-of-sample forecasts before and after calibration, with the same horizons.
    Everything is computed on the decisions that all of them share and, per horizon, whose outcome is known; pooled
    figures on those whose outcome is known for every horizon. Baselines are calibrated like everyone else, so that
    nobody wins by calibration alone.

    Raises DataError when families, horizons or symbols contradict each other or fewer than `MIN_ROWS` rows are left.
    """
    config = config or EvaluationConfig()
    _check(symbol, raw, calibrated, baselines)
    horizons = next(iter(calibrated.values())).horizons
    decided_at = reduce(np.intersect1d, [f.decided_at for f in (*raw.values(), *calibrated.values())])
    truth = outcomes.aligned(decided_at, horizons)
    known = np.isfinite(truth.returns)  # (rows, horizons)
    shared = int(known.all(axis=1).sum())
    if shared < MIN_ROWS:
        raise DataError(
            f"Evaluation of {symbol}: {', '.join(raw)} share {shared} decisions whose outcome is known at every "
            f"horizon, {MIN_ROWS} are needed; import more bars."
        )
    before = {name: _at(forecast, decided_at) for name, forecast in raw.items()}
    after = {name: _at(forecast, decided_at) for name, forecast in calibrated.items()}
    crps = {name: scores.crps(truth.returns, f.quantiles, f.levels) for name, f in after.items()}
    table = _Table(truth, known, crps, tuple(baselines), config)
    return Evaluation(
        symbol=symbol,
        families=tuple(raw),
        baselines=tuple(baselines),
        horizons=horizons,
        weights=table.weights,
        start=str(decided_at[0]),
        end=str(decided_at[-1]),
        rows=len(decided_at),
        confidence=config.confidence,
        scores=tuple(
            table.score(name, before[name], after[name], column) for name in raw for column in range(len(horizons))
        ),
        pooled=tuple(table.pool(name) for name in raw),
    )


@dataclass(frozen=True)
class _Table:
    """CRPS of every family on the shared rows, (rows, horizons), and how they are compared."""

    truth: Outcomes
    known: NDArray[np.bool_]
    crps: Mapping[str, Floats]
    baselines: tuple[str, ...]
    config: EvaluationConfig

    @property
    def weights(self) -> tuple[float, ...]:
        try:
            return self.config.weights(len(self.truth.horizons))
        except ValueError as error:
            raise DataError(f"Evaluation of {self.truth.symbol}: {error}.") from error

    def best(self, column: int) -> str:
        """Return the baseline with the lowest CRPS at a horizon."""
        rows = self.known[:, column]
        return min(self.baselines, key=lambda name: float(self.crps[name][rows, column].mean()))

    def skill(self, name: str, baseline: str, column: int, overlap: int) -> Skill:
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
        error = y - calibrated.mean[rows, column]
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
            raw_pit_ks=_ks(scores.pit(y, raw_quantiles, raw.levels)),
            pit_ks=_ks(pit),
            pit_p=_ks_p_value(_ks(pit), estimate_mean(pit, overlap, self.config.terms).effective_rows),
            direction=direction,
            direction_rows=direction_rows,
            rmse=float(np.sqrt((error**2).mean())),
            mae=float(np.abs(error).mean()),
            flags=self._flags(self.truth.horizons[column], against, direction),
        )

    def pool(self, name: str) -> PooledScores:
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
        if len(hits) < MIN_ROWS:
            return None, len(hits)
        return self._share(hits, overlap), len(hits)

    def _share(self, hits: Floats, overlap: int) -> Estimate:
        found = estimate_mean(hits, overlap, self.config.terms)
        return Estimate(
            found.mean, *share_interval(found.mean, found.effective_rows, self.config.confidence, found.terms)
        )

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


def _check(
    symbol: str, raw: Mapping[str, Forecast], calibrated: Mapping[str, Forecast], baselines: Sequence[str]
) -> None:
    if not raw or set(raw) != set(calibrated):
        raise DataError(
            f"Evaluation of {symbol}: raw forecasts of {sorted(raw)} and calibrated ones of {sorted(calibrated)} must "
            "be of the same families, at least one."
        )
    missing = set(baselines) - set(raw)
    if missing or not baselines:
        raise DataError(
            f"Evaluation of {symbol}: baselines {sorted(missing) or 'none'} have no forecasts; skill is always against "
            "a baseline on the same rows."
        )
    kinds = {(f.symbol, f.horizons) for f in (*raw.values(), *calibrated.values())}
    if kinds != {(symbol, next(iter(raw.values())).horizons)}:
        raise DataError(f"Evaluation of {symbol}: forecasts of {sorted(kinds)} cannot be compared.")


def _at(forecast: Forecast, decided_at: NDArray[np.datetime64]) -> Forecast:
    return forecast.take(np.searchsorted(forecast.decided_at, decided_at))


def _ks(pit: Floats) -> float:
    """Return the Kolmogorov–Smirnov distance from uniform."""
    ordered, n = np.sort(pit), len(pit)
    steps = np.arange(1, n + 1) / n
    return float(max((steps - ordered).max(), (ordered - steps + 1 / n).max()))


def _ks_p_value(distance: float, effective_rows: float) -> float:
    from scipy.stats import kstwobign

    return float(kstwobign.sf(np.sqrt(effective_rows) * distance))
