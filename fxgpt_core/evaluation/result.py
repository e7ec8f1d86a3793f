"""`Evaluation`: what walk-forward forecasts are worth, with the uncertainty of every figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic import TypeAdapter

from fxgpt_core.common.errors import DataError


@dataclass(frozen=True)
class Estimate:
    """A figure and its two-sided confidence bounds, computed with the effective number of rows."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Resampled:
    """Bounds of a skill and its one-sided p-value by a paired block bootstrap, beside those by the cosine variance."""

    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Skill:
    """CRPS skill against one baseline, 1 − CRPS / CRPS of the baseline; `p_value` one-sided, better than it.

    `bootstrap`: the same resampled, of the skill against the best baseline of a horizon; None for the others.
    """

    baseline: str
    value: float
    low: float
    high: float
    p_value: float
    bootstrap: Resampled | None = None


@dataclass(frozen=True)
class Coverage:
    """Share of outcomes inside the central interval of nominal share `nominal`, before and after calibration.

    Widths (the sharpness) and the interval score of the calibrated one are means over rows, log-return units.
    """

    nominal: float
    raw: Estimate
    calibrated: Estimate
    raw_width: float
    width: float
    interval_score: float | None = None


@dataclass(frozen=True)
class Alarm:
    """Too good to be true: `low`, the lower bound of CRPS skill or of directional accuracy, is above `limit`."""

    kind: Literal["skill", "direction"]
    low: float
    limit: float


@dataclass(frozen=True)
class Autocorrelation:
    """Autocorrelation of the PIT's normal scores and of their squares at `lag` steps, each as long as a label's life.

    A forecast that uses all there is leaves none. `bound`, `squares_bound`: how far from zero chance alone reaches, at
    the evaluation's confidence; both allow for overlapping labels.
    """

    lag: int
    value: float
    bound: float
    squares: float
    squares_bound: float


@dataclass(frozen=True)
class FamilyScores:
    """One family at one horizon (minutes), on rows that all families share.

    Scores are of the calibrated forecasts, which are what leaves the system; `raw_crps` is before calibration. `best`
    is the skill against the best baseline of this horizon (None for that baseline itself). `direction` is the hit
    rate, None where the forecast has no direction. CRPS, `rmse` and `mae` (of the mean) are in log-return units.
    `pit_ks` is the Kolmogorov–Smirnov distance of the PIT from uniform; `pit_p` its approximate p-value at the
    effective number of rows; `pit_histogram` the share of rows in equal bins. `confidence_p` is the p-value in the
    model confidence set of this horizon and `in_confidence_set` whether data cannot tell the family from the best.
    `pinball` is the mean loss at each stored level, `log_score` the mean of −log density, `mape` the mean absolute
    error of the price as a share of it, `r2_zero` the share of squared outcomes explained. `direction` has
    `direction_effective_rows` behind its interval. `alarms` say in figures what `flags` say in words. `draws` is how
    many samples the quantiles were read off, `sampling_excess` by how much that raises `crps` above what the same model
    would have with infinitely many (both None where the family does not sample): for information, `crps` is the one
    estimator of all families and stays as it is. Results stored by earlier versions lack these (None or empty).
    """

    family: str
    baseline: bool
    horizon: int
    rows: int
    effective_rows: float
    crps: Estimate
    raw_crps: float
    skills: tuple[Skill, ...]
    best: Skill | None
    coverage: tuple[Coverage, ...]
    raw_pit_ks: float
    pit_ks: float
    pit_p: float
    direction: Estimate | None
    direction_rows: int
    rmse: float
    mae: float
    flags: tuple[str, ...]
    log_score: float | None = None
    pinball: tuple[float, ...] = ()
    pit_histogram: tuple[float, ...] = ()
    mape: float | None = None
    r2: float | None = None
    r2_zero: float | None = None
    confidence_p: float | None = None
    in_confidence_set: bool | None = None
    direction_effective_rows: float | None = None
    alarms: tuple[Alarm, ...] = ()
    residuals: tuple[Autocorrelation, ...] = ()
    draws: int | None = None
    sampling_excess: float | None = None

    def covered(self, nominal: float) -> Coverage:
        """Return the coverage of one central interval; raises DataError when it was not computed."""
        for entry in self.coverage:
            if abs(entry.nominal - nominal) < 1e-9:
                return entry
        known = ", ".join(f"{c.nominal:g}" for c in self.coverage)
        raise DataError(f"Coverage at {nominal:g} was not evaluated for {self.family}: known are {known}.")

    def against(self, baseline: str) -> Skill | None:
        """Return the skill against one baseline, None against itself; DataError where it was not computed."""
        return _against(self.family, self.skills, baseline)


@dataclass(frozen=True)
class PooledScores:
    """One family over all horizons, weighted.

    `relative_crps`: weighted mean over horizons of CRPS / CRPS of that horizon's best baseline (1 is level with the
    best baselines, lower is better). `skill`: 1 − `relative_crps` with bounds; `p_value`: one-sided, better than the
    best baseline of every horizon taken together; `bootstrap`: its bounds and p-value resampled. `skills`: the
    same against each single baseline at all horizons. `relative_energy`: energy score across horizons, each in units of
    its mean absolute outcome, relative to that of the best baseline by this score; None where too little was known
    before the first decision.
    """

    family: str
    baseline: bool
    relative_crps: float
    skill: Estimate
    p_value: float
    rows: int
    effective_rows: float
    relative_energy: float | None = None
    skills: tuple[Skill, ...] = ()
    bootstrap: Resampled | None = None

    def against(self, baseline: str) -> Skill | None:
        """Return the pooled skill against one baseline, None against itself; DataError where it was not computed."""
        return _against(self.family, self.skills, baseline)


@dataclass(frozen=True)
class Recent:
    """One family against another, `rival`, over the newest days alone, all horizons weighted as in pooled figures.

    `gain`: 1 − CRPS / CRPS of the rival; `p_value`: one-sided, better than the rival.
    """

    family: str
    rival: str
    gain: Estimate
    p_value: float
    rows: int
    effective_rows: float


@dataclass(frozen=True)
class Consistency:
    """How often one family's forecasts of two horizons, `shorter` and `longer` minutes, contradict each other (SPEC 9).

    `opposed`: share of decisions whose two means point in opposite directions, of those where both point anywhere, None
    where too few do; `outcomes`: share of their outcomes that did so, which is what to compare with. `confident`: share
    of the same decisions in which both say the opposite with |P(up) − 0.5| of at least the configured margin.
    `narrower`: share of all decisions whose longer 90 % interval is narrower than the shorter one, though
    uncertainty grows with time wherever returns do not revert.
    """

    family: str
    shorter: int
    longer: int
    rows: int
    opposed: Estimate | None
    outcomes: float | None
    confident: Estimate | None
    narrower: Estimate


@dataclass(frozen=True)
class Degradation:
    """What one family at one horizon loses between `rows` training rows and the rows of the evaluation (SPEC 9).

    `in_sample`, `out_of_sample`: CRPS skill before calibration over `baseline`, the best one by its CRPS before
    calibration, on the same rows; `gap` = in_sample − out_of_sample. A baseline that learns nothing from labels has a
    gap of chance alone.
    """

    family: str
    horizon: int
    baseline: str
    rows: int
    in_sample: float
    out_of_sample: float
    gap: float


@dataclass(frozen=True)
class GroupScores:
    """One family at one horizon in one group of rows: those where `by` (session, hour, …) is `label`.

    `skill`, with its one-sided `p_value`, is against the baseline that is best over all rows of the horizon, None for
    that baseline; `coverage` is of the 90 % interval; `direction` is None where the forecast has none.
    """

    by: str
    label: str
    family: str
    horizon: int
    rows: int
    effective_rows: float
    crps: float
    skill: Estimate | None
    p_value: float | None
    coverage: Estimate
    direction: Estimate | None


@dataclass(frozen=True)
class Evaluation:
    """Scores of all families of one symbol on the same out-of-sample rows.

    `start`, `end`: ISO times (UTC) of the first and last decision; `weights`: of the horizons in pooled figures;
    `levels`: of the quantiles, in the order of `FamilyScores.pinball`; `recent`: every family against every other over
    the last days, from `recent_since` to `recent_until` (ISO times, UTC; empty where there are too few rows).
    """

    symbol: str
    families: tuple[str, ...]
    baselines: tuple[str, ...]
    horizons: tuple[int, ...]
    weights: tuple[float, ...]
    start: str
    end: str
    rows: int
    confidence: float
    scores: tuple[FamilyScores, ...]
    pooled: tuple[PooledScores, ...]
    groups: tuple[GroupScores, ...] = ()
    consistency: tuple[Consistency, ...] = ()
    levels: tuple[float, ...] = ()
    degradation: tuple[Degradation, ...] = ()
    recent: tuple[Recent, ...] = ()
    recent_since: str = ""
    recent_until: str = ""

    def of(self, family: str, horizon: int) -> FamilyScores:
        """Return the scores of one family at one horizon; raises DataError when there are none."""
        for entry in self.scores:
            if entry.family == family and entry.horizon == horizon:
                return entry
        raise DataError(f"Evaluation of {self.symbol} has no scores of {family} at {horizon} minutes.")

    def pooled_of(self, family: str) -> PooledScores:
        """Return the pooled scores of one family; raises DataError when there are none."""
        for entry in self.pooled:
            if entry.family == family:
                return entry
        raise DataError(f"Evaluation of {self.symbol} has no scores of {family}: it holds {', '.join(self.families)}.")

    def best_baseline(self, horizon: int) -> str:
        """Return the baseline with the lowest CRPS at one horizon."""
        return min(self.baselines, key=lambda name: self.of(name, horizon).crps.value)

    def confidence_set(self, horizon: int) -> tuple[str, ...]:
        """Return the families that data cannot tell from the best at one horizon."""
        return tuple(name for name in self.families if self.of(name, horizon).in_confidence_set)

    def grouped(self, by: str, family: str, horizon: int) -> tuple[GroupScores, ...]:
        """Return the scores of one family at one horizon in every group of `by`; none where not broken down so."""
        return tuple(g for g in self.groups if (g.by, g.family, g.horizon) == (by, family, horizon))

    def contradictions(self, family: str) -> tuple[Consistency, ...]:
        """Return how often each pair of one family's horizons contradicts itself; none for a single horizon."""
        return tuple(entry for entry in self.consistency if entry.family == family)

    def degradations(self, family: str) -> tuple[Degradation, ...]:
        """Return what one family loses out of sample, by horizon; none where it was not measured."""
        return tuple(entry for entry in self.degradation if entry.family == family)

    def lately(self, family: str, rival: str) -> Recent | None:
        """Return how one family did against another over the newest days; None where too little was decided in them."""
        return next((entry for entry in self.recent if (entry.family, entry.rival) == (family, rival)), None)

    def flags(self, family: str) -> tuple[str, ...]:
        """Return all alarms of a family."""
        return tuple(flag for entry in self.scores if entry.family == family for flag in entry.flags)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        values: dict[str, Any] = _adapter().dump_python(self, mode="json")
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evaluation:
        """Rebuild from `to_dict`."""
        return _adapter().validate_python(dict(values))


def _against(family: str, skills: tuple[Skill, ...], baseline: str) -> Skill | None:
    if family == baseline:
        return None
    for skill in skills:
        if skill.baseline == baseline:
            return skill
    known = ", ".join(skill.baseline for skill in skills)
    raise DataError(f"Skill of {family} against {baseline} was not evaluated: known are {known or 'none'}.")


@cache
def _adapter() -> TypeAdapter[Evaluation]:
    return TypeAdapter(Evaluation)
