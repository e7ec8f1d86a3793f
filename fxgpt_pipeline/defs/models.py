"""Models: one chain of assets per family, made by one factory."""

from typing import Any

import dagster as dg
from pydantic import Field

from fxgpt_core.models.groundwork import Groundwork
from fxgpt_core.models.registry import FAMILIES, FamilyEntry
from fxgpt_pipeline.defs.common import Parts, begin, finished, reporter, switched_off
from fxgpt_pipeline.stages import TRAINING_POOL, candidate, groundwork, walk_forward
from fxgpt_pipeline.workspace import Workspace


class WalkForwardConfig(dg.Config):
    """What the launchpad asks of a walk-forward run.

    Nothing here changes the official forecasts: what decides them (epochs, sizes, the seed) is configuration, is part
    of the data version, and stands in configs/<family>/, configs/assets/ and configs/pipeline.yaml.
    """

    afresh: bool = Field(default=False, description="Forget finished folds and interrupted fits, and do all again.")
    seeds: list[int] = Field(
        default_factory=list,
        description="Further seeds, such as [1, 2]: every fold is also forecast with each, beside the official ones, "
        "for `fxgpt evaluate SYMBOL --seeds N` to compare.",
    )


def build(parts: Parts) -> list[Any]:
    """Return walk-forward forecasts, groundwork and registered candidate of every family."""
    return [
        asset
        for entry in FAMILIES.values()
        for asset in (
            _walk_forward(parts, entry),
            *(_groundwork(parts, entry, part) for part in entry.groundwork),
            _candidate(parts, entry),
        )
    ]


def _walk_forward(parts: Parts, entry: FamilyEntry) -> dg.AssetsDefinition:
    key = walk_forward(entry.name)

    @parts.asset(
        key,
        description=f"{entry.label}: out-of-sample forecasts, fitted anew on the past of each fold. Finished folds are "
        "kept, so an interrupted run carries on.",
        kinds={"torch" if entry.accelerated else "python", "parquet"},
        pool=TRAINING_POOL,
    )
    def forecasts(
        context: dg.AssetExecutionContext, config: WalkForwardConfig, workspace: dg.ResourceParam[Workspace]
    ) -> dg.MaterializeResult[Any]:
        from fxgpt_pipeline.fit_facts import fit_facts
        from fxgpt_pipeline.training import walk_forward_forecasts

        lineage = begin(context, workspace, key)
        if entry.name not in lineage.families:
            return switched_off(entry.name)
        result = walk_forward_forecasts(lineage, entry, reporter(context, workspace), afresh=config.afresh)
        for seed in config.seeds:
            walk_forward_forecasts(lineage, entry, reporter(context, workspace), seed, config.afresh)
        return finished(
            lineage,
            key,
            {
                "dagster/row_count": len(result.forecast),
                "folds": int(result.fold.max()) + 1,
                "first_decision": str(result.forecast.decided_at[0]),
                "last_decision": str(result.forecast.decided_at[-1]),
                **fit_facts(result.reports, lineage.family_config(entry.name).model_dump(mode="json")),
            },
        )

    return forecasts


def _groundwork(parts: Parts, entry: FamilyEntry, part: Groundwork) -> dg.AssetsDefinition:
    key = groundwork(entry.name, part.name)

    @parts.asset(
        key,
        description=f"{entry.label}: {part.label}, trained on everything known and registered as a version of its own. "
        "The candidate starts from it; folds train their own, since this one has seen what they forecast.",
        kinds={"torch" if entry.accelerated else "python", "mlflow"},
        pool=TRAINING_POOL,
    )
    def made(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult[Any]:
        from fxgpt_pipeline.fit_facts import fit_facts
        from fxgpt_pipeline.groundwork import NOTHING, make_groundwork

        lineage = begin(context, workspace, key)
        if entry.name not in lineage.families:
            return switched_off(entry.name)
        left = make_groundwork(lineage, entry, part, context.run_id, reporter(context, workspace))
        parameters = lineage.family_config(entry.name).model_dump(mode="json")
        return finished(
            lineage,
            key,
            {
                "version": NOTHING if left.version is None else left.version.label,
                "mlflow_run": None if left.version is None else left.version.run_id,
                "page": None if left.page is None else dg.MetadataValue.path(str(left.page)),
                **({} if left.fit is None else {"rows": left.fit.rows, **left.fit.metrics}),
                **fit_facts({} if left.fit is None else {part.name: left.fit}, parameters),
            },
        )

    return made


def _candidate(parts: Parts, entry: FamilyEntry) -> dg.AssetsDefinition:
    key = candidate(entry.name)

    @parts.asset(
        key,
        description=f"{entry.label} trained on everything known, with its calibrator, registered in MLflow as a "
        "version of fxgpt.<SYMBOL>. It takes over nothing by itself.",
        kinds={"torch" if entry.accelerated else "python", "mlflow"},
        pool=TRAINING_POOL,
    )
    def version(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult[Any]:
        from fxgpt_pipeline.fit_facts import fit_facts
        from fxgpt_pipeline.training import train_candidate

        lineage = begin(context, workspace, key)
        if entry.name not in lineage.families:
            return switched_off(entry.name)
        parameters = lineage.family_config(entry.name).model_dump(mode="json")
        made, fit = train_candidate(lineage, entry, context.run_id, reporter(context, workspace))
        return finished(
            lineage,
            key,
            {
                "version": made.label,
                "mlflow_run": made.run_id,
                "trained_until": made.tags["trained_until"],
                **({} if fit is None else {"rows": fit.rows, "seconds": round(fit.seconds, 2), **fit.metrics}),
                **fit_facts({} if fit is None else {"candidate": fit}, parameters),
            },
        )

    return version
