"""Tables of an evaluation for people: against every baseline, errors and reliability, contradictions, seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.models.registry import FAMILIES
from fxgpt_pipeline.cli.output import table

if TYPE_CHECKING:
    from fxgpt_core.evaluation.result import Estimate, Evaluation, FamilyScores, PooledScores, Skill


def baseline_table(evaluation: Evaluation) -> Any:
    """Return one row per horizon and model, and one for all horizons: skill against each baseline with its p-value."""
    rows = []
    for horizon in (*evaluation.horizons, None):
        for family in evaluation.families:
            scores: FamilyScores | PooledScores = (
                evaluation.pooled_of(family) if horizon is None else evaluation.of(family, horizon)
            )
            against = {skill.baseline: skill for skill in scores.skills}
            cells = [_skill(against.get(baseline)) for baseline in evaluation.baselines]
            rows.append(("all" if horizon is None else horizon_name(horizon), FAMILIES[family].label, *cells))
    return table(
        "CRPS skill against every baseline, one-sided p in brackets; all: every horizon, weighted",
        ("horizon", "model", *(FAMILIES[name].label for name in evaluation.baselines)),
        rows,
    )


def error_table(evaluation: Evaluation) -> Any:
    """Return one row per horizon and model: log score, PIT, direction, errors of the mean, residuals."""
    rows = []
    for horizon in evaluation.horizons:
        for family in evaluation.families:
            one = evaluation.of(family, horizon)
            beyond = [lag for lag in one.residuals if abs(lag.value) > lag.bound]
            squares = [lag for lag in one.residuals if abs(lag.squares) > lag.squares_bound]
            rows.append(
                (
                    horizon_name(horizon),
                    FAMILIES[family].label,
                    _number(one.log_score, ".3f"),
                    f"{one.pit_ks:.3f} ({one.pit_p:.2f})",
                    _share(one.direction),
                    None if one.direction is None else round(one.direction_effective_rows or 0),
                    f"{one.rmse * 1e4:.3f}",
                    f"{one.mae * 1e4:.3f}",
                    _number(one.mape, ".4%"),
                    _number(one.r2, "+.4f"),
                    ", ".join(str(lag.lag) for lag in beyond) or "none",
                    ", ".join(str(lag.lag) for lag in squares) or "none",
                )
            )
    columns = (
        "horizon", "model", "log score", "PIT KS (p)", "direction", "effective", "RMSE e-4", "MAE e-4", "MAPE", "R2",
        "residuals", "squares",
    )  # fmt: skip
    title = "Errors and reliability; residuals, squares: lags whose autocorrelation is beyond chance"
    return table(title, columns, rows)


def consistency_table(evaluation: Evaluation) -> Any:
    """Return one row per model with a direction and pair of horizons: how often the two contradict each other."""
    rows = [
        (
            FAMILIES[one.family].label,
            f"{horizon_name(one.shorter)}, {horizon_name(one.longer)}",
            _share(one.opposed),
            _number(one.outcomes, ".1%"),
            _share(one.confident),
            _share(one.narrower),
        )
        for one in evaluation.consistency
        if one.opposed is not None or one.narrower.value > 0
    ]
    columns = ("model", "horizons", "opposite directions", "outcomes did", "surely opposite", "longer is narrower")
    return table("Horizons that contradict each other, share of decisions", columns, rows)


def degradation_table(evaluation: Evaluation) -> Any:
    """Return one row per horizon and model: CRPS skill on training rows, out of sample, and the gap between them."""
    rows = [
        (
            horizon_name(one.horizon),
            FAMILIES[one.family].label,
            f"{one.in_sample:+.2%}",
            f"{one.out_of_sample:+.2%}",
            f"{one.gap:+.2%}",
            FAMILIES[one.baseline].label,
        )
        for one in sorted(evaluation.degradation, key=lambda one: one.horizon)
    ]
    columns = ("horizon", "model", "in sample", "out of sample", "gap", "over")
    return table("Skill on training rows and out of sample, before calibration", columns, rows)


def seed_table(spread: Mapping[str, Any]) -> Any:
    """Return the skill of one family by seed (`SeedSpread.to_dict`), with mean and deviation."""
    rows = [
        (
            name,
            *(f"{value:+.3%}" for value in values),
            f"{spread['mean'][name]:+.3%}",
            _number(spread["deviation"][name], ".3%"),
        )
        for name, values in spread["skills"].items()
    ]
    label = FAMILIES[spread["family"]].label
    said = "draws nothing at random: every seed gives the same forecasts" if spread["deterministic"] else "by seed"
    title = (
        f"Skill of {label} {said}; sampling alone puts the first seed's pooled skill between {spread['low']:+.2%} and "
        f"{spread['high']:+.2%}"
    )
    return table(title, ("horizon", *(f"seed {seed}" for seed in spread["seeds"]), "mean", "deviation"), rows)


def _skill(skill: Skill | None) -> str:
    return "" if skill is None else f"{skill.value:+.2%} ({skill.p_value:.3f})"


def _share(found: Estimate | None) -> str:
    return "n/a" if found is None else f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})"


def _number(value: float | None, form: str) -> str | None:
    return None if value is None else format(value, form)
