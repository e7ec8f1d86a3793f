"""Conformal calibration: one asset a family."""

from typing import Any

import dagster as dg

from fxgpt_core.models.registry import FAMILIES, FamilyEntry
from fxgpt_pipeline.defs.common import Parts, begin, finished, switched_off
from fxgpt_pipeline.stages import calibrated
from fxgpt_pipeline.workspace import Workspace


def build(parts: Parts) -> list[Any]:
    """Return the calibrated forecasts of every family."""
    return [_calibrated(parts, entry) for entry in FAMILIES.values()]


def _calibrated(parts: Parts, entry: FamilyEntry) -> dg.AssetsDefinition:
    key = calibrated(entry.name)

    @parts.asset(
        key,
        description=f"{entry.label}: each fold calibrated on the outcomes known before it began, and the calibrator "
        "that goes live with the next candidate.",
        kinds={"numpy", "parquet"},
    )
    def forecasts(
        context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.MaterializeResult[Any]:
        from fxgpt_pipeline.evaluating import calibrate

        lineage = begin(context, workspace, key)
        if entry.name not in lineage.families:
            return switched_off(entry.name)
        forecast, summary = calibrate(lineage, entry.name)
        for warning in summary["warnings"]:
            context.log.warning(warning)
        return finished(
            lineage,
            key,
            {
                "dagster/row_count": len(forecast),
                "rows_without_calibration": summary["dropped"],
                "method": summary["method"],
                "version": summary["version"],
                "calibration_rows": _per_horizon(summary, "rows"),
                "effective_calibration_rows": _per_horizon(summary, "effective_rows"),
                "known_until": summary["known_until"],
                "folds": dg.MetadataValue.json(summary["folds"]),
                "warnings": " ".join(summary["warnings"]) or None,
            },
        )

    return forecasts


def _per_horizon(summary: dict[str, Any], name: str) -> str:
    sizes = zip(summary["horizons"], summary[name], strict=False)  # no sizes where nothing goes live
    return ", ".join(f"{horizon}: {size:.0f}" for horizon, size in sizes) or "none"
