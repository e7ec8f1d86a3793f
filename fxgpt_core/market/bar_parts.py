"""Bars as parts of the lake: their datasets and keys, the month of a bar, checksums, manifests while months change."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market.candles import SCHEMA, Candles
from fxgpt_core.market.lake import Lake, Manifest, PartEntry

CANDLES, ONE_SIDED, SUPERSEDED = "candles", "candles_by_side", "candles_superseded"
_MONTH = re.compile(r"month=\d{4}-(0[1-9]|1[0-2])")
GIVEN_DEFINITION = stable_hash({"bars": "given", "version": 1})


def bar_keys(symbol: str, bar: Timeframe) -> dict[str, str]:
    """Return the lake keys of one symbol and timeframe."""
    return {"symbol": symbol, "timeframe": bar.code}


def checksum(candles: Candles) -> str:
    """Return a hash of the bars' content, the same whoever wrote the file and however it is compressed."""
    digest = hashlib.sha256(candles.ts_utc.astype(np.int64).tobytes())
    for name in ("open", "high", "low", "close", "volume", "spread"):
        values = np.ascontiguousarray(getattr(candles, name), dtype=np.float64)
        digest.update(np.where(np.isnan(values), np.nan, values + 0.0).tobytes())
    return digest.hexdigest()[:16]


def entry_of(candles: Candles) -> PartEntry:
    """Return what a manifest says of a month of given bars."""
    return PartEntry(checksum(candles), len(candles))


def fingerprint(symbol: str, bar: Timeframe, side: str, parts: Mapping[str, PartEntry]) -> str:
    """Return the hash of all months together."""
    return stable_hash([symbol, bar.code, side, {name: entry.checksum for name, entry in sorted(parts.items())}])


def by_month(candles: Candles) -> dict[str, Candles]:
    """Cut bars into the lake's parts: the month of `known_at` -> its bars."""
    months, starts = np.unique(candles.known_at.astype("datetime64[M]"), return_index=True)
    ends = [*starts, len(candles)][1:]
    return {
        f"month={month}": candles.take(slice(int(start), int(end)))
        for month, start, end in zip(months, starts, ends, strict=True)
    }


def is_month(part: str) -> bool:
    """Tell whether a part is a month of bars: `month=2024-03`."""
    return _MONTH.fullmatch(part) is not None


def read_bars(lake: Lake, symbol: str, bar: Timeframe, side: str, parts: list[str] | None = None) -> Candles:
    """Return stored bars of the named months (default all)."""
    return Candles.from_arrow(lake.read(CANDLES, bar_keys(symbol, bar), parts), symbol, bar, side)


def readable_bars(lake: Lake, dataset: str, keys: Mapping[str, str], part: str, side: str) -> Candles | None:
    """Return a month's bars of any dataset of bars, None where there are none or they cannot be read as bars."""
    table = lake.readable(dataset, keys, part)
    if table is None or table.schema.names != SCHEMA.names or table.schema.types != SCHEMA.types:
        return None
    try:
        return Candles.from_arrow(table, keys["symbol"], keys["timeframe"], side)
    except DataError:  # bars that contradict themselves or are out of order
        return None


def origin(manifest: Manifest) -> Literal["given", "derived"]:
    """Return whether bars were given (file, sample, provider) or derived from faster ones."""
    return "derived" if manifest.extra.get("origin") == "derived" else "given"


def empty_manifest(side: str) -> Manifest:
    """Return the manifest of given bars of a side before there are any."""
    return Manifest("", GIVEN_DEFINITION, extra={"origin": "given", "side": side, "files": {}})


def being_written(manifest: Manifest, name: str, months: Iterable[str], **more: Any) -> Manifest:
    """Return the manifest that says which months are being written and from what, so that a kill is seen by it."""
    return replace(manifest, extra={**manifest.extra, "writing": {"name": name, "months": sorted(months), **more}})


def finish(lake: Lake, symbol: str, bar: Timeframe, manifest: Manifest, months: Iterable[str]) -> Manifest:
    """Write the manifest of what the lake now holds: `months` counted anew, the others as they were."""
    keys, side = bar_keys(symbol, bar), str(manifest.extra["side"])
    present, parts = set(lake.parts(CANDLES, keys)), dict(manifest.parts)
    for part in months:
        parts.pop(part, None)
        if part in present:
            parts[part] = entry_of(read_bars(lake, symbol, bar, side, [part]))
    extra = {name: value for name, value in manifest.extra.items() if name != "writing"}
    done = replace(manifest, fingerprint=fingerprint(symbol, bar, side, parts), parts=parts, extra=extra)
    lake.write_manifest(CANDLES, keys, done)
    return done


def supersede(lake: Lake, keys: Mapping[str, str], manifest: Manifest) -> None:
    """Copy given bars aside before others take their place; nothing given is ever deleted."""
    for part in lake.parts(CANDLES, keys):
        lake.write(SUPERSEDED, keys, part, lake.read(CANDLES, keys, [part]))
    lake.write_manifest(SUPERSEDED, keys, manifest)
