"""What surrounds a timeframe's bars: the slower timeframes of its layout, and the lake's economic calendar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.features.bars import Releases, Surroundings
from fxgpt_core.market.candles import Candles

if TYPE_CHECKING:
    from fxgpt_core.market.lake import Lake, Manifest


def surroundings(candles: Mapping[str, Candles], code: str, releases: Releases | None) -> Surroundings:
    """Return what surrounds timeframe `code` in a layout of candles by code, finest first."""
    codes = list(candles)
    return Surroundings({other: candles[other] for other in codes[codes.index(code) + 1 :]}, releases)


def load_releases(lake: Lake, symbol: str) -> Releases | None:
    """Return the releases of both currencies of a pair, None unless the lake has a calendar of both."""
    from fxgpt_core.market.events.releases import load_events

    if any(manifest is None for manifest in _calendars(lake, symbol)):
        return None
    return Releases.of(load_events(lake, _currencies(symbol)), symbol)


def releases_fingerprint(lake: Lake, symbol: str) -> str:
    """Return a hash that changes whenever the stored releases of the pair's currencies do."""
    return stable_hash([None if found is None else found.fingerprint for found in _calendars(lake, symbol)])


def _calendars(lake: Lake, symbol: str) -> list[Manifest | None]:
    from fxgpt_core.market.events.releases import EVENTS

    return [lake.read_manifest(EVENTS, {"currency": currency}) for currency in _currencies(symbol)]


def _currencies(symbol: str) -> tuple[str, str]:
    return symbol[:3], symbol[3:]
