"""What each stage leaves on disk, so that a deleted result counts as missing whatever the event log says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fxgpt_core.evaluation.archive import CALIBRATED
from fxgpt_core.market.lake import Lake
from fxgpt_core.models.walk_forward import DATASET as WALK_FORWARD
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.stages import CANDLES, CHAMPION, DRIFT, REPORT, SCORES, TABLES, TARGETS, Key


def present(lineage: Lineage, key: Key) -> bool:
    """Tell whether the stored result of a stage is there; cheap, it reads manifests and looks for files."""
    documents, lake, symbol = lineage.workspace.documents, lineage.workspace.lake, lineage.symbol
    documented = {SCORES: "evaluation", DRIFT: "drift", CHAMPION: "champion"}
    if key in documented:
        return documents.exists(documented[key], symbol)
    if key == REPORT:
        return report_path(lineage).exists()
    if key in (CANDLES, TABLES, TARGETS):
        bars = (lineage.timeframes[0],) if key == TARGETS else lineage.timeframes
        dataset = {CANDLES: "candles", TABLES: "features", TARGETS: "targets"}[key]
        return all(_whole(lake, dataset, {"symbol": symbol, "timeframe": bar.code}) for bar in bars)
    layer, family = key[:2]
    if layer == "models":
        return documents.exists(groundwork_name(family, key[2]), symbol)
    if layer == "backtests":
        return documents.exists(f"backtest_{family}", symbol)
    if layer == "candidates":
        return lineage.workspace.registry.find(symbol, lineage.fingerprint(key)) is not None
    dataset = CALIBRATED if layer == "calibration" else WALK_FORWARD
    return _whole(lake, dataset, {"symbol": symbol, "family": family})


def _whole(lake: Lake, dataset: str, keys: Mapping[str, str]) -> bool:
    """Tell whether every part that a manifest lists has its file."""
    manifest = lake.read_manifest(dataset, keys)
    if manifest is None:
        return False
    folds = {f"fold={fold}" for fold in manifest.extra.get("folds", ())}
    listed = folds or set(manifest.parts) or ({"span=all"} if dataset == CALIBRATED else set())
    return bool(listed) and listed <= set(lake.parts(dataset, keys))


def groundwork_name(family: str, name: str) -> str:
    """Name of the document that says how a family's groundwork came out."""
    return f"groundwork_{family}_{name}"


def report_path(lineage: Lineage) -> Path:
    """Return where the symbol's HTML report lies."""
    return lineage.workspace.home.reports / lineage.symbol / "overview.html"


def groundwork_path(lineage: Lineage, family: str, name: str) -> Path:
    """Return where the page of a family's groundwork lies."""
    return report_path(lineage).with_name(f"{family}_{name}.html")
