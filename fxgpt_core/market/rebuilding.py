"""`rebuild`: the manifest of given bars made anew from the months that are there, when it was lost or they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fxgpt_core.common.errors import BadInputError, DataError, StoreError
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market.bar_parts import (
    CANDLES,
    ONE_SIDED,
    bar_keys,
    being_written,
    empty_manifest,
    finish,
    is_month,
    origin,
    readable_bars,
)
from fxgpt_core.market.candles import SIDES
from fxgpt_core.market.lake import Lake, Manifest
from fxgpt_core.market.sides import OTHER_SIDE
from fxgpt_core.market.two_sides import recombine


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
    """Accept given bars as they are in the lake: months that cannot be read are removed, mid bars of bid and ask made
    again, and the manifest written anew.

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
        sides = {one: _months(lake, ONE_SIDED, {**keys, "side": one}) for one in OTHER_SIDE}
        held = _months(lake, CANDLES, keys)
        if not held and not any(sides.values()):
            raise DataError(f"The lake {lake.root} holds no {bar} bars of {symbol}: import a file first.")
        combined = all(sides.values()) if manifest is None else bool(manifest.extra.get("combined"))
        side = _side(f"{symbol} {bar}", side, "mid" if combined else _told(manifest))
        manifest = manifest or empty_manifest(side)
        removed = _remove_unreadable(lake, CANDLES, keys, side)
        if combined:
            for one in OTHER_SIDE:
                removed += _remove_unreadable(lake, ONE_SIDED, {**keys, "side": one}, one)
            months = sorted({*held, *sides["bid"], *sides["ask"], *manifest.parts})
            manifest = replace(manifest, parts={}, extra={**manifest.extra, "side": "mid", "combined": True})
            manifest = being_written(manifest, "bid and ask bars", months, combining=True)
            lake.write_manifest(CANDLES, keys, manifest)
            manifest = recombine(lake, symbol, bar, manifest, losing=True)
        else:
            manifest = finish(lake, symbol, bar, manifest, {*held, *manifest.parts})
    return Rebuilt(side, len(manifest.parts), manifest.rows, tuple(removed))


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


def _remove_unreadable(lake: Lake, dataset: str, keys: Mapping[str, str], side: str) -> list[str]:
    bad = [part for part in _months(lake, dataset, keys) if readable_bars(lake, dataset, keys, part, side) is None]
    lake.remove(dataset, keys, bad)
    return [f"{dataset} {' '.join(keys.values())} {part}" for part in bad]


def _months(lake: Lake, dataset: str, keys: Mapping[str, str]) -> list[str]:
    return [part for part in lake.parts(dataset, keys) if is_month(part)]
