"""The given bars behind an asset's base timeframe: which feed it, and what identifies them, now or at a moment."""

from __future__ import annotations

from typing import Literal

import numpy as np

from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.timeframes import TIMEFRAMES, Timeframe, timeframe
from fxgpt_core.market.bars import CANDLES, bar_keys, by_month, checksum, fingerprint, origin, read_bars
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.lake import Lake, Manifest, PartEntry

CandleSource = Literal["sample", "import"]


def source_fingerprint(
    lake: Lake, symbol: str, bar: str | Timeframe, source: CandleSource, until: np.datetime64 | None = None
) -> str:
    """Return what identifies the given bars behind base timeframe `bar`, read from manifests alone.

    With `until` (UTC) only bars that closed by then count: whatever came later, the answer is that of the moment at
    which they were the newest, unless bars before it changed. It reads the month of `until`, and months that are being
    written. For a sample that is not in the lake yet it is what the fingerprint will be. Raises DataError without
    given bars.
    """
    base = timeframe(bar)
    if source == "sample" and lake.read_manifest(CANDLES, bar_keys(symbol, base)) is None:
        candles = sample_bars(symbol, base)
        parts = {name: PartEntry(checksum(bars), len(bars)) for name, bars in by_month(candles).items()}
        return fingerprint(symbol, base, candles.side, parts)
    usable = _usable(lake, symbol, base)
    if until is None:
        marks = [_mark(manifest) for manifest in usable.values()]
    else:
        marks = [_mark_until(lake, symbol, frame, manifest, until) for frame, manifest in usable.items()]
    return marks[0] if len(marks) == 1 else stable_hash(marks)


def given_until(lake: Lake, symbol: str, bar: str | Timeframe) -> np.datetime64:
    """Return when the newest of the given bars behind base timeframe `bar` closed (UTC); DataError without any."""
    closes = []
    for frame, manifest in _usable(lake, symbol, timeframe(bar)).items():
        if manifest.parts:
            table = lake.tail(CANDLES, bar_keys(symbol, frame), 1, sorted(manifest.parts))
            closes.append(Candles.from_arrow(table, symbol, frame, str(manifest.extra["side"])).known_at[-1])
    if not closes:
        raise DataError(f"{symbol} has no bars in {lake.root}: import some (fxgpt import FILE).")
    return np.datetime64(max(closes))


def _mark(given: Manifest) -> str:
    # Months of an interrupted import are not yet in the fingerprint: say something that no finished import says.
    return stable_hash([given.fingerprint, given.extra["writing"]]) if "writing" in given.extra else given.fingerprint


def _mark_until(lake: Lake, symbol: str, bar: Timeframe, given: Manifest, until: np.datetime64) -> str:
    """Return the fingerprint that the manifest had when the bars that closed by `until` were all there were."""
    keys, side, last = bar_keys(symbol, bar), str(given.extra["side"]), f"month={until.astype('datetime64[M]')}"
    # A manifest does not speak for what is being written now, and of the last month it may know later bars.
    unsure = {last, *given.extra.get("writing", {}).get("months", ())}
    parts = {name: entry for name, entry in given.parts.items() if name < last and name not in unsure}
    for name in sorted(unsure & set(lake.parts(CANDLES, keys))):
        bars = read_bars(lake, symbol, bar, side, [name])
        bars = bars.take(bars.known_at <= until)
        if len(bars):
            parts[name] = PartEntry(checksum(bars), len(bars))
    return fingerprint(symbol, bar, side, parts)


def sample_bars(symbol: str, base: Timeframe) -> Candles:
    from fxgpt_core.market.providers import sample

    if (symbol, base.code) != (sample.SYMBOL, sample.TIMEFRAME):
        raise BadInputError(
            f"The sample holds {sample.SYMBOL} {sample.TIMEFRAME} bars, not {symbol} {base}: "
            "import a file and set the asset's source to import."
        )
    return sample.sample_candles()


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


def feeding(lake: Lake, symbol: str, base: Timeframe) -> tuple[Timeframe, Manifest, list[str]]:
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
