"""`import_files`: a person's own bars and ticks into the lake, saying what was recognised (SPEC 1, 19)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fxgpt_core.common.errors import BadInputError, FxgptError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market.bars import CANDLES, Source, bar_keys, by_month, store_given
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.files.judging import judge, unreadable_volumes
from fxgpt_core.market.files.meeting import meet_stored
from fxgpt_core.market.files.reading import Claims, FaultError, RawBars, read_files
from fxgpt_core.market.files.tick_bars import bars_of
from fxgpt_core.market.lake import Lake, Manifest
from fxgpt_core.market.quality.assessment import Assessment, assess
from fxgpt_core.market.quarantine import store_quarantine
from fxgpt_core.store.clock import Clock, SystemClock, to_datetime64

_TICK = Timeframe("tick", 0)
Limits = QualityConfig | Callable[[str], QualityConfig]
"""The quality limits of all pairs, or of each pair by its symbol."""


@dataclass(frozen=True)
class ImportResult:
    """What an import recognised and did.

    `rows_read` = `rows_imported` + sum of `quarantined` (by reason); of tick files these are the bars made of `ticks`
    (of which `ticks_aside` could not be used). `rows_changed` of the imported ones were new to the lake or differ from
    what it held. `side` is the bars'; `lake_side` is mid where they met their other side in the lake. `filler` rows
    stood for closed minutes and were left out. `first` is the first bar's open and `last` the last one's close;
    `price_low` and `price_high` are the extremes of the bars, in price units.
    """

    path: str
    symbol: str
    timeframe: str
    side: str
    side_how: str
    layout: str
    delimiter: str
    scale: str
    time_zone: str
    time_zone_how: str
    rows_read: int
    rows_imported: int
    rows_changed: int
    quarantined: dict[str, int]
    unsorted: int
    missing: int
    first: str
    last: str
    warnings: tuple[str, ...]
    lake_side: str = ""
    ticks: int = 0
    ticks_aside: int = 0
    filler: int = 0
    price_low: float = 0.0
    price_high: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-able values."""
        return {**asdict(self), "warnings": list(self.warnings)}


@dataclass
class Imports:
    """What became of several files: bars, economic calendars (what their import said), and failures with the reason."""

    results: list[ImportResult] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    failed: list[tuple[Path, FxgptError]] = field(default_factory=list)


def import_file(
    lake: Lake,
    path: str | Path,
    symbol: str | None = None,
    layout: str | None = None,
    tz: str | None = None,
    side: str | None = None,
    timeframe: str | Timeframe | None = None,
    quality: Limits | None = None,
    clock: Clock | None = None,
) -> ImportResult:
    """Import one file of bars or ticks; what is not given is recognised.

    Rows that cannot be used go to the lake's `quarantine` with their reason. Importing a file again changes nothing.
    Raises BadInputError, with the lake as it was, when nothing of the file can be used. Of an archive with several
    series the first result is returned and names the others among its warnings.
    """
    done = import_files(lake, [Path(path)], Claims(symbol, layout, tz, side, timeframe), quality, clock)
    if done.failed:
        error = done.failed[0][1]
        raise error.fault if isinstance(error, FaultError) else error
    if not done.results:
        raise BadInputError(f"{path} holds an economic calendar, which has no bars: import it with import_files.")
    first, *others = done.results
    also = tuple(f"Also imported: {one.symbol} {one.timeframe} {one.side}." for one in others)
    return replace(first, warnings=(*first.warnings, *also))


def import_files(
    lake: Lake,
    paths: Sequence[Path],
    claims: Claims | None = None,
    quality: Limits | None = None,
    clock: Clock | None = None,
) -> Imports:
    """Import files together: those of one pair, layout and bar length share the evidence about their clock.

    A file that cannot be used leaves the lake as it was and does not stop the others, whatever the fault. Bars that
    close later than now by `clock` (the machine's where not given) are set aside.
    """
    claims = claims or Claims()
    limits = quality or QualityConfig()
    now = to_datetime64((clock or SystemClock()).now())
    readings = read_files(paths, claims)
    out = Imports(failed=list(readings.failed))
    for raws in _units(readings.bars):
        try:
            config = limits if isinstance(limits, QualityConfig) else limits(raws[0].symbol)
            out.results.append(_import(lake, raws, config, now))
        except FxgptError as error:
            out.failed += [(path, error) for path in dict.fromkeys(raw.path for raw in raws)]
        except Exception as error:
            out.failed += [(path, FaultError(path, error)) for path in dict.fromkeys(raw.path for raw in raws)]
    for path in dict.fromkeys(readings.events):
        try:
            out.events.append(_import_events(lake, path, claims))
        except FxgptError as error:
            out.failed.append((path, error))
        except Exception as error:
            out.failed.append((path, FaultError(path, error)))
    return out


def _units(raws: Sequence[RawBars]) -> list[list[RawBars]]:
    """Return what is stored at once: each file of bars, but all tick files of one pair and layout together."""
    ticks: dict[tuple[str, str], list[RawBars]] = {}
    units: list[list[RawBars]] = []
    for raw in raws:
        if raw.kind != "ticks":
            units.append([raw])
            continue
        key = raw.symbol, raw.layout
        if key not in ticks:
            ticks[key] = []
            units.append(ticks[key])
        ticks[key].append(raw)
    return units


def _import(lake: Lake, raws: Sequence[RawBars], quality: QualityConfig, now: np.datetime64) -> ImportResult:
    raw, source = raws[0], _source(raws)
    if raw.kind == "ticks":
        return _import_ticks(lake, raws, source, quality, now)
    candles, judged = judge(raw, quality, now)
    if candles is None:
        counts = ", ".join(f"{count} {reason}" for reason, count in judged.report.quarantined.items())
        what = f"none of {judged.report.rows} rows can be used ({counts})" if counts else "it has no bar"
        raise BadInputError(f"{raw.path}: {what}; the lake is as it was.")
    warnings = (*unreadable_volumes(raw), *meet_stored(lake, candles, str(raw.path), quality))
    changed = store_given(lake, candles, judged, source)
    return _result(lake, raws, candles, judged, changed, quality, warnings)


def _import_ticks(
    lake: Lake, raws: Sequence[RawBars], source: Source, quality: QualityConfig, now: np.datetime64
) -> ImportResult:
    bar = raws[0].timeframe
    made, aside, disorder = bars_of(raws, bar)
    judged = assess(made.to_frame().reset_index(), made.symbol, bar, quality, now)
    ticks = sum(len(raw.frame) for raw in raws)
    if judged.report.usable == 0:
        raise BadInputError(
            f"{_paths(raws)}: no bar can be made of {ticks} ticks ({len(aside)} cannot be used, the others fill no bar "
            "of market hours); the lake is as it was."
        )
    candles = Candles.from_frame(judged.clean, made.symbol, bar, made.side)
    warnings = meet_stored(lake, candles, _paths(raws), quality)
    changed = store_given(lake, candles, judged, source)
    store_quarantine(lake, candles.symbol, _TICK, aside, source.name, source.checksum)
    result = _result(lake, raws, candles, judged, changed, quality, warnings)
    return replace(result, ticks=ticks, ticks_aside=len(aside), unsorted=disorder)


def _result(
    lake: Lake,
    raws: Sequence[RawBars],
    candles: Candles,
    judged: Assessment,
    changed: int,
    quality: QualityConfig,
    met: Sequence[str],
) -> ImportResult:
    raw, report = raws[0], judged.report
    manifest = lake.read_manifest(CANDLES, bar_keys(candles.symbol, candles.timeframe))
    warnings = [*(warning for one in raws for warning in one.warnings), *met, *_crossed(manifest, candles, quality)]
    return ImportResult(
        path=_paths(raws),
        symbol=raw.symbol,
        timeframe=candles.timeframe.code,
        side=candles.side,
        side_how=f"with spreads, of both sides: {raw.side_how}" if raw.side == "both" else raw.side_how,
        layout=raw.layout,
        delimiter=raw.delimiter,
        scale=raw.scale,
        time_zone=raw.time_zone,
        time_zone_how=raw.time_zone_how,
        rows_read=report.rows,
        rows_imported=report.usable,
        rows_changed=changed,
        quarantined=report.quarantined,
        unsorted=report.unsorted,
        missing=report.missing,
        first=str(report.first),
        last=str(report.last),
        warnings=(*dict.fromkeys(warnings), *report.failures(quality)),
        lake_side=str(manifest.extra["side"]) if manifest is not None else candles.side,
        filler=sum(one.filler for one in raws),
        price_low=float(candles.low.min()),
        price_high=float(candles.high.max()),
    )


def _crossed(manifest: Manifest | None, candles: Candles, quality: QualityConfig) -> list[str]:
    """Return a warning where bid and ask of the months that were written do not seem to belong together."""
    counts = manifest.extra.get("crossed", {}) if manifest is not None else {}
    if manifest is None or not counts:
        return []
    parts = [part for part in by_month(candles) if part in manifest.parts]
    crossed, rows = sum(int(counts.get(part, 0)) for part in parts), sum(manifest.parts[part].rows for part in parts)
    if not crossed > quality.max_crossed_share_per_month * rows:
        return []
    return [
        f"In {crossed} of {rows} mid bars the ask lies below the bid: are bid and ask swapped, or stamped by different "
        "clocks?"
    ]


def _source(raws: Sequence[RawBars]) -> Source:
    raw = raws[0]
    facts = {
        "layout": raw.layout,
        "side": f"{raw.side} ({raw.side_how})",
        "time_zone": f"{raw.time_zone} ({raw.time_zone_how})",
    }
    if len(raws) == 1:
        return Source(raw.name, raw.checksum, facts)
    name = f"{raw.name} and {len(raws) - 1} more"
    return Source(name, stable_hash(sorted(one.checksum for one in raws)), facts)


def _paths(raws: Sequence[RawBars]) -> str:
    paths = list(dict.fromkeys(str(raw.path) for raw in raws))
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _import_events(lake: Lake, path: Path, claims: Claims) -> dict[str, Any]:
    from fxgpt_core.market.events.releases import import_events

    return import_events(lake, path, tz=claims.tz).to_dict()
