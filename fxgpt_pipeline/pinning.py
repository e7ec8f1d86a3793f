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
from fxgpt_pipeline.stages import CANDLES, DRIFT, TABLES, TARGETS, Key

if TYPE_CHECKING:
    from dagster import AssetMaterialization, DagsterInstance

UNTIL = "bars_until"
"""Metadata of candles: the close of the newest bar that was given when they were made."""
_VERSION = "dagster/data_version"
_RESUMED = "dagster/is_resume_retry"
_APPENDED = (CANDLES, TABLES, TARGETS, DRIFT)
"""What others only add to, or make of later bars: a run can go on with its own. Of everything else there is one copy,
which counts only while nobody has put another in its place."""


def pinned(lineage: Lineage, instance: DagsterInstance, run_id: str) -> Lineage:
    """Return the lineage as the run knows it: as of the candles that it made, else of those made before it began.

    What a run that Dagster has resumed after a crash had made before counts as its own.
    """
    own = made_by(instance, run_id, lineage.symbol).get(CANDLES)
    return as_of(lineage, own or latest(instance, CANDLES, lineage.symbol, _began(instance, run_id)))


def as_of(lineage: Lineage, candles: AssetMaterialization | None) -> Lineage:
    """Return the lineage with the bars that there were when these candles were made."""
    value = None if candles is None or UNTIL not in candles.metadata else candles.metadata[UNTIL].value
    return lineage if value is None else lineage.pinned(np.datetime64(str(value), "ns"))


def outdated_inputs(lineage: Lineage, instance: DagsterInstance, run_id: str, key: Key) -> list[Key]:
    """Return the stages right below `key` whose result is not what bars, settings and code ask for.

    Of what others only add to, the result that counts is that of the run itself where it made one, else the one of
    before it began; of everything else the newest.
    """
    deps = lineage.stages[key].deps if key in lineage.stages else ()
    shared, symbol = [dep for dep in deps if dep in _APPENDED], lineage.symbol
    found = {dep: latest(instance, dep, symbol) for dep in deps if dep not in shared}
    if shared:
        own, began = made_by(instance, run_id, symbol), _began(instance, run_id)
        found |= {dep: own.get(dep) or latest(instance, dep, symbol, began) for dep in shared}
    return [dep for dep in deps if data_version(found[dep]) != lineage.fingerprint(dep)]


def made_by(instance: DagsterInstance, run_id: str, symbol: str) -> Mapping[Key, AssetMaterialization]:
    """Return what a run, and the crashed runs that it resumes, have materialised of a symbol; the newest counts."""
    from dagster import DagsterEventType

    found: dict[Key, AssetMaterialization] = {}
    seen: str | None = run_id
    while seen is not None:
        records = instance.get_records_for_run(seen, of_type=DagsterEventType.ASSET_MATERIALIZATION).records
        for made in (record.asset_materialization for record in reversed(records)):
            if made is not None and made.partition == symbol:
                found.setdefault(tuple(made.asset_key.path), made)
        seen = _resumed(instance, seen)
    return found


def _resumed(instance: DagsterInstance, run_id: str) -> str | None:
    """Return the run whose crash this one resumes; one that a person starts again begins anew."""
    run = instance.get_run_by_id(run_id)
    return run.parent_run_id if run is not None and run.tags.get(_RESUMED) == "true" else None


def _began(instance: DagsterInstance, run_id: str) -> float | None:
    """Return when a run, or the first of those that it resumes, was asked for: seconds since 1970; None if unknown."""
    while (before := _resumed(instance, run_id)) is not None:
        run_id = before
    record = instance.get_run_record_by_id(run_id)
    return None if record is None else record.create_timestamp.timestamp()


def latest(
    instance: DagsterInstance, key: Key, symbol: str, before: float | None = None
) -> AssetMaterialization | None:
    """Return the newest result of a stage, whoever made it; None before there is one.

    `before`: seconds since 1970; later ones do not count.
    """
    from dagster import AssetKey, AssetRecordsFilter

    asked = AssetRecordsFilter(asset_key=AssetKey(key), asset_partitions=[symbol], before_timestamp=before)
    records = instance.fetch_materializations(asked, limit=1).records
    return records[0].asset_materialization if records else None


def data_version(made: AssetMaterialization | None) -> str | None:
    """Return the fingerprint that a result carries."""
    return None if made is None else (made.tags or {}).get(_VERSION)
