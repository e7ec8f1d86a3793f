"""The live loop over the product's own stores: bars of the lake, models of the registry, one loop a symbol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np

from fxgpt_core.common.errors import BadInputError, StoreError, UnfitBarsError
from fxgpt_core.common.timeframes import Timeframe, timeframe
from fxgpt_core.features.feed import Feed
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.lifecycle.bundle import Bundle
from fxgpt_core.lifecycle.champion_watch import BarWatch
from fxgpt_core.lifecycle.following import Times
from fxgpt_core.lifecycle.live_loop import LiveLoop, SymbolSource
from fxgpt_core.lifecycle.registry import ModelVersion
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.files.inbox import Inbox
from fxgpt_core.market.history import load_candles, recent_candles
from fxgpt_core.market.lake import Lake
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.refreshing import refresh_candles
from fxgpt_pipeline.settings import load_settings
from fxgpt_pipeline.workspace import Workspace

_TAIL = 512


class LakeBars:
    """`LiveBars` of one symbol: fetched or imported into the lake, then read from there."""

    def __init__(self, lineage: Lineage) -> None:
        self._lineage = lineage
        self._seen: str | None = None

    def refresh(self, now: np.datetime64) -> None:
        """Fetch what has closed, where a provider has it, and bring the slower timeframes up to date.

        Bars that fail the quality limits are refused, with UnfitBarsError, until they are mended.
        """
        found = refresh_candles(self._lineage, (), None).candles
        if found.failures:
            raise UnfitBarsError(f"The bars are not good enough to forecast from: {' '.join(found.failures)}")

    def decisions(self, after: np.datetime64 | None, now: np.datetime64) -> Times:
        """See `LiveBars`; without `after` the newest closes."""
        closes = self._recent(self._lineage.timeframes[0], now if after is None else after).known_at
        closes = closes[closes <= now]
        return closes if after is None else closes[closes > after]

    def since(
        self, after: np.datetime64, now: np.datetime64, timeframes: tuple[Timeframe, ...]
    ) -> Mapping[str, Candles]:
        """See `LiveBars`."""
        found = {}
        for bar in timeframes:
            candles = self._recent(bar, after)
            found[bar.code] = candles.take((candles.known_at > after) & (candles.known_at <= now))
        return found

    def feed(self, bundle: Bundle, until: np.datetime64) -> Feed:
        """Return a feed in the layout of the bundle, from the features of the lake where these have that layout."""
        lineage, card = self._lineage, bundle.card
        frames = tuple(timeframe(code) for code in card.timeframes)
        spec = FeatureSpec.model_validate(dict(card.features))
        candles = {}
        for bar in frames:
            stored = load_candles(lineage.workspace.lake, lineage.symbol, bar)
            candles[bar.code] = stored.take(slice(0, int(np.searchsorted(stored.known_at, until, side="right"))))
        known = None
        if card.feature_hash == lineage.spec.dataset_hash(lineage.timeframes, lineage.horizons):
            known = lineage.current_dataset().head(len(candles[frames[0].code]))
            candles = {code: bars.take(slice(0, len(known.tables[code]))) for code, bars in candles.items()}
        return Feed(candles, frames, card.horizons, spec, lineage.releases(), known)

    def _recent(self, bar: Timeframe, after: np.datetime64) -> Candles:
        """Return stored bars from before `after` on, without reading the months before."""
        count = _TAIL
        while True:
            found = recent_candles(self._lineage.workspace.lake, self._lineage.symbol, bar, count)
            if len(found) < count or found.known_at[0] <= after:
                return found
            count *= 4


def live_loop(workspace: Workspace, symbols: Sequence[str] = ()) -> LiveLoop:
    """Return a loop over the enabled pairs, or those named; raises BadInputError for a name that is none of them."""
    enabled = [name for name, asset in sorted(workspace.assets.items()) if asset.enabled]
    unknown = [name for name in symbols if name not in enabled]
    if unknown or not enabled:
        raise BadInputError(
            f"{', '.join(unknown) or 'No pair'} is not enabled: known are {', '.join(enabled) or 'none'}; "
            "see `fxgpt assets list`."
        )
    sources = {}
    for name in symbols or enabled:
        lineage = workspace.lineage(name)
        watch = partial(_drift_watch, lineage)
        sources[name] = SymbolSource(LakeBars(lineage), lineage.settings.live, lineage.settings.seed, watch)
    return LiveLoop(
        sources,
        workspace.registry,
        workspace.database,
        workspace.clock,
        lambda symbol: leased(workspace, symbol),
        workspace.home.scratch / "live",
    )


def _drift_watch(lineage: Lineage, version: ModelVersion) -> BarWatch:
    from fxgpt_pipeline.drifting import online_watch

    return online_watch(lineage, version)


@contextmanager
def leased(workspace: Workspace, symbol: str) -> Iterator[None]:
    """Hold the lease of a symbol's live forecasts; raises StoreError at once where another loop has it.

    It is a lock of the lake, so it holds between machines that share one, and dies with its process.
    """
    lake = Lake(workspace.home.lake, timeout=0.0)
    held = lake.lock("live", {"symbol": symbol})
    try:
        held.__enter__()
    except StoreError as error:
        raise StoreError(f"Another live loop works on {symbol}; it is left to that one.") from error
    try:
        yield
    finally:
        held.__exit__(None, None, None)


def import_waiting(workspace: Workspace) -> list[str]:
    """Import the files that wait in the inbox; return a sentence for each that was rejected."""
    settings = load_settings(workspace.config_dir)
    box = Inbox(workspace.home.inbox)
    files = box.waiting(workspace.clock.now(), settings.automation.inbox_settle_seconds)
    if not files:
        return []
    taken = box.take(
        workspace.lake, files, lambda pair: load_settings(workspace.config_dir, workspace.assets.get(pair)).quality
    )
    return [f"{one.name} was rejected: {one.reason}" for one in taken if one.reason]
