"""What a run knows: the bars that it began with, and the results that it made itself, whatever others add meanwhile.

A live loop stores a bar every few minutes and a training takes longer than that. Were each stage to look at the newest
bars, no two stages of a run would speak of the same ones; and were it to refuse inputs made of fewer, no run would end
while a market is open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.stages import CANDLES, Key

if TYPE_CHECKING:
    from dagster import AssetMaterialization, DagsterInstance

UNTIL = "bars_until"
"""Metadata of candles: the close of the newest bar that was given when they were made."""
_VERSION = "dagster/data_version"


def pinned(lineage: Lineage, instance: DagsterInstance, run_id: str) -> Lineage:
    """Return the lineage as the run knows it: as of the candles that it made, else of those last made.

    What a run that was started again from its failure had made before, counts as its own.
    """
    made = made_by(instance, run_id, lineage.symbol).get(CANDLES)
    return as_of(lineage, made or latest(instance, CANDLES, lineage.symbol))


def as_of(lineage: Lineage, candles: AssetMaterialization | None) -> Lineage:
    """Return the lineage with the bars that there were when these candles were made."""
    value = None if candles is None or UNTIL not in candles.metadata else candles.metadata[UNTIL].value
    return lineage if value is None else lineage.pinned(np.datetime64(str(value), "ns"))


def outdated_inputs(lineage: Lineage, instance: DagsterInstance, run_id: str, key: Key) -> list[Key]:
    """Return the stages right below `key` whose result is not what bars, settings and code ask for.

    The result that counts is that of the run itself where it made one, else the newest.
    """
    deps = lineage.stages[key].deps if key in lineage.stages else ()
    own = made_by(instance, run_id, lineage.symbol) if deps else {}
    found = {dep: own.get(dep) or latest(instance, dep, lineage.symbol) for dep in deps}
    return [dep for dep, made in found.items() if data_version(made) != lineage.fingerprint(dep)]


def made_by(instance: DagsterInstance, run_id: str, symbol: str) -> Mapping[Key, AssetMaterialization]:
    """Return what a run, and the runs whose failure it continues, have materialised of a symbol; the newest counts."""
    from dagster import DagsterEventType

    found: dict[Key, AssetMaterialization] = {}
    seen: str | None = run_id
    while seen is not None:
        records = instance.get_records_for_run(seen, of_type=DagsterEventType.ASSET_MATERIALIZATION).records
        for made in (record.asset_materialization for record in reversed(records)):
            if made is not None and made.partition == symbol:
                found.setdefault(tuple(made.asset_key.path), made)
        run = instance.get_run_by_id(seen)
        seen = None if run is None else run.parent_run_id
    return found


def latest(instance: DagsterInstance, key: Key, symbol: str) -> AssetMaterialization | None:
    """Return the newest result of a stage, whoever made it; None before there is one."""
    from dagster import AssetKey, AssetRecordsFilter

    asked = AssetRecordsFilter(asset_key=AssetKey(key), asset_partitions=[symbol])
    records = instance.fetch_materializations(asked, limit=1).records
    return records[0].asset_materialization if records else None


def data_version(made: AssetMaterialization | None) -> str | None:
    """Return the fingerprint that a result carries."""
    return None if made is None else (made.tags or {}).get(_VERSION)
