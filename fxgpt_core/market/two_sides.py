"""Bid and ask bars of one pair in the lake: both sides as they came, and the mid bars that they make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market.bar_parts import (
    CANDLES,
    ONE_SIDED,
    bar_keys,
    being_written,
    entry_of,
    finish,
)
from fxgpt_core.market.candles import SCHEMA, Candles
from fxgpt_core.market.given_files import Source, spoken_for, with_file
from fxgpt_core.market.lake import Lake, Manifest, PartEntry
from fxgpt_core.market.losses import Checked, check_unchanged, check_writing, cure
from fxgpt_core.market.quality.assessment import Assessment
from fxgpt_core.market.quarantine import store_quarantine
from fxgpt_core.market.sides import OTHER_SIDE, combine_sides


def side_entries(manifest: Manifest, side: str) -> dict[str, PartEntry]:
    """Return month -> what the manifest says of one side's bars; empty for sides that were stored before it did."""
    told = manifest.extra.get("sides", {}).get(side, {})
    return {part: PartEntry(str(entry["checksum"]), int(entry["rows"])) for part, entry in told.items()}


def store_side(lake: Lake, manifest: Manifest, candles: Candles, judged: Assessment, source: Source) -> int:
    """Merge bars of one side into `candles_by_side`, make the mid bars of the months that changed, and return the rows
    added or changed.

    Everything is refused before the first write: DataError where bars of either side are not what they were when they
    were stored, because the mid bars would lose what they lost.
    """
    symbol, bar = candles.symbol, candles.timeframe
    keys, met = bar_keys(symbol, bar), bool(manifest.extra.get("combined"))
    mine = {**keys, "side": candles.side}
    later = spoken_for(manifest, candles, source)
    checked = check_writing(lake, ONE_SIDED, mine, manifest, side_entries(manifest, candles.side), candles, later)
    other, months = OTHER_SIDE[candles.side], sorted(checked.months)
    if met:
        check_unchanged(
            lake, ONE_SIDED, {**keys, "side": other}, manifest, side_entries(manifest, other), months, other
        )
        _check_growth(lake, manifest, checked, candles)
    else:
        check_unchanged(lake, CANDLES, keys, manifest, manifest.parts, manifest.parts, other)
    store_quarantine(lake, symbol, bar, judged.quarantine, source.name, source.checksum)
    stale = sorted({*months} if met else {*manifest.parts, *months})
    changed = checked.replace(lake, ONE_SIDED, mine)
    if not met:  # the first meeting: the bars so far move over to their side
        for part in manifest.parts:
            lake.upsert(ONE_SIDED, {**keys, "side": other}, part, lake.read(CANDLES, keys, [part]))
        changed += checked.merge(lake, ONE_SIDED, mine)
    # From here the mid bars can be made again from the sides, so readers see none of the stale months until they are.
    manifest = with_file(manifest, candles, judged, source)
    kept = {part: entry for part, entry in manifest.parts.items() if part not in stale}
    extra = {**manifest.extra, "side": "mid", "combined": True}
    manifest = being_written(replace(manifest, parts=kept, extra=extra), source.name, stale, combining=True)
    lake.write_manifest(CANDLES, keys, manifest)
    if met:  # only now: bars of a side that nobody announced would look like damage after a kill
        changed += checked.merge(lake, ONE_SIDED, mine)
    recombine(lake, symbol, bar, manifest)
    return changed


def recombine(lake: Lake, symbol: str, bar: Timeframe, manifest: Manifest, losing: bool = False) -> Manifest:
    """Make the mid bars of the months that the manifest says are being written, and count what only one side has and
    where the ask lies below the bid.

    Raises DataError where a side has fewer bars than before, unless `losing` accepts that.
    """
    keys, months = bar_keys(symbol, bar), list(manifest.extra["writing"]["months"])
    one_sided, crossed = _without(manifest, "one_sided", months), _without(manifest, "crossed", months)
    entries = {side: side_entries(manifest, side) for side in OTHER_SIDE}
    for part in months:
        sides = {side: side_bars(lake, symbol, bar, side, part) for side in OTHER_SIDE}
        for side, bars in sides.items():
            before = entries[side].pop(part, PartEntry("", 0)).rows
            if len(bars) < before and not losing:
                what = f"{symbol} {bar} {side} {part.removeprefix('month=')}"
                raise DataError(f"The stored bars of {what} are {len(bars)}, not {before} as before. {cure(keys)}")
            if len(bars):
                entries[side][part] = entry_of(bars)
        mid = combine_sides(sides["bid"], sides["ask"])
        lonely = {side: len(bars) - len(mid) for side, bars in sides.items() if len(bars) > len(mid)}
        below = int(np.isnan(mid.spread).sum())
        one_sided |= {part: lonely} if lonely else {}
        crossed |= {part: below} if below else {}
        if len(mid):
            lake.write(CANDLES, keys, part, mid.to_arrow())
        else:
            lake.remove(CANDLES, keys, [part])
    told = {side: {part: _told(entry) for part, entry in sorted(parts.items())} for side, parts in entries.items()}
    extra = {**manifest.extra, "one_sided": one_sided, "crossed": crossed, "sides": told}
    return finish(lake, symbol, bar, replace(manifest, extra=extra), months)


def side_bars(lake: Lake, symbol: str, bar: Timeframe, side: str, part: str) -> Candles:
    """Return a month's bars of one side, none where there is no such month."""
    keys = {**bar_keys(symbol, bar), "side": side}
    present = part in lake.parts(ONE_SIDED, keys)
    table = lake.read(ONE_SIDED, keys, [part]) if present else SCHEMA.empty_table()
    return Candles.from_arrow(table, symbol, bar, side)


def _check_growth(lake: Lake, manifest: Manifest, checked: Checked, candles: Candles) -> None:
    """Raise DataError where a month would have fewer mid bars than it has: sides grow, so one has lost some."""
    for part, bars in checked.months.items():
        if part not in manifest.parts:
            continue
        held = side_bars(lake, candles.symbol, candles.timeframe, OTHER_SIDE[candles.side], part).ts_utc
        mine = bars.ts_utc
        if part not in checked.anew:
            stored = side_bars(lake, candles.symbol, candles.timeframe, candles.side, part).ts_utc
            mine = np.union1d(mine, stored)
        count, before = len(np.intersect1d(mine, held)), manifest.parts[part].rows
        if count < before:
            what = f"{candles.symbol} {candles.timeframe} {part.removeprefix('month=')}"
            raise DataError(
                f"Bid and ask bars of {what} make {count} mid bars, and there are {before}: bars of a side "
                f"have gone. The lake is as it was. {cure(bar_keys(candles.symbol, candles.timeframe))}"
            )


def _without(manifest: Manifest, name: str, months: Iterable[str]) -> dict[str, Any]:
    known: Mapping[str, Any] = manifest.extra.get(name, {})
    return {part: count for part, count in known.items() if part not in set(months)}


def _told(entry: PartEntry) -> dict[str, Any]:
    return {"checksum": entry.checksum, "rows": entry.rows}
