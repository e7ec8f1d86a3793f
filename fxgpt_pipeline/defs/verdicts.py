"""Drift verdicts as the asset recorded them, in the words of `policy`."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from fxgpt_core.policy.retraining import DriftNews
from fxgpt_pipeline.stages import DRIFT


def verdict_of(record: dg.EventLogRecord) -> DriftNews | None:
    """Return the verdict of a materialisation of the drift asset; None where it is of no symbol."""
    materialisation = record.asset_materialization
    if materialisation is None or record.partition_key is None:
        return None
    values = {name: value.value for name, value in materialisation.metadata.items()}
    said = values.get("judged_at")  # by the clock of trainings; Dagster stamps by the machine's
    return DriftNews(
        cause=str(values.get("window_end", record.storage_id)),
        drifted=bool(values.get("drifted", False)),
        onset=bool(values.get("onset", False)),
        judged_at=datetime.fromisoformat(str(said)) if said else datetime.fromtimestamp(record.timestamp, UTC),
        summary=str(values.get("summary", "")),
    )


def latest_verdict(instance: dg.DagsterInstance, symbol: str) -> DriftNews | None:
    """Return a symbol's newest verdict, or None before the first."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(DRIFT), asset_partitions=[symbol])
    records = instance.fetch_materializations(wanted, limit=1).records
    return verdict_of(records[0]) if records else None
