"""Given bars in the lake: how they enter it, month by month, and stay whole whatever interrupts them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market.bar_parts import (
    CANDLES,
    ONE_SIDED,
    SUPERSEDED,
    bar_keys,
    being_written,
    by_month,
    checksum,
    empty_manifest,
    fingerprint,
    finish,
    origin,
    read_bars,
    supersede,
)
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.given_files import Source, spoken_for, with_file
from fxgpt_core.market.lake import Lake, Manifest
from fxgpt_core.market.losses import check_unknown, check_writing
from fxgpt_core.market.quality.assessment import Assessment
from fxgpt_core.market.quarantine import store_quarantine
from fxgpt_core.market.sides import OTHER_SIDE
from fxgpt_core.market.two_sides import recombine, store_side

__all__ = [
    "CANDLES",
    "ONE_SIDED",
    "SAMPLE_LAYOUT",
    "SUPERSEDED",
    "Source",
    "bar_keys",
    "by_month",
    "checksum",
    "fingerprint",
    "origin",
    "read_bars",
    "settled",
    "store_given",
    "supersede",
]

SAMPLE_LAYOUT = "sample"


def store_given(lake: Lake, candles: Candles, judged: Assessment, source: Source) -> int:
    """Merge given bars into the lake with their quarantine and manifest; returns rows added or changed.

    Everything that can be refused is refused before the first write, and the manifest names the months that are being
    written, so that a killed import leaves bars that `settled` makes whole. Bid bars that meet ask bars of the same
    timeframe become mid bars with spreads; both sides stay in `candles_by_side`. The shipped sample makes room for
    bars of a person's own that overlap it. A file that comes again replaces nothing that a later one brought.

    Raises BadInputError when the lake holds another price side that cannot be combined, or bars of this timeframe that
    were derived from faster ones; DataError when months in the lake are not what their manifest says, or have none, and
    these bars do not hold all of them.
    """
    keys = bar_keys(candles.symbol, candles.timeframe)
    with lake.lock(CANDLES, keys):
        manifest = settled(lake, candles.symbol, candles.timeframe)
        if manifest is None:
            check_unknown(lake, candles)
        elif _displaces_sample(manifest, candles, source):
            manifest = _set_sample_aside(lake, keys, manifest, candles.side)
        if manifest is not None and _combines(manifest, candles):
            return store_side(lake, manifest, candles, judged, source)
        manifest = manifest or empty_manifest(candles.side)
        later = spoken_for(manifest, candles, source)
        checked = check_writing(lake, CANDLES, keys, manifest, manifest.parts, candles, later)
        store_quarantine(lake, candles.symbol, candles.timeframe, judged.quarantine, source.name, source.checksum)
        manifest = with_file(manifest, candles, judged, source)
        changed = checked.replace(lake, CANDLES, keys)
        lake.write_manifest(CANDLES, keys, being_written(manifest, source.name, checked.months))
        changed += checked.merge(lake, CANDLES, keys)
        finish(lake, candles.symbol, candles.timeframe, manifest, checked.months)
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
        return recombine(lake, symbol, bar, manifest)
    return finish(lake, symbol, bar, manifest, writing["months"])


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
    empty = empty_manifest(side)
    lake.write_manifest(CANDLES, keys, being_written(empty, "the sample", (), discard=list(manifest.parts)))
    lake.remove(CANDLES, keys, list(manifest.parts))
    return empty


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
