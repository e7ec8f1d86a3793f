"""An asset's candles: given base bars in the lake, and every slower timeframe derived from them, month by month."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.timeframes import TIMEFRAMES, Timeframe, timeframe
from fxgpt_core.market.bars import (
    CANDLES,
    Source,
    bar_keys,
    by_month,
    checksum,
    fingerprint,
    origin,
    read_bars,
    settled,
    store_given,
)
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.derived import derive
from fxgpt_core.market.lake import Lake, Manifest, PartEntry
from fxgpt_core.market.quality.assessment import assess_stored
from fxgpt_core.market.quality.report import QualityReport
from fxgpt_core.market.quarantine import standing_quarantine, unsorted_rows

CandleSource = Literal["sample", "import"]
_QUALITY_VERSION = 4
_REPORTS = "quality"


@dataclass(frozen=True)
class CandlesSummary:
    """What `update_candles` found and did.

    `rows`: bars per timeframe; `months_written`, `months_kept`: per timeframe derived; `fingerprint`: content hash of
    the base bars; `first`: open of the first base bar, `last`: close of the last (ISO 8601, UTC); `failures`: one
    sentence per quality limit exceeded, empty when the bars may be used.
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
    feed, given, unused = _feed(lake, symbol, frames[0])
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
    )


def load_candles(lake: Lake, symbol: str, bar: str | Timeframe) -> Candles:
    """Return all bars of one timeframe; raises DataError saying what to import or materialise when there are none."""
    manifest = _manifest(lake, symbol, timeframe(bar))
    return read_bars(lake, symbol, timeframe(bar), str(manifest.extra["side"]), sorted(manifest.parts))


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


def source_fingerprint(lake: Lake, symbol: str, bar: str | Timeframe, source: CandleSource) -> str:
    """Return what identifies the given bars behind base timeframe `bar`, read from manifests alone.

    For a sample that is not in the lake yet it is what the fingerprint will be. Raises DataError without given bars.
    """
    base = timeframe(bar)
    if source == "sample" and lake.read_manifest(CANDLES, bar_keys(symbol, base)) is None:
        candles = _sample(symbol, base)
        parts = {name: PartEntry(checksum(bars), len(bars)) for name, bars in by_month(candles).items()}
        return fingerprint(symbol, base, candles.side, parts)
    marks = [_mark(manifest) for manifest in _usable(lake, symbol, base).values()]
    return marks[0] if len(marks) == 1 else stable_hash(marks)


def _mark(given: Manifest) -> str:
    # Months of an interrupted import are not yet in the fingerprint: say something that no finished import says.
    return stable_hash([given.fingerprint, given.extra["writing"]]) if "writing" in given.extra else given.fingerprint


def _sample(symbol: str, base: Timeframe) -> Candles:
    from fxgpt_core.market.providers import sample

    if (symbol, base.code) != (sample.SYMBOL, sample.TIMEFRAME):
        raise BadInputError(
            f"The sample holds {sample.SYMBOL} {sample.TIMEFRAME} bars, not {symbol} {base}: "
            "import a file and set the asset's source to import."
        )
    return sample.sample_candles()


def _store_sample(lake: Lake, symbol: str, base: Timeframe) -> None:
    from fxgpt_core.market.providers import sample

    candles, check = _sample(symbol, base), sample.sample_checksum()
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


def _usable(lake: Lake, symbol: str, base: Timeframe) -> dict[Timeframe, Manifest]:
    """Return the manifests of the given timeframes from which `base` can be had, fastest first."""
    present = {bar: lake.read_manifest(CANDLES, bar_keys(symbol, bar)) for bar in sorted(TIMEFRAMES.values())}
    given = {bar: manifest for bar, manifest in present.items() if manifest is not None and origin(manifest) == "given"}
    usable = {bar: manifest for bar, manifest in given.items() if bar <= base}
    if not usable:
        has = f"the lake has only {', '.join(map(str, given))} bars of it" if given else "the lake has no bars of it"
        raise DataError(
            f"{symbol} needs {base} bars and {has}: import a file of {base} or faster bars (fxgpt import FILE), "
            "or name slower timeframes in the asset's configuration."
        )
    return usable


def _feed(lake: Lake, symbol: str, base: Timeframe) -> tuple[Timeframe, Manifest, list[str]]:
    """Return the given timeframe that feeds `base`, its manifest, and what faster bars it leaves unused, in words.

    That is the slowest one, or a faster one of the same side that covers it and ends later.
    """
    usable = _usable(lake, symbol, base)
    *faster, feed = usable
    unused: list[str] = []
    for bar in reversed(faster):
        if not usable[bar].parts or not usable[feed].parts:
            continue
        (first, last), (begin, end) = _span(lake, symbol, bar, usable[bar]), _span(lake, symbol, feed, usable[feed])
        if last < end + base.duration:
            continue
        if first <= begin and usable[bar].extra["side"] == usable[feed].extra["side"]:
            feed, unused = bar, []
        else:
            unused.append(
                f"The {feed} bars given end {_minute(end)} and the {bar} bars, which reach {_minute(last)}, do not "
                f"cover them: import {feed} bars up to there or {bar} bars from {_minute(begin)} on, of one price side."
            )
    return feed, usable[feed], unused


def _span(lake: Lake, symbol: str, bar: Timeframe, manifest: Manifest) -> tuple[np.datetime64, np.datetime64]:
    """Return the open of the first stored bar and the close of the last."""
    parts, side = sorted(manifest.parts), str(manifest.extra["side"])
    first, last = (read_bars(lake, symbol, bar, side, [part]) for part in (parts[0], parts[-1]))
    return first.ts_utc[0], last.known_at[-1]


def _minute(moment: np.datetime64) -> str:
    return str(moment)[:16].replace("T", " ")


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
