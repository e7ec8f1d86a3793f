"""Everything the quality page and `fxgpt quality` say of the bars of one symbol in the lake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.common.timeframes import Timeframe, timeframe
from fxgpt_core.market.bars import CANDLES, bar_keys, origin
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.history import crossed_bars, load_candles
from fxgpt_core.market.lake import Lake
from fxgpt_core.market.market_hours import market_hours
from fxgpt_core.market.quality.assessment import assess_stored
from fxgpt_core.market.quality.coverage import DailyCoverage, daily_coverage
from fxgpt_core.market.quality.incidents import Incident, incidents
from fxgpt_core.market.quality.report import QualityReport
from fxgpt_core.market.quarantine import standing_quarantine, unsorted_rows
from fxgpt_core.reports.quality_page import PageFacts, write_quality_page


@dataclass(frozen=True)
class StoredQuality:
    """The quality of stored bars: the report, coverage by day, incidents (worst first), the rows set aside that still
    stand, the price side, and the facts of every source; `given`: the report of the faster bars from which they were
    derived, None where they were given themselves."""

    report: QualityReport
    daily: DailyCoverage
    incidents: Sequence[Incident]
    standing: pd.DataFrame
    side: str
    sources: Sequence[Mapping[str, Any]]
    given: QualityReport | None = None

    def failures(self, limits: QualityConfig) -> list[str]:
        """Return one sentence per limit that the bars, or the faster bars behind them, exceed."""
        fed = self.given.failures(limits) if self.given is not None else []
        return [
            *self.report.failures(limits),
            *(f"Of the {self.given.timeframe} bars given: {sentence}" for sentence in fed if self.given is not None),
        ]


def finest_bar(lake: Lake, symbol: str) -> Timeframe:
    """Return the finest timeframe that the lake holds of a symbol; raises BadInputError when it holds none."""
    held = [timeframe(keys["timeframe"]) for keys in lake.keys(CANDLES) if keys["symbol"] == symbol]
    if not held:
        raise BadInputError(f"The lake {lake.root} holds no bars of {symbol}: import a file (fxgpt import FILE) first.")
    return min(held)


def stored_quality(lake: Lake, symbol: str, bar: Timeframe, config: QualityConfig) -> StoredQuality:
    """Judge the stored bars of one timeframe; raises DataError when there are none, or bars longer than a day."""
    manifest = lake.read_manifest(CANDLES, bar_keys(symbol, bar))
    if manifest is None:
        raise DataError(f"The lake {lake.root} holds no {bar} bars of {symbol}: materialise its candles first.")
    feed = timeframe(manifest.extra["feed"]) if origin(manifest) == "derived" else bar
    given = lake.read_manifest(CANDLES, bar_keys(symbol, feed)) or manifest
    files = given.extra.get("files", {})
    candles, standing = load_candles(lake, symbol, bar), standing_quarantine(lake, symbol, feed, files)
    judged = candles if feed == bar else load_candles(lake, symbol, feed)
    report = assess_stored(judged, standing, config, unsorted_rows(files), crossed_bars(given))
    return StoredQuality(
        report=report if feed == bar else assess_stored(candles, standing.iloc[:0], config),
        daily=daily_coverage(candles.ts_utc, bar, market_hours(config.market_hours)),
        incidents=incidents(candles, standing, config),
        standing=standing,
        side=candles.side,
        sources=sorted(files.values(), key=lambda facts: int(facts["order"])),
        given=None if feed == bar else report,
    )


def write_stored_quality(path: Path, quality: StoredQuality, config: QualityConfig, made_at: str) -> Path:
    """Write the page of stored bars and return its path; `made_at` is shown as it stands."""
    return write_quality_page(
        path,
        quality.report.symbol,
        quality.report,
        quality.daily,
        quality.incidents,
        quality.standing,
        PageFacts(quality.side, made_at, config, quality.sources, quality.given, quality.failures(config)),
    )
