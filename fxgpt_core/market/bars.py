"""Bars in the lake: month parts of `candles`, their checksums and manifests, and the rows that were quarantined."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.lake import Lake, Manifest, PartEntry
from fxgpt_core.market.quality import Assessment

CANDLES, QUARANTINE = "candles", "quarantine"
GIVEN_DEFINITION = stable_hash({"bars": "given", "version": 1})
_TEXT = ("stamp", "open", "high", "low", "close", "volume", "spread")


@dataclass(frozen=True)
class Source:
    """Where given bars come from: a name for people, the checksum of the file, and facts for the manifest."""

    name: str
    checksum: str
    facts: Mapping[str, Any]


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


def fingerprint(symbol: str, bar: Timeframe, side: str, parts: Mapping[str, PartEntry]) -> str:
    """Return the hash of all months together."""
    return stable_hash([symbol, bar.code, side, {name: entry.checksum for name, entry in parts.items()}])


def by_month(candles: Candles) -> dict[str, Candles]:
    """Cut bars into the lake's parts: the month of `known_at` -> its bars."""
    months, starts = np.unique(candles.known_at.astype("datetime64[M]"), return_index=True)
    ends = [*starts, len(candles)][1:]
    return {
        f"month={month}": candles.take(slice(int(start), int(end)))
        for month, start, end in zip(months, starts, ends, strict=True)
    }


def read_bars(lake: Lake, symbol: str, bar: Timeframe, side: str, parts: list[str] | None = None) -> Candles:
    """Return stored bars of the named months (default all)."""
    return Candles.from_arrow(lake.read(CANDLES, bar_keys(symbol, bar), parts), symbol, bar, side)


def store_given(lake: Lake, candles: Candles, judged: Assessment, source: Source) -> int:
    """Merge given bars into the lake with their quarantine and manifest; returns rows added or changed.

    Everything that can be refused is refused before the first write. Raises BadInputError when the lake holds another
    price side of these bars, or bars of this timeframe that were derived from faster ones.
    """
    keys = bar_keys(candles.symbol, candles.timeframe)
    with lake.lock(CANDLES, keys):
        manifest = lake.read_manifest(CANDLES, keys)
        if manifest is not None:
            _refuse_mixture(manifest, candles)
        _store_quarantine(lake, candles, judged.quarantine, source)
        parts = dict(manifest.parts) if manifest else {}
        changed = 0
        for part, bars in by_month(candles).items():
            changed += lake.upsert(CANDLES, keys, part, bars.to_arrow())
            stored = read_bars(lake, candles.symbol, candles.timeframe, candles.side, [part])
            parts[part] = PartEntry(checksum(stored), len(stored))
        files = dict(manifest.extra["files"]) if manifest else {}
        files[source.checksum] = {
            "name": source.name,
            "rows": judged.report.rows,
            "quarantined": judged.report.quarantined,
            **source.facts,
        }
        lake.write_manifest(
            CANDLES,
            keys,
            Manifest(
                fingerprint=fingerprint(candles.symbol, candles.timeframe, candles.side, parts),
                definition=GIVEN_DEFINITION,
                inputs={check: facts["name"] for check, facts in files.items()},
                parts=parts,
                extra={"origin": "given", "side": candles.side, "files": files},
            ),
        )
    return changed


def origin(manifest: Manifest) -> Literal["given", "derived"]:
    """Return whether bars were given (file, sample) or derived from faster ones."""
    return "derived" if manifest.extra.get("origin") == "derived" else "given"


def _refuse_mixture(manifest: Manifest, candles: Candles) -> None:
    what = f"{candles.symbol} {candles.timeframe}"
    if origin(manifest) == "derived":
        raise BadInputError(
            f"The lake derives {what} from {manifest.extra['feed']} bars: import {manifest.extra['feed']} bars instead."
        )
    if manifest.extra["side"] != candles.side:
        raise BadInputError(
            f"The lake holds {manifest.extra['side']} bars of {what}, and these are {candles.side}: one asset has one "
            f"price side; if they are {manifest.extra['side']} bars say --side {manifest.extra['side']}."
        )


def _store_quarantine(lake: Lake, candles: Candles, rows: pd.DataFrame, source: Source) -> None:
    """Write the quarantined rows of one file as they came, one part per file: importing it again changes nothing."""
    if rows.empty:
        return
    text = {name: rows[name].astype(str) if name in rows.columns else pd.Series(None, rows.index) for name in _TEXT}
    table = pa.table(
        {
            "row": pa.array(rows["row"].to_numpy(), pa.int64()),
            "ts_utc": pa.array(rows["ts_utc"].dt.tz_convert("UTC"), pa.timestamp("us", tz="UTC")),
            **{name: pa.array(column, pa.string(), from_pandas=True) for name, column in text.items()},
            "reason": pa.array(rows["reason"], pa.string()),
            "bar": pa.array([candles.timeframe.code] * len(rows)),
            "source": pa.array([source.name] * len(rows)),
        }
    )
    lake.write(QUARANTINE, {"symbol": candles.symbol}, f"file={source.checksum}", table)
