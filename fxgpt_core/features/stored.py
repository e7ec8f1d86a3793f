"""Features and targets in the lake: months whose inputs and definition did not change are left alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.hashing import bytes_hash, stable_hash
from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.features.blocks import block_sources, compute_block, months
from fxgpt_core.features.condition import ColumnCondition, month_condition, table_condition
from fxgpt_core.features.spec import FeatureSpec, check_layout
from fxgpt_core.features.standardised import Targets, make_targets
from fxgpt_core.features.surroundings import load_releases, surroundings
from fxgpt_core.features.table import FeatureTable
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.history import load_candles

if TYPE_CHECKING:
    import pyarrow as pa

    from fxgpt_core.market.lake import Lake, PartEntry

FEATURES, TARGETS = "features", "targets"
_NAMED = 6  # odd columns that the log names
_PATIENCE = 3600.0
"""Seconds that one waits for another's features: a long history of fast bars takes minutes to compute."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeaturesSummary:
    """What `update_tables` did: per timeframe code rows, columns, months computed and months left as they were.

    `conditions`: of every column of every timeframe, what is missing or odd in it.
    """

    symbol: str
    rows: Mapping[str, int]
    columns: Mapping[str, int]
    computed: Mapping[str, int]
    skipped: Mapping[str, int]
    conditions: tuple[ColumnCondition, ...] = ()

    @property
    def odd(self) -> tuple[ColumnCondition, ...]:
        """Columns that are odd in some month, those that are so most often first."""
        found = [one for one in self.conditions if one.odd_months]
        return tuple(sorted(found, key=lambda one: -sum(one.odd_months.values()) / one.months))


@dataclass(frozen=True)
class TargetsSummary:
    """What `update_targets` did: rows, those with a yardstick, labels per horizon, months written and skipped."""

    symbol: str
    rows: int
    usable: int
    labels: Mapping[int, int]
    written: int
    skipped: int


def update_tables(
    lake: Lake, symbol: str, timeframes: Sequence[Timeframe], spec: FeatureSpec, progress: Progress = silent
) -> FeaturesSummary:
    """Bring the feature tables of all timeframes up to the stored candles, month by month.

    A month is recomputed when the bars that its block is computed from (its own and its warm-up), or the definition of
    the features, changed. Columns that are missing, constant or explosive in some month are stored as they are and
    named in the log. One process at a time does so for a symbol; another waits. Raises DataError where candles are
    missing.
    """
    with lake.lock(FEATURES, {"symbol": symbol}, _PATIENCE):
        return _update_tables(lake, symbol, timeframes, spec, progress)


def _update_tables(
    lake: Lake, symbol: str, timeframes: Sequence[Timeframe], spec: FeatureSpec, progress: Progress
) -> FeaturesSummary:
    for idle in spec.idle(timeframes):
        log.warning("%s: %s; nothing is computed.", symbol, idle)
    rows, columns, computed, skipped = {}, {}, {}, {}
    conditions: list[ColumnCondition] = []
    by_code = {bar.code: load_candles(lake, symbol, bar) for bar in timeframes}
    definitions, releases = spec.definition_hashes(timeframes), load_releases(lake, symbol)
    for bar in timeframes:
        candles, around = by_code[bar.code], surroundings(by_code, bar.code, releases)
        sources = {_part(month): (month, source) for month, source in block_sources(candles, spec, around).items()}
        keys, definition = {"symbol": symbol, "timeframe": bar.code}, definitions[bar.code]
        done = _trusted(lake, FEATURES, keys, definition, {p: s for p, (_, s) in sources.items()})
        todo = [part for part in sources if part not in done]
        names: tuple[str, ...] = ()
        known = lake.read_manifest(FEATURES, keys)
        found = {part: known.extra["conditions"][part] for part in done} if known is not None else {}
        for index, part in enumerate(todo):
            progress(f"features {symbol} {bar}", index, len(todo), part)
            block = compute_block(candles, sources[part][0], spec, around)
            names = block.names
            done[part] = _write(lake, FEATURES, keys, part, block.to_arrow(), sources[part][1])
            found[part] = month_condition(block)
        progress(f"features {symbol} {bar}", len(todo), len(todo))
        if todo:
            _finish(lake, FEATURES, keys, definition, done, {"columns": list(names), "conditions": found})
        manifest = lake.read_manifest(FEATURES, keys)
        columns[bar.code] = len(manifest.extra["columns"]) if manifest else 0
        if manifest is not None:
            conditions += table_condition(bar.code, manifest.extra["columns"], list(found.values()))
        rows[bar.code], computed[bar.code] = len(candles), len(todo)
        skipped[bar.code] = len(sources) - len(todo)
    summary = FeaturesSummary(symbol, rows, columns, computed, skipped, tuple(conditions))
    if summary.odd and any(computed.values()):
        named = "; ".join(one.sentence for one in summary.odd[:_NAMED])
        more = f"; and {len(summary.odd) - _NAMED} more" if len(summary.odd) > _NAMED else ""
        log.info("Of %d feature columns of %s %d are odd in some month: %s%s.", len(conditions), symbol,
                 len(summary.odd), named, more)  # fmt: skip
    return summary


def update_targets(
    lake: Lake, symbol: str, timeframes: Sequence[Timeframe], horizons: Sequence[int], spec: FeatureSpec
) -> TargetsSummary:
    """Bring yardstick and targets of the base bars up to the stored candles.

    All months are computed in one pass, because the yardstick's levels run through; only parts that changed are
    written, by one process at a time. Raises DataError where candles are missing.
    """
    timeframes, horizons = check_layout(timeframes, horizons)
    with lake.lock(TARGETS, {"symbol": symbol}, _PATIENCE):
        return _update_targets(lake, symbol, timeframes, horizons, spec)


def _update_targets(
    lake: Lake, symbol: str, timeframes: Sequence[Timeframe], horizons: tuple[int, ...], spec: FeatureSpec
) -> TargetsSummary:
    candles = load_candles(lake, symbol, timeframes[0])
    definition = spec.target_hash(timeframes[0], horizons)
    targets = make_targets(candles, horizons, spec.yardstick)
    keys = {"symbol": symbol, "timeframe": timeframes[0].code}
    tables = {}
    for month, bars in months(candles):
        tables[_part(month)] = targets.take(bars).to_arrow(candles.take(bars), horizons)
    sources = {part: _table_hash(table) for part, table in tables.items()}
    done = _trusted(lake, TARGETS, keys, definition, sources)
    todo = [part for part in tables if part not in done]
    for part in todo:
        done[part] = _write(lake, TARGETS, keys, part, tables[part], sources[part])
    if todo:
        _finish(lake, TARGETS, keys, definition, done, {"horizons": list(horizons)})
    labels = {h: int(targets.mask[:, i].sum()) for i, h in enumerate(horizons)}
    usable = int(np.isfinite(targets.yardstick).all(axis=1).sum())
    return TargetsSummary(symbol, len(candles), usable, labels, len(todo), len(tables) - len(todo))


@contextmanager
def at_rest(lake: Lake, symbol: str) -> Iterator[None]:
    """Hold a symbol's features and targets as they are: nobody writes them meanwhile."""
    with lake.lock(FEATURES, {"symbol": symbol}, _PATIENCE), lake.lock(TARGETS, {"symbol": symbol}, _PATIENCE):
        yield


def read_table(lake: Lake, symbol: str, bar: Timeframe, definition: str) -> FeatureTable:
    """Read the stored features of one timeframe; raises DataError when they are missing or of another definition."""
    return FeatureTable.from_arrow(_read(lake, FEATURES, symbol, bar, definition), bar, definition)


def read_targets(lake: Lake, candles: Candles, horizons: tuple[int, ...], spec: FeatureSpec) -> Targets:
    """Read the stored targets of base `candles`, as they were known at the close of the last of them.

    Those stored may reach further. Raises DataError when they are missing or belong to other bars.
    """
    bar, bars = candles.timeframe, len(candles)
    table = _read(lake, TARGETS, candles.symbol, bar, spec.target_hash(bar, horizons))
    stamps = table["ts_utc"].to_numpy().astype("datetime64[ns]")
    if len(stamps) < bars or (stamps[:bars] != candles.ts_utc).any():
        raise DataError(
            f"Targets of {candles.symbol} {bar} cover {len(stamps)} bars, the candles are {bars}: "
            "materialise the targets again."
        )
    return Targets.from_arrow(table, horizons).known(candles.known_at)


def _read(lake: Lake, dataset: str, symbol: str, bar: Timeframe, definition: str) -> pa.Table:
    keys = {"symbol": symbol, "timeframe": bar.code}
    manifest = lake.read_manifest(dataset, keys)
    if manifest is None or manifest.definition != definition:
        state = "missing" if manifest is None else "of another configuration"
        raise DataError(f"The {dataset} of {symbol} {bar} are {state}: materialise them again.")
    return lake.read(dataset, keys, sorted(manifest.parts))


def _trusted(
    lake: Lake, dataset: str, keys: Mapping[str, str], definition: str, sources: Mapping[str, str]
) -> dict[str, PartEntry]:
    """Return the parts that are still right, after striking all others from the manifest and the lake.

    The manifest is written before parts change, so that a crash in between leaves no part that is wrongly trusted.
    """
    manifest = lake.read_manifest(dataset, keys)
    present = set(lake.parts(dataset, keys))
    if manifest is None:
        lake.remove(dataset, keys, sorted(present - set(sources)))
        return {}
    same = manifest.definition == definition
    kept = {
        part: entry
        for part, entry in manifest.parts.items()
        if same and part in present and sources.get(part) == entry.source
    }
    if kept != manifest.parts:
        lake.write_manifest(dataset, keys, replace(manifest, parts=kept, fingerprint=""))
    lake.remove(dataset, keys, sorted(present - set(sources)))
    return kept


def _write(lake: Lake, dataset: str, keys: Mapping[str, str], part: str, table: pa.Table, source: str) -> PartEntry:
    from fxgpt_core.market.lake import PartEntry

    lake.write(dataset, keys, part, table)
    return PartEntry(_table_hash(table), table.num_rows, source)


def _finish(
    lake: Lake,
    dataset: str,
    keys: Mapping[str, str],
    definition: str,
    parts: Mapping[str, PartEntry],
    extra: dict[str, object],
) -> None:
    from fxgpt_core.market.lake import Manifest

    ordered = {part: parts[part] for part in sorted(parts)}
    fingerprint = stable_hash([definition, {part: entry.checksum for part, entry in ordered.items()}])
    inputs = {part: entry.source for part, entry in ordered.items()}
    lake.write_manifest(dataset, keys, Manifest(fingerprint, definition, inputs, ordered, extra))


def _part(month: np.datetime64) -> str:
    return f"month={month}"


def _table_hash(table: pa.Table) -> str:
    columns = (table[name].to_numpy(zero_copy_only=False) for name in table.column_names)
    return bytes_hash(b"".join(np.ascontiguousarray(column).tobytes() for column in columns))
