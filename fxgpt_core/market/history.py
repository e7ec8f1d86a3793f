"""An asset's candles: given base bars in the lake, and every slower timeframe derived from them, month by month."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.timeframes import TIMEFRAMES, Timeframe, timeframe
from fxgpt_core.market.bars import (
    CANDLES,
    Source,
    bar_keys,
    origin,
    read_bars,
    settled,
    store_given,
)
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.derived import derive
from fxgpt_core.market.lake import Lake, Manifest
from fxgpt_core.market.quality.assessment import assess_stored
from fxgpt_core.market.quality.report import QualityReport
from fxgpt_core.market.quarantine import standing_quarantine, unsorted_rows
from fxgpt_core.market.source_bars import CandleSource, feeding, given_until, sample_bars

_QUALITY_VERSION = 4
_REPORTS = "quality"


@dataclass(frozen=True)
class CandlesSummary:
    """What `update_candles` found and did.

    `rows`: bars per timeframe; `months_written`, `months_kept`: per timeframe derived; `fingerprint`: content hash of
    the base bars; `first`: open of the first base bar, `last`: close of the last (ISO 8601, UTC); `failures`: one
    sentence per quality limit exceeded, empty when the bars may be used; `until`: close of the newest bar that was
    given when the work began (UTC, as `np.datetime64` writes it): every timeframe reaches there, if not further.
    """

    symbol: str
    base: str
    side: str
    fingerprint: str
    rows: dict[str, int]
    months_written: dict[str, int]
    months_kept: dict[str, int]
    first: str | None
    last: str | None
    gaps: int
    quality: QualityReport
    failures: tuple[str, ...]
    until: str

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON-able values."""
        return {**asdict(self), "failures": list(self.failures)}


def update_candles(
    lake: Lake,
    symbol: str,
    timeframes: Sequence[Timeframe],
    source: CandleSource,
    quality: QualityConfig,
    side: str | None = None,
    months: Sequence[str] = (),
) -> CandlesSummary:
    """Bring an asset's candles up to date; doing it again changes nothing.

    `months` ("2024-03") are derived again even where the manifest says that they are up to date.

    The finest of `timeframes` is the base: the sample's bars (`source="sample"`) or imported ones. Every other
    timeframe is derived from the given bars, rewriting only months whose base bars changed; where faster bars than the
    base were imported, the base is derived too. Where both were, the base bars given are used until faster ones cover
    them and go on later. Raises DataError when the base bars are missing, BadInputError when the
    sample is asked for what it does not have or for `months` without bars, DataError when the bars are not of the
    price `side` asked for.
    """
    frames = sorted({timeframe(bar) for bar in timeframes})
    if source == "sample":
        _store_sample(lake, symbol, frames[0])
    _settle(lake, symbol)
    until = given_until(lake, symbol, frames[0])
    feed, given, unused = feeding(lake, symbol, frames[0])
    if side is not None and given.extra["side"] != side:
        raise DataError(
            f"{symbol} is configured with {side} prices, but its bars are {given.extra['side']}: "
            f"set price_side to {given.extra['side']} or import {side} bars into another home."
        )
    unknown = sorted(month for month in months if f"month={month}" not in given.parts)
    if unknown:
        held = sorted(part.removeprefix("month=") for part in given.parts)
        raise BadInputError(f"{symbol} has no bars of {', '.join(unknown)}; it has {held[0]} to {held[-1]}.")
    written, kept = derive(lake, symbol, given, feed, [bar for bar in frames if bar != feed], months)
    manifests = {bar: _manifest(lake, symbol, bar) for bar in frames}
    report = _report(lake, symbol, frames[0], manifests[frames[0]], quality)
    failures = [*unused, *report.failures(quality)]
    if feed != frames[0]:  # bars made of few faster ones look whole
        fed = _report(lake, symbol, feed, given, quality).failures(quality)
        failures += [f"Of the {feed} bars given: {sentence}" for sentence in fed]
    return CandlesSummary(
        symbol=symbol,
        base=frames[0].code,
        side=str(given.extra["side"]),
        fingerprint=manifests[frames[0]].fingerprint,
        rows={bar.code: manifest.rows for bar, manifest in manifests.items()},
        months_written=written,
        months_kept=kept,
        first=report.first,
        last=report.last,
        gaps=report.gaps,
        quality=report,
        failures=tuple(failures),
        until=str(until),
    )


def load_candles(lake: Lake, symbol: str, bar: str | Timeframe, until: np.datetime64 | None = None) -> Candles:
    """Return all bars of one timeframe, with `until` (UTC) those that closed by then.

    Raises DataError saying what to import or materialise when there are none.
    """
    manifest = _manifest(lake, symbol, timeframe(bar))
    bars = read_bars(lake, symbol, timeframe(bar), str(manifest.extra["side"]), sorted(manifest.parts))
    return bars if until is None else bars.take(slice(0, int(np.searchsorted(bars.known_at, until, side="right"))))


def recent_candles(lake: Lake, symbol: str, bar: str | Timeframe, count: int) -> Candles:
    """Return the last `count` bars of one timeframe, fewer where there are fewer, without reading the months before.

    Raises DataError when there are none.
    """
    frame = timeframe(bar)
    manifest = _manifest(lake, symbol, frame)
    table = lake.tail(CANDLES, bar_keys(symbol, frame), count, sorted(manifest.parts))
    return Candles.from_arrow(table, symbol, frame, str(manifest.extra["side"]))


def last_close(lake: Lake, symbol: str, bar: Timeframe) -> np.datetime64:
    """Return when the last stored bar closed (UTC); raises DataError when there are no bars."""
    return np.datetime64(recent_candles(lake, symbol, bar, 1).known_at[-1])


def given_bars(lake: Lake, symbol: str) -> bool:
    """Tell whether any bars of a symbol were given: imported, fetched or of the sample; reads manifests only."""
    manifests = (lake.read_manifest(CANDLES, bar_keys(symbol, bar)) for bar in TIMEFRAMES.values())
    return any(manifest is not None and origin(manifest) == "given" for manifest in manifests)


def _store_sample(lake: Lake, symbol: str, base: Timeframe) -> None:
    from fxgpt_core.market.providers import sample

    candles, check = sample_bars(symbol, base), sample.sample_checksum()
    manifest = lake.read_manifest(CANDLES, bar_keys(symbol, base))
    if manifest is not None:
        if check in manifest.extra.get("files", {}):
            return
        raise DataError(
            f"The lake holds {symbol} {base} bars that are not the sample: set the asset's source to import."
        )
    facts = {"layout": "sample", "side": f"{sample.SIDE} (verified)", "time_zone": "UTC (verified)"}
    name = "EURUSD.csv of the backtesting package"
    store_given(lake, candles, sample.sample_assessment(), Source(name, check, facts))


def _manifest(lake: Lake, symbol: str, bar: Timeframe) -> Manifest:
    manifest = lake.read_manifest(CANDLES, bar_keys(symbol, bar))
    if manifest is None:
        raise DataError(
            f"{symbol} has no {bar} candles in {lake.root}: import a file of {bar} or faster bars "
            "(fxgpt import FILE), then materialise the symbol's candles."
        )
    return manifest


def _settle(lake: Lake, symbol: str) -> None:
    """Finish what interrupted imports of the symbol left."""
    for bar in TIMEFRAMES.values():
        manifest = lake.read_manifest(CANDLES, bar_keys(symbol, bar))
        if manifest is not None and origin(manifest) == "given" and "writing" in manifest.extra:
            with lake.lock(CANDLES, bar_keys(symbol, bar)):
                settled(lake, symbol, bar)


def _report(lake: Lake, symbol: str, bar: Timeframe, manifest: Manifest, config: QualityConfig) -> QualityReport:
    """Return the report of stored bars, from the lake when neither they nor the limits changed."""
    files = manifest.extra.get("files", {})
    orders = {check: facts["order"] for check, facts in files.items()}
    crossed = crossed_bars(manifest)
    definition = stable_hash([_QUALITY_VERSION, config.model_dump(mode="json"), orders, crossed])
    keys = bar_keys(symbol, bar)
    stored = lake.read_manifest(_REPORTS, keys)
    if stored is not None and (stored.fingerprint, stored.definition) == (manifest.fingerprint, definition):
        return QualityReport.from_dict(stored.extra["report"])
    standing = standing_quarantine(lake, symbol, bar, files)
    report = assess_stored(load_candles(lake, symbol, bar), standing, config, unsorted_rows(files), crossed)
    lake.write_manifest(_REPORTS, keys, Manifest(manifest.fingerprint, definition, extra={"report": report.to_dict()}))
    return report


def crossed_bars(manifest: Manifest) -> dict[str, int]:
    """Return month -> mid bars whose ask lies below the bid; empty for bars that were not combined of two sides."""
    counts = manifest.extra.get("crossed", {})
    return {part.removeprefix("month="): int(count) for part, count in counts.items() if count}
