"""`check_lake`: are the stored bars what their manifests say, and in order? Reads everything, changes nothing."""

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
from fxgpt_core.market.bars import CANDLES, ONE_SIDED, by_month, checksum, fingerprint, origin
from fxgpt_core.market.candles import SCHEMA, Candles
from fxgpt_core.market.lake import Lake, Manifest, PartEntry
from fxgpt_core.store.storage import is_leftover

_AGAIN = "import or materialise again"


@dataclass
class LakeReport:
    """`bars`: symbol -> timeframe -> rows counted; `problems`: a sentence per thing that is wrong; `notes`: a sentence
    per thing that a killed writer left and that harms nothing."""

    bars: dict[str, dict[str, int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Checked:
    """What was found of one (symbol, timeframe), and where its bars lie in time: part -> opens in order of the file."""

    what: str
    rows: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    opens: dict[str, NDArray[np.datetime64]] = field(default_factory=dict)

    def wrong(self, part: str, text: str) -> None:
        self.problems.append(f"{self.what} {part}: {text}")


def check_lake(lake: Lake, symbol: str | None = None) -> LakeReport:
    """Check the bars of one symbol (default all): schema, order, duplicates, prices, months, manifests, leftovers.

    Raises DataError when the lake holds no bars to check.
    """
    found = {*map(_hashable, lake.keys(CANDLES)), *map(_hashable, lake.keys_of_parts(CANDLES))}
    sides = [keys for keys in lake.keys_of_parts(ONE_SIDED) if symbol in (None, keys["symbol"])]
    candles = [dict(keys) for keys in sorted(found) if symbol in (None, dict(keys)["symbol"])]
    if not candles and not sides:
        raise DataError(f"The lake {lake.root} holds no bars{f' of {symbol}' if symbol else ''}: import a file first.")
    report = LakeReport()
    for keys in sorted(candles, key=lambda keys: (keys["symbol"], timeframe(keys["timeframe"]))):
        checked = _check_manifested(lake, keys)
        report.bars.setdefault(keys["symbol"], {})[keys["timeframe"]] = checked.rows
        _add(report, checked)
    for keys in sides:
        _add(report, _check_side(lake, keys))
    leftovers = [name for name in lake.storage.names("") if is_leftover(name)]
    if leftovers:
        report.notes.append(
            f"{len(leftovers)} temporary files of writers that run or were killed, {leftovers[0]} the first: "
            "`fxgpt lake compact` removes those of the killed."
        )
    return report


def _add(report: LakeReport, checked: _Checked) -> None:
    _check_overlaps(checked)
    report.problems += checked.problems
    report.notes += checked.notes


def _hashable(keys: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(keys.items())


def _check_manifested(lake: Lake, keys: dict[str, str]) -> _Checked:
    """Check the bars of one symbol and timeframe against their manifest."""
    symbol, bar = keys["symbol"], timeframe(keys["timeframe"])
    checked = _Checked(f"{symbol} {bar}")
    present = set(lake.parts(CANDLES, keys))
    try:
        manifest = lake.read_manifest(CANDLES, keys)
    except StoreError as error:
        checked.wrong("manifest", str(error))
        return checked
    if manifest is None:
        checked.wrong("manifest", f"has gone, but {len(present)} months are there; {_AGAIN}.")
        return checked
    writing = _being_written(manifest, checked)
    for part in sorted(present - set(manifest.parts) - writing):
        checked.wrong(part, f"in the lake but not in its manifest; {_AGAIN}.")
    for part in sorted(set(manifest.parts) - present - writing):
        checked.wrong(part, f"in the manifest but not in the lake; {_AGAIN}.")
    side = str(manifest.extra.get("side", "mid"))
    for part in sorted(present & {*manifest.parts, *writing}):
        bars = _read_part(lake, CANDLES, keys, part, side, checked)
        if bars is not None:
            _check_part(bars, part, None if part in writing else manifest.parts[part], checked)
    if "writing" not in manifest.extra and manifest.fingerprint != fingerprint(symbol, bar, side, manifest.parts):
        checked.wrong("manifest", f"its fingerprint is not that of its months; {_AGAIN}.")
    return checked


def _being_written(manifest: Manifest, checked: _Checked) -> set[str]:
    """Return the months that may differ from their entries, and note whose writing did not end."""
    writing: dict[str, Any] = manifest.extra.get("writing") or {}
    months = {*writing.get("months", ()), *writing.get("discard", ())}
    if writing:
        what = "a derivation" if origin(manifest) == "derived" else "an import"
        again = "materialise the candles" if origin(manifest) == "derived" else "import it"
        name = writing.get("name", "a file")
        checked.notes.append(
            f"{checked.what}: {what} of {name} ({len(months)} months) runs or was interrupted; "
            f"if nothing runs, {again} again."
        )
    return months


def _check_side(lake: Lake, keys: dict[str, str]) -> _Checked:
    """Check the bars of one price side, which has no manifest of its own."""
    checked = _Checked(f"{keys['symbol']} {keys['timeframe']} {keys['side']}")
    for part in lake.parts(ONE_SIDED, keys):
        bars = _read_part(lake, ONE_SIDED, keys, part, keys["side"], checked)
        if bars is not None:
            _check_part(bars, part, None, checked)
    return checked


def _read_part(
    lake: Lake, dataset: str, keys: Mapping[str, str], part: str, side: str, checked: _Checked
) -> Candles | None:
    """Return a part's bars, None where they are not bars; says what is wrong with them."""
    try:
        table = lake.read(dataset, keys, [part])
        faults = list(_faults(table))
        for text in faults:
            checked.wrong(part, f"{text}; {_AGAIN}.")
        return None if faults else Candles.from_arrow(table, keys["symbol"], keys["timeframe"], side)
    except (DataError, StoreError) as error:
        checked.wrong(part, str(error))
        return None


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


def _check_part(bars: Candles, part: str, entry: PartEntry | None, checked: _Checked) -> None:
    """Check a month's bars against its name and, where there is one, its manifest entry."""
    checked.rows += len(bars)
    checked.opens[part] = bars.ts_utc
    strangers = sorted(set(by_month(bars)) - {part})
    if strangers:
        checked.wrong(part, f"holds bars of {', '.join(strangers)}; {_AGAIN}.")
    if entry is not None and (len(bars) != entry.rows or checksum(bars) != entry.checksum):
        checked.wrong(part, f"content differs from its manifest; {_AGAIN}.")


def _check_overlaps(checked: _Checked) -> None:
    """Say which months hold a bar that another month holds too."""
    parts = sorted(checked.opens)
    for before, after in pairwise(parts):
        both = np.intersect1d(checked.opens[before], checked.opens[after])
        if len(both):
            checked.wrong(after, f"holds {len(both)} bars that {before} holds too, {both[0]} the first; {_AGAIN}.")
