"""Are stored bars what their manifest says, and in order? One symbol and timeframe at a time; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError, StoreError
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market.bar_parts import (
    CANDLES,
    ONE_SIDED,
    by_month,
    entry_of,
    fingerprint,
    is_month,
    origin,
    readable_bars,
)
from fxgpt_core.market.candles import SCHEMA, Candles
from fxgpt_core.market.lake import Lake, Manifest, PartEntry
from fxgpt_core.market.losses import cure, mending
from fxgpt_core.market.sides import OTHER_SIDE, combine_sides
from fxgpt_core.market.two_sides import side_entries


@dataclass
class Checked:
    """What was found of one (symbol, timeframe), and where its bars lie in time: part -> opens in order of the file."""

    what: str
    rows: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    opens: dict[str, NDArray[np.datetime64]] = field(default_factory=dict)

    def wrong(self, part: str, text: str) -> None:
        """Say what is wrong with a part."""
        self.problems.append(f"{self.what} {part}: {text}")


def check_bars(lake: Lake, keys: dict[str, str]) -> Checked:
    """Check the bars of one symbol and timeframe against their manifest."""
    symbol, bar = keys["symbol"], timeframe(keys["timeframe"])
    checked = Checked(f"{symbol} {bar}")
    present = {part for part in lake.parts(CANDLES, keys) if is_month(part)}  # others are strays
    try:
        manifest = lake.read_manifest(CANDLES, keys)
    except StoreError as error:
        checked.wrong("manifest", str(error))
        return checked
    if manifest is None:
        checked.wrong(
            "manifest",
            f"has gone, but {len(present)} months are there. If they were derived from faster bars, `fxgpt "
            f"materialize` makes them again; if they were given, {cure(keys)}",
        )
        return checked
    writing = _being_written(manifest, checked)
    for part in sorted(present - set(manifest.parts) - writing):
        advice = "Remove it." if origin(manifest) == "derived" else cure(keys)
        checked.wrong(part, f"in the lake but not in its manifest. {advice}")
    for part in sorted(set(manifest.parts) - present - writing):
        checked.wrong(part, f"in the manifest but not in the lake. {_advice(keys, manifest, part)}")
    side = str(manifest.extra.get("side", "mid"))
    for part in sorted(present & {*manifest.parts, *writing}):
        entry = None if part in writing else manifest.parts[part]
        _check_part(lake, CANDLES, keys, part, side, entry, _advice(keys, manifest, part), checked)
    if manifest.extra.get("combined"):
        _check_combined(lake, keys, manifest, writing, checked)
    if "writing" not in manifest.extra and manifest.fingerprint != fingerprint(symbol, bar, side, manifest.parts):
        last = max(manifest.parts, default="")
        checked.wrong("manifest", f"its fingerprint is not that of its months. {_advice(keys, manifest, last)}")
    _check_overlaps(checked)
    return checked


def check_side(lake: Lake, keys: dict[str, str]) -> Checked:
    """Check the bars of one price side; what they were when they were stored stands in the manifest of their symbol
    and timeframe."""
    checked = Checked(f"{keys['symbol']} {keys['timeframe']} {keys['side']}")
    whole, entries, writing = {name: keys[name] for name in ("symbol", "timeframe")}, {}, set()
    try:
        manifest = lake.read_manifest(CANDLES, whole)
    except StoreError:  # is said of the bars themselves
        manifest = None
    if manifest is not None and manifest.extra.get("combined"):
        entries, writing = side_entries(manifest, keys["side"]), _months_written(manifest)
    present = [part for part in lake.parts(ONE_SIDED, keys) if is_month(part)]
    for part in sorted({*present, *entries}):
        entry = None if part in writing else entries.get(part)
        advice = cure(whole) if manifest is None else mending(whole, manifest, part, keys["side"])
        if part in present:
            _check_part(lake, ONE_SIDED, keys, part, keys["side"], entry, advice, checked)
        elif entry is not None:
            checked.wrong(part, f"in the manifest but not in the lake. {advice}")
    _check_overlaps(checked)
    return checked


def _months_written(manifest: Manifest) -> set[str]:
    """Return the months that may differ from their entries."""
    writing: dict[str, Any] = manifest.extra.get("writing") or {}
    return {*writing.get("months", ()), *writing.get("discard", ())}


def _being_written(manifest: Manifest, checked: Checked) -> set[str]:
    """Return the months that may differ from their entries, and note whose writing did not end."""
    months = _months_written(manifest)
    if manifest.extra.get("writing"):
        what = "a derivation" if origin(manifest) == "derived" else "an import"
        again = "materialise the candles" if origin(manifest) == "derived" else "import it"
        name = manifest.extra["writing"].get("name", "a file")
        checked.notes.append(
            f"{checked.what}: {what} of {name} ({len(months)} months) runs or was interrupted; "
            f"if nothing runs, {again} again."
        )
    return months


def _check_combined(
    lake: Lake, keys: Mapping[str, str], manifest: Manifest, writing: set[str], checked: Checked
) -> None:
    """Check that mid bars are what their two sides make, in the months where nothing else is wrong with them."""
    entries = {side: side_entries(manifest, side) for side in OTHER_SIDE}
    for part in sorted({*checked.opens} & {*manifest.parts} - writing):
        sides = {
            side: readable_bars(lake, ONE_SIDED, {**keys, "side": side}, part, side) or _none(keys, side)
            for side in OTHER_SIDE
        }
        if any(part in entries[side] and entry_of(bars) != entries[side][part] for side, bars in sides.items()):
            continue  # is said of that side
        if entry_of(combine_sides(sides["bid"], sides["ask"])) != manifest.parts[part]:
            checked.wrong(part, f"is not what its bid and ask bars make. {_advice(keys, manifest, part)}")


def _none(keys: Mapping[str, str], side: str) -> Candles:
    return Candles.from_arrow(SCHEMA.empty_table(), keys["symbol"], keys["timeframe"], side)


def _advice(keys: Mapping[str, str], manifest: Manifest, part: str) -> str:
    """Return what makes a month whole again."""
    if origin(manifest) == "derived":
        month = part.removeprefix("month=")
        return f"`fxgpt materialize --symbol {keys['symbol']} --months {month}` makes it again."
    if manifest.extra.get("combined") or not part:
        return cure(keys)
    return mending(keys, manifest, part, str(manifest.extra["side"]))


def _check_part(
    lake: Lake,
    dataset: str,
    keys: Mapping[str, str],
    part: str,
    side: str,
    entry: PartEntry | None,
    advice: str,
    checked: Checked,
) -> None:
    """Check a month's bars against its name and, where there is one, its manifest entry."""
    try:
        table = lake.read(dataset, keys, [part])
        faults = list(_faults(table))
        for text in faults:
            checked.wrong(part, f"{text}. {advice}")
        if faults:
            return
        bars = Candles.from_arrow(table, keys["symbol"], keys["timeframe"], side)
    except (DataError, StoreError) as error:
        checked.wrong(part, f"{error} {advice}")
        return
    checked.rows += len(bars)
    checked.opens[part] = bars.ts_utc
    strangers = sorted(set(by_month(bars)) - {part})
    if strangers:
        checked.wrong(part, f"holds bars of {', '.join(strangers)}. {advice}")
    if entry is not None and (len(bars), entry_of(bars).checksum) != (entry.rows, entry.checksum):
        checked.wrong(part, f"content differs from its manifest. {advice}")


def _faults(table: pa.Table) -> Iterator[str]:
    """Yield what is wrong with schema, order and times."""
    if table.schema.names != SCHEMA.names or table.schema.types != SCHEMA.types:
        differing = [f"{item.name}: {item.type}" for item in table.schema if item not in SCHEMA] or table.schema.names
        yield f"its columns are not those of bars ({', '.join(differing)})"
    if "ts_utc" not in table.schema.names:
        return
    steps = np.diff(table["ts_utc"].to_numpy(zero_copy_only=False).astype("datetime64[ns]")).astype(np.int64)
    if (steps < 0).any():
        yield f"{int((steps < 0).sum())} bars are out of order"
    if (steps == 0).any():
        yield f"{int((steps == 0).sum())} bars are there twice"


def _check_overlaps(checked: Checked) -> None:
    """Say which months hold a bar that another month holds too."""
    parts = sorted(checked.opens)
    for before, after in pairwise(parts):
        both = np.intersect1d(checked.opens[before], checked.opens[after])
        if len(both):
            checked.wrong(after, f"holds {len(both)} bars that {before} holds too, {both[0]} the first.")
