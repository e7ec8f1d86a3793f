"""`import_file`: a person's own bars into the lake, all or nothing, saying what was recognised (SPEC 1, 19)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market.bars import Source, store_given
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.lake import Lake
from fxgpt_core.market.quality import assess
from fxgpt_core.market.reading import RawBars, read_file


@dataclass(frozen=True)
class ImportResult:
    """What an import recognised and did.

    `rows_read` = `rows_imported` + sum of `quarantined` (by reason); `rows_changed` of the imported ones were new to
    the lake or differ from what it held. `first` is the first bar's open and `last` the last one's close (ISO 8601).
    """

    path: str
    symbol: str
    timeframe: str
    side: str
    side_how: str
    layout: str
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

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-able values."""
        return {**asdict(self), "warnings": list(self.warnings)}


def import_file(
    lake: Lake,
    path: str | Path,
    symbol: str | None = None,
    layout: str | None = None,
    tz: str | None = None,
    side: str | None = None,
    timeframe: str | Timeframe | None = None,
    quality: QualityConfig | None = None,
) -> ImportResult:
    """Import one file of bars; what is not given is recognised.

    Rows that cannot be used go to the lake's `quarantine` with their reason. Importing a file again changes nothing.
    Raises BadInputError, with the lake as it was, when nothing of the file can be used.
    """
    quality = quality or QualityConfig()
    raw = read_file(path, symbol=symbol, layout=layout, tz=tz, side=side, timeframe=timeframe)
    judged = assess(raw.frame, raw.symbol, raw.timeframe, quality)
    report = judged.report
    if report.usable == 0:
        counts = ", ".join(f"{count} {reason}" for reason, count in report.quarantined.items())
        raise BadInputError(f"{path}: none of {report.rows} rows can be used ({counts}); the lake is as it was.")
    candles = Candles.from_frame(judged.clean, raw.symbol, raw.timeframe, raw.side)
    changed = store_given(lake, candles, judged, _source(raw))
    return ImportResult(
        path=str(path),
        symbol=raw.symbol,
        timeframe=raw.timeframe.code,
        side=raw.side,
        side_how=raw.side_how,
        layout=raw.layout,
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
        warnings=tuple(report.failures(quality)),
    )


def _source(raw: RawBars) -> Source:
    facts = {
        "layout": raw.layout,
        "side": f"{raw.side} ({raw.side_how})",
        "time_zone": f"{raw.time_zone} ({raw.time_zone_how})",
    }
    return Source(raw.path.name, raw.checksum, facts)
