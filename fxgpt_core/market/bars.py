"""Given bars in the lake: how they enter it, month by month, and stay whole whatever interrupts them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market.candles import SCHEMA, Candles
from fxgpt_core.market.lake import Lake, Manifest, PartEntry
from fxgpt_core.market.quality.assessment import Assessment
from fxgpt_core.market.quarantine import store_quarantine
from fxgpt_core.market.sides import OTHER_SIDE, combine_sides

CANDLES, ONE_SIDED, SUPERSEDED = "candles", "candles_by_side", "candles_superseded"
GIVEN_DEFINITION = stable_hash({"bars": "given", "version": 1})
SAMPLE_LAYOUT = "sample"


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
    return stable_hash([symbol, bar.code, side, {name: entry.checksum for name, entry in sorted(parts.items())}])


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


def origin(manifest: Manifest) -> Literal["given", "derived"]:
    """Return whether bars were given (file, sample, provider) or derived from faster ones."""
    return "derived" if manifest.extra.get("origin") == "derived" else "given"


def store_given(lake: Lake, candles: Candles, judged: Assessment, source: Source) -> int:
    """Merge given bars into the lake with their quarantine and manifest; returns rows added or changed.

    Everything that can be refused is refused before the first write, and the manifest names the months that are being
    written, so that a killed import leaves bars that `settled` makes whole. Bid bars that meet ask bars of the same
    timeframe become mid bars with spreads; both sides stay in `candles_by_side`. The shipped sample makes room for
    bars of a person's own that overlap it. Raises BadInputError when the lake holds another price side that cannot be
    combined, or bars of this timeframe that were derived from faster ones.
    """
    keys = bar_keys(candles.symbol, candles.timeframe)
    with lake.lock(CANDLES, keys):
        manifest = settled(lake, candles.symbol, candles.timeframe)
        if manifest is not None and _displaces_sample(manifest, candles, source):
            manifest = _set_sample_aside(lake, keys, manifest, candles.side)
        combining = manifest is not None and _combines(manifest, candles)
        store_quarantine(lake, candles.symbol, candles.timeframe, judged.quarantine, source.name, source.checksum)
        manifest = _with_file(manifest or _empty(candles.side), candles, judged, source)
        if combining:
            return _store_side(lake, manifest, candles, source)
        months = by_month(candles)
        lake.write_manifest(CANDLES, keys, _writing(manifest, source.name, months))
        changed = sum(lake.upsert(CANDLES, keys, part, bars.to_arrow()) for part, bars in months.items())
        _finish(lake, candles.symbol, candles.timeframe, manifest, list(months))
    return changed


def settled(lake: Lake, symbol: str, bar: Timeframe) -> Manifest | None:
    """Return the manifest of given bars after finishing what an interrupted import left; None without one.

    The caller holds the lake's lock of these bars. Rows that reached the lake stay; the file itself should be imported
    again for those that did not.
    """
    keys = bar_keys(symbol, bar)
    manifest = lake.read_manifest(CANDLES, keys)
    writing = manifest.extra.get("writing") if manifest is not None else None
    if manifest is None or writing is None:
        return manifest
    if "discard" in writing:
        lake.remove(CANDLES, keys, writing["discard"])
    if writing.get("combining"):
        return _recombine(lake, symbol, bar, manifest)
    return _finish(lake, symbol, bar, manifest, writing["months"])


def _finish(lake: Lake, symbol: str, bar: Timeframe, manifest: Manifest, months: list[str]) -> Manifest:
    """Write the manifest of what the lake now holds: `months` counted anew, the others as they were."""
    keys, side = bar_keys(symbol, bar), str(manifest.extra["side"])
    present, parts = set(lake.parts(CANDLES, keys)), dict(manifest.parts)
    for part in months:
        parts.pop(part, None)
        if part in present:
            stored = read_bars(lake, symbol, bar, side, [part])
            parts[part] = PartEntry(checksum(stored), len(stored))
    extra = {name: value for name, value in manifest.extra.items() if name != "writing"}
    done = replace(manifest, fingerprint=fingerprint(symbol, bar, side, parts), parts=parts, extra=extra)
    lake.write_manifest(CANDLES, keys, done)
    return done


def _empty(side: str) -> Manifest:
    return Manifest("", GIVEN_DEFINITION, extra={"origin": "given", "side": side, "files": {}})


def _with_file(manifest: Manifest, candles: Candles, judged: Assessment, source: Source) -> Manifest:
    """Return the manifest with one more file; `order` says which of several files that cover a bar speaks last."""
    files = dict(manifest.extra["files"])
    known, others = files.get(source.checksum, {}), [files[check] for check in files if check != source.checksum]
    spans = [(str(candles.ts_utc[0]), str(candles.ts_utc[-1]))] if len(candles) else []
    spans += [(known["first"], known["last"])] if known.get("first") else []
    counts = {
        "rows": judged.report.rows,
        "quarantined": judged.report.quarantined,
        "unsorted": {m: count["unsorted"] for m, count in judged.report.months.items() if count["unsorted"]},
    }
    if known.get("last") and (not len(candles) or str(candles.ts_utc[0]) > known["last"]):
        counts = _added(known, counts)  # the next piece of a source that comes piece by piece: a provider's month
    elif counts["rows"] < known.get("rows", 0):
        counts = {name: known[name] for name in counts}  # a piece that came before
    facts = {
        "name": source.name,
        **counts,
        "first": min((first for first, _ in spans), default=None),
        "last": max((last for _, last in spans), default=None),
        "order": 1 + max((int(other["order"]) for other in others), default=0),
    }
    files[source.checksum] = {**source.facts, **facts}
    names = {check: file["name"] for check, file in files.items()}
    return replace(manifest, inputs=names, extra={**manifest.extra, "files": files})


def _added(known: Mapping[str, Any], counts: Mapping[str, Any]) -> dict[str, Any]:
    both = {name: Counter(known[name]) + Counter(counts[name]) for name in ("quarantined", "unsorted")}
    return {
        "rows": known["rows"] + counts["rows"],
        **{name: dict(sorted(count.items())) for name, count in both.items()},
    }


def _writing(manifest: Manifest, name: str, months: Mapping[str, Any], **more: Any) -> Manifest:
    return replace(manifest, extra={**manifest.extra, "writing": {"name": name, "months": sorted(months), **more}})


def _displaces_sample(manifest: Manifest, candles: Candles, source: Source) -> bool:
    """Tell whether the lake holds nothing but the sample and these bars overlap it."""
    files = manifest.extra.get("files", {}).values()
    if source.facts.get("layout") == SAMPLE_LAYOUT or not files or not len(candles):
        return False
    if any(known.get("layout") != SAMPLE_LAYOUT for known in files):
        return False
    return bool(candles.ts_utc[0] <= max(np.datetime64(known["last"]) for known in files))


def _set_sample_aside(lake: Lake, keys: Mapping[str, str], manifest: Manifest, side: str) -> Manifest:
    """Move the sample out of the way of bars of a person's own and return an empty manifest."""
    supersede(lake, keys, manifest)
    empty = _empty(side)
    lake.write_manifest(CANDLES, keys, _writing(empty, "the sample", {}, discard=list(manifest.parts)))
    lake.remove(CANDLES, keys, list(manifest.parts))
    return empty


def supersede(lake: Lake, keys: Mapping[str, str], manifest: Manifest) -> None:
    """Copy given bars aside before others take their place; nothing given is ever deleted."""
    for part in lake.parts(CANDLES, keys):
        lake.write(SUPERSEDED, keys, part, lake.read(CANDLES, keys, [part]))
    lake.write_manifest(SUPERSEDED, keys, manifest)


def _combines(manifest: Manifest, candles: Candles) -> bool:
    """Tell whether the bars meet their other side; raises BadInputError where bars may not be mixed."""
    what, held = f"{candles.symbol} {candles.timeframe}", str(manifest.extra.get("side"))
    if origin(manifest) == "derived":
        raise BadInputError(
            f"The lake derives {what} from {manifest.extra['feed']} bars: import {manifest.extra['feed']} bars instead."
        )
    if manifest.extra.get("combined"):
        if candles.side in OTHER_SIDE:
            return True
        raise BadInputError(f"The lake combines bid and ask bars of {what}: import those, not {candles.side} bars.")
    if candles.side == held:
        return False
    if OTHER_SIDE.get(held) == candles.side:
        return True
    raise BadInputError(
        f"The lake holds {held} bars of {what}, and these are {candles.side}: one asset has one price side; if they "
        f"are {held} bars say --side {held}."
    )


def _store_side(lake: Lake, manifest: Manifest, candles: Candles, source: Source) -> int:
    """Merge bars of one side into `candles_by_side` and make the mid bars of the months that changed."""
    symbol, bar = candles.symbol, candles.timeframe
    keys, months = bar_keys(symbol, bar), by_month(candles)
    if not manifest.extra.get("combined"):  # the first meeting: the bars so far move over to their side
        held = {**keys, "side": str(manifest.extra["side"])}
        for part in manifest.parts:
            lake.upsert(ONE_SIDED, held, part, lake.read(CANDLES, keys, [part]))
        stale = sorted({*manifest.parts, *months})
    else:
        stale = sorted(months)
    changed = sum(
        lake.upsert(ONE_SIDED, {**keys, "side": candles.side}, part, bars.to_arrow()) for part, bars in months.items()
    )
    # From here the mid bars can be made again from the sides, so readers see none of the stale months until they are.
    kept = {part: entry for part, entry in manifest.parts.items() if part not in stale}
    extra = {**manifest.extra, "side": "mid", "combined": True}
    manifest = _writing(replace(manifest, parts=kept, extra=extra), source.name, dict.fromkeys(stale), combining=True)
    lake.write_manifest(CANDLES, keys, manifest)
    _recombine(lake, symbol, bar, manifest)
    return changed


def _recombine(lake: Lake, symbol: str, bar: Timeframe, manifest: Manifest) -> Manifest:
    """Make the mid bars of the months that the manifest says are being written."""
    keys, months = bar_keys(symbol, bar), list(manifest.extra["writing"]["months"])
    one_sided = dict(manifest.extra.get("one_sided", {}))
    for part in months:
        sides = {side: _side(lake, keys, part, symbol, bar, side) for side in OTHER_SIDE}
        mid = combine_sides(sides["bid"], sides["ask"])
        lonely = {side: len(bars) - len(mid) for side, bars in sides.items() if len(bars) > len(mid)}
        one_sided = {name: count for name, count in one_sided.items() if name != part} | (
            {part: lonely} if lonely else {}
        )
        if len(mid):
            lake.write(CANDLES, keys, part, mid.to_arrow())
        else:
            lake.remove(CANDLES, keys, [part])
    done = replace(manifest, extra={**manifest.extra, "one_sided": one_sided})
    return _finish(lake, symbol, bar, done, months)


def _side(lake: Lake, keys: Mapping[str, str], part: str, symbol: str, bar: Timeframe, side: str) -> Candles:
    of_side = {**keys, "side": side}
    present = part in lake.parts(ONE_SIDED, of_side)
    table = lake.read(ONE_SIDED, of_side, [part]) if present else SCHEMA.empty_table()
    return Candles.from_arrow(table, symbol, bar, side)
