"""The files that given bars came from: what each brought, which of several speaks for a moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market.bar_parts import checksum
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.lake import Manifest
from fxgpt_core.market.quality.assessment import Assessment
from fxgpt_core.market.quarantine import same_side


@dataclass(frozen=True)
class Source:
    """Where given bars come from: a name for people, the checksum of the file, and facts for the manifest."""

    name: str
    checksum: str
    facts: Mapping[str, Any]


def with_file(manifest: Manifest, candles: Candles, judged: Assessment, source: Source) -> Manifest:
    """Return the manifest with one more file; `order` says which of several files that cover a bar speaks last.

    A file that comes again with the same bars keeps its place among the others.
    """
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
    bars = checksum(candles)
    facts = {
        "name": source.name,
        "price_side": candles.side,
        "bars": bars,
        **counts,
        "first": min((first for first, _ in spans), default=None),
        "last": max((last for _, last in spans), default=None),
        "order": 1 + max((int(other["order"]) for other in others), default=0),
    }
    if known.get("bars") == bars:
        facts["order"] = known["order"]
    files[source.checksum] = {**source.facts, **facts}
    names = {check: file["name"] for check, file in files.items()}
    return replace(manifest, inputs=names, extra={**manifest.extra, "files": files})


def spoken_for(manifest: Manifest, candles: Candles, source: Source) -> NDArray[np.bool_]:
    """Return which bars of a file that comes again lie in the span of a later file of their price side: (bars,)."""
    files = manifest.extra["files"]
    known, out = files.get(source.checksum, {}), np.zeros(len(candles), dtype=bool)
    if not len(candles) or "bars" not in known or known["bars"] != checksum(candles):
        return out
    for other in files.values():
        if other["order"] > known["order"] and other["first"] and same_side(known, other):
            first, last = np.datetime64(other["first"]), np.datetime64(other["last"])
            out |= (candles.ts_utc >= first) & (candles.ts_utc <= last)
    return out


def names_of(manifest: Manifest, part: str, bar: Timeframe, side: str | None = None) -> list[str]:
    """Return the names of the files (of one price side) whose span meets a month of bars, in the order of their
    import."""
    month = np.datetime64(part.removeprefix("month="), "M")
    start, end = (moment.astype("datetime64[ns]") - bar.duration for moment in (month, month + 1))  # of opens
    files = sorted(manifest.extra.get("files", {}).values(), key=lambda facts: int(facts.get("order", 0)))
    return [
        str(facts["name"])
        for facts in files
        if facts.get("first")
        and (side is None or facts.get("price_side", side) == side)
        and np.datetime64(facts["first"]) < end
        and np.datetime64(facts["last"]) >= start
    ]


def _added(known: Mapping[str, Any], counts: Mapping[str, Any]) -> dict[str, Any]:
    both = {name: Counter(known[name]) + Counter(counts[name]) for name in ("quarantined", "unsorted")}
    return {
        "rows": known["rows"] + counts["rows"],
        **{name: dict(sorted(count.items())) for name, count in both.items()},
    }
