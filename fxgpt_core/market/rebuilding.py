"""`rebuild`: the manifest of given bars made anew from the months that are there, when it was lost or they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fxgpt_core.common.errors import BadInputError, DataError, StoreError
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market.bar_parts import (
    CANDLES,
    ONE_SIDED,
    SUPERSEDED,
    bar_keys,
    being_written,
    by_month,
    empty_manifest,
    finish,
    is_month,
    origin,
    readable_bars,
)
from fxgpt_core.market.candles import SIDES
from fxgpt_core.market.lake import Lake, Manifest
from fxgpt_core.market.sides import OTHER_SIDE, combine_sides
from fxgpt_core.market.two_sides import recombine, side_bars


@dataclass(frozen=True)
class Rebuilt:
    """What `rebuild` made: the price side of the bars, months and rows held, and the parts that were removed because
    they cannot be read as bars."""

    side: str
    months: int
    rows: int
    removed: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON-able values."""
        return {"side": self.side, "months": self.months, "rows": self.rows, "removed": list(self.removed)}


def rebuild(lake: Lake, symbol: str, bar: Timeframe, side: str | None = None) -> Rebuilt:
    """Accept given bars as they are in the lake: months that cannot be read are removed, bars that lie in a wrong month
    are put into theirs, mid bars of bid and ask made again, and the manifest written anew.

    `side` says which price side bars are whose manifest has gone, where both sides are not there to tell. Raises
    DataError when there are no bars, BadInputError when the side is not known or contradicts what is, or when the bars
    are derived from others.
    """
    keys = bar_keys(symbol, bar)
    with lake.lock(CANDLES, keys):
        manifest = _manifest(lake, keys)
        if manifest is not None and origin(manifest) == "derived":
            raise BadInputError(
                f"{symbol} {bar} bars are derived from {manifest.extra['feed']} bars: make them again by "
                f"`fxgpt materialize --symbol {symbol} --months …`."
            )
        both = [bool(_months(lake, ONE_SIDED, {**keys, "side": one})) for one in OTHER_SIDE]
        if not _months(lake, CANDLES, keys) and not any(both):
            raise DataError(f"The lake {lake.root} holds no {bar} bars of {symbol}: import a file first.")
        combined = all(both) if manifest is None else bool(manifest.extra.get("combined"))
        side = _side(f"{symbol} {bar}", side, "mid" if combined else _told(manifest))
        manifest = manifest or empty_manifest(side)
        removed = _put_in_order(lake, CANDLES, keys, side)
        if combined:
            for one in OTHER_SIDE:
                removed += _put_in_order(lake, ONE_SIDED, {**keys, "side": one}, one)
            manifest = _combine_again(lake, symbol, bar, manifest)
        else:
            manifest = finish(lake, symbol, bar, manifest, {*_months(lake, CANDLES, keys), *manifest.parts})
    return Rebuilt(side, len(manifest.parts), manifest.rows, tuple(removed))


def _combine_again(lake: Lake, symbol: str, bar: Timeframe, manifest: Manifest) -> Manifest:
    """Make all mid bars from their sides; months that lose bars by it are copied aside first."""
    keys = bar_keys(symbol, bar)
    held = _months(lake, CANDLES, keys)
    for part in held:
        made = combine_sides(*(side_bars(lake, symbol, bar, one, part) for one in ("bid", "ask")))
        before = lake.read(CANDLES, keys, [part])
        if len(made) < len(before):
            lake.write(SUPERSEDED, keys, part, before)
    months = {*held, *manifest.parts}
    months |= {part for one in OTHER_SIDE for part in _months(lake, ONE_SIDED, {**keys, "side": one})}
    manifest = replace(manifest, parts={}, extra={**manifest.extra, "side": "mid", "combined": True})
    manifest = being_written(manifest, "bid and ask bars", months, combining=True)
    lake.write_manifest(CANDLES, keys, manifest)
    return recombine(lake, symbol, bar, manifest, losing=True)


def _manifest(lake: Lake, keys: Mapping[str, str]) -> Manifest | None:
    try:
        return lake.read_manifest(CANDLES, keys)
    except StoreError:
        return None


def _told(manifest: Manifest | None) -> str | None:
    return None if manifest is None else str(manifest.extra["side"])


def _side(what: str, given: str | None, known: str | None) -> str:
    if given is not None and given not in SIDES:
        raise BadInputError(f"Unknown price side {given!r}: use one of {', '.join(SIDES)}.")
    if known is None and given is None:
        raise BadInputError(f"Nothing tells the price side of the {what} bars: say --side bid, ask or mid.")
    if known is not None and given not in (None, known):
        raise BadInputError(f"The {what} bars are {known}, not {given}: leave --side out.")
    return known or str(given)


def _put_in_order(lake: Lake, dataset: str, keys: Mapping[str, str], side: str) -> list[str]:
    """Remove months that cannot be read and return their names; put bars into their own month where it lacks them."""
    bad = [part for part in _months(lake, dataset, keys) if readable_bars(lake, dataset, keys, part, side) is None]
    lake.remove(dataset, keys, bad)
    for part in _months(lake, dataset, keys):
        bars = readable_bars(lake, dataset, keys, part, side)
        months = by_month(bars) if bars is not None else {}
        own = months.pop(part, None)
        for other, strangers in months.items():
            known = readable_bars(lake, dataset, keys, other, side)
            lacking = strangers if known is None else strangers.take(~np.isin(strangers.ts_utc, known.ts_utc))
            lake.upsert(dataset, keys, other, lacking.to_arrow())
        if own is None:
            lake.remove(dataset, keys, [part])
        elif months:  # last, when what it loses lies elsewhere
            lake.write(dataset, keys, part, own.to_arrow())
    return [f"{dataset} {' '.join(keys.values())} {part}" for part in bad]


def _months(lake: Lake, dataset: str, keys: Mapping[str, str]) -> list[str]:
    return [part for part in lake.parts(dataset, keys) if is_month(part)]
