"""What the calibration of each model rests on, as tables and sentences for people (SPEC 10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fxgpt_core.models.registry import FAMILIES
from fxgpt_pipeline.cli.output import table

if TYPE_CHECKING:
    from fxgpt_pipeline.lineage import Lineage

Summaries = Mapping[str, Mapping[str, Any]]


def calibration_summaries(lineage: Lineage) -> Summaries:
    """Return the stored summary of every family that has been calibrated (`CalibrationReport.to_dict`)."""
    from fxgpt_pipeline.evaluating import calibration_name

    documents, symbol = lineage.workspace.documents, lineage.symbol
    names = {family: calibration_name(family) for family in lineage.families}
    return {family: documents.read(name, symbol) for family, name in names.items() if documents.exists(name, symbol)}


def calibration_table(summaries: Summaries) -> Any:
    """Return one row per model and horizon: method, rows, and how many independent ones they are worth."""
    rows = [
        (FAMILIES[family].label, horizon, found["method"], count, round(effective))
        for family, found in summaries.items()
        for horizon, count, effective in zip(found["horizons"], *_sizes(found), strict=True)
    ]
    return table("What the calibration rests on", ("model", "horizon", "method", "rows", "effective"), rows)


def calibration_warnings(summaries: Summaries) -> Sequence[str]:
    """Return every sentence about calibration that rests on too little."""
    return [warning for found in summaries.values() for warning in found["warnings"]]


def calibration_note(summaries: Summaries, family: str, version: str) -> str:
    """Return one line about the calibration of a forecast whose calibration version is `version`."""
    found = summaries.get(family)
    if not version or found is None or version.partition("+")[0] != found["version"]:
        return f"calibration {version or 'none: too little was known'}"
    sizes = zip(found["horizons"], found["effective_rows"], strict=True)
    return f"calibration {version}, effective rows " + ", ".join(f"{h}: {size:.0f}" for h, size in sizes)


def _sizes(found: Mapping[str, Any]) -> tuple[Sequence[int], Sequence[float]]:
    """Return rows and effective rows per horizon, 0 where nothing goes live."""
    none = [0] * len(found["horizons"])
    return found["rows"] or none, found["effective_rows"] or none
