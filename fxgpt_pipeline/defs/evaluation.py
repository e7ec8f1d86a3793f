"""Scores of all families on the same rows, and the checks that doubt them."""

from typing import Any

import dagster as dg

from fxgpt_core.common.timeframes import horizon_name
from fxgpt_pipeline.defs.common import Parts, begin, finished
from fxgpt_pipeline.stages import SCORES
from fxgpt_pipeline.workspace import Workspace


def build(parts: Parts) -> list[Any]:
    """Return the scores asset and its checks."""
    return [_scores(parts), _not_too_good(parts), _coverage_holds(parts)]


def _scores(parts: Parts) -> dg.AssetsDefinition:
    @parts.asset(
        SCORES,
        description="CRPS skill against every baseline with p-values, coverage before and after calibration, errors, "
        "consistency and effective sample sizes, for every family and horizon on the rows that all share.",
        kinds={"numpy"},
    )
    def scores(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult[Any]:
        from fxgpt_pipeline.evaluating import score

        lineage = begin(context, workspace, SCORES)
        evaluation = score(lineage)
        skills = {f"skill_{pool.family}": pool.skill.value for pool in evaluation.pooled if not pool.baseline}
        return finished(
            lineage,
            SCORES,
            {
                "dagster/row_count": evaluation.rows,
                "span": f"{evaluation.start} to {evaluation.end}",
                **skills,
                "table": dg.MetadataValue.md(_markdown(evaluation)),
            },
        )

    return scores


def _not_too_good(parts: Parts) -> Any:
    @parts.check(
        SCORES,
        "not_too_good_to_be_true",
        description="No model's lower confidence bound lies above what FX returns allow; otherwise suspect leakage. "
        "Alarms that a person has acknowledged, with a reason, pass with a note.",
    )
    def not_too_good(
        context: dg.AssetCheckExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.AssetCheckResult:
        from fxgpt_core.policy.alarms import raised_alarms

        lineage = workspace.lineage(context.partition_key)
        evaluation = _stored(lineage)
        alarms = [
            alarm
            for name in evaluation.families
            for alarm in raised_alarms(evaluation, name, lineage.asset.acknowledged_alarms)
        ]
        standing = [alarm.name for alarm in alarms if alarm.open]
        return dg.AssetCheckResult(
            passed=not standing,
            description="; ".join(alarm.sentence for alarm in alarms) or "Nothing is too good to be true.",
            metadata={
                "alarms": ", ".join(standing),
                "acknowledged": ", ".join(alarm.name for alarm in alarms if not alarm.open),
            },
        )

    return not_too_good


def _coverage_holds(parts: Parts) -> Any:
    @parts.check(
        SCORES,
        "coverage_holds",
        description="After calibration the confidence interval of each model's 90 % coverage reaches nominal.",
    )
    def coverage_holds(
        context: dg.AssetCheckExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.AssetCheckResult:
        lineage = workspace.lineage(context.partition_key)
        gate = lineage.settings.gate
        off = []
        for entry in _stored(lineage).scores:
            found = entry.covered(gate.coverage).calibrated
            if (
                found.high < gate.coverage - gate.coverage_tolerance
                or found.low > gate.coverage + gate.coverage_tolerance
            ):
                off.append(f"{entry.family} at {horizon_name(entry.horizon)}: {found.value:.1%}")
        return dg.AssetCheckResult(
            passed=not off, severity=dg.AssetCheckSeverity.WARN, description="; ".join(off) or "Coverage holds."
        )

    return coverage_holds


def _stored(lineage: Any) -> Any:
    """Return the evaluation that the asset has stored."""
    from fxgpt_core.evaluation.result import Evaluation

    return Evaluation.from_dict(lineage.workspace.documents.read("evaluation", lineage.symbol))


def _markdown(evaluation: Any) -> str:
    lines = ["| horizon | model | CRPS | skill | p | 90 % coverage | effective rows |", "|---|---|---|---|---|---|---|"]
    for entry in evaluation.scores:
        skill = "" if entry.best is None else f"{entry.best.value:+.2%}"
        p_value = "" if entry.best is None else f"{entry.best.p_value:.3f}"
        lines.append(
            f"| {horizon_name(entry.horizon)} | {entry.family} | {entry.crps.value:.3e} | {skill} | {p_value} | "
            f"{entry.covered(0.9).calibrated.value:.1%} | {entry.effective_rows:.0f} |"
        )
    return "\n".join(lines)
