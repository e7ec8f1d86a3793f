"""Models: one chain of assets per family, made by one factory."""

from typing import Any

import dagster as dg

from fxgpt_core.models.registry import FAMILIES, FamilyEntry
from fxgpt_pipeline.defs.common import TRAINING_POOL, Parts, begin, finished, reporter, switched_off
from fxgpt_pipeline.stages import candidate, walk_forward
from fxgpt_pipeline.workspace import Workspace


def build(parts: Parts) -> list[Any]:
    """Return walk-forward forecasts and registered candidate of every family."""
    return [asset for entry in FAMILIES.values() for asset in (_walk_forward(parts, entry), _candidate(parts, entry))]


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
        context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.MaterializeResult[Any]:
        from fxgpt_pipeline.training import walk_forward_forecasts

        lineage = begin(context, workspace, key)
        if entry.name not in lineage.families:
            return switched_off(entry.name)
        result = walk_forward_forecasts(lineage, entry, reporter(context, workspace))
        report = {name: dict(fit.metrics) for name, fit in result.reports.items()}
        return finished(
            lineage,
            key,
            {
                "dagster/row_count": len(result.forecast),
                "folds": int(result.fold.max()) + 1,
                "first_decision": str(result.forecast.decided_at[0]),
                "last_decision": str(result.forecast.decided_at[-1]),
                "fits": dg.MetadataValue.json(report) if report else None,
            },
        )

    return forecasts


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
        from fxgpt_pipeline.training import train_candidate

        lineage = begin(context, workspace, key)
        if entry.name not in lineage.families:
            return switched_off(entry.name)
        made, fit = train_candidate(lineage, entry, context.run_id, reporter(context, workspace))
        return finished(
            lineage,
            key,
            {
                "version": made.label,
                "mlflow_run": made.run_id,
                "trained_until": made.tags["trained_until"],
                **({} if fit is None else {"rows": fit.rows, "seconds": round(fit.seconds, 2), **fit.metrics}),
            },
        )

    return version
