"""`Incident`: one thing that is wrong with a history, from when to when, in words; the worst first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.quality.counts import Findings, find, naive_utc

KINDS = ("level", "time zone", "gap", "quarantined", "stale", "outlier")
_WORST_OUTLIER = 300.0
_WEEK = np.timedelta64(calendar.WEEK_MINUTES, "m")
_KIND_OF_OUTLIER = {
    "spike": "the next bar takes the move back",
    "jump": "the price stays there",
    "wick": "high or low far from open and close",
}


@dataclass(frozen=True)
class Incident:
    """`kind` is one of `KINDS`; [`start`, `end`) in UTC; `bars` (rows, where quarantined) it concerns; `severity` is
    comparable between kinds: bars that cannot be trusted, an outlier counting as many as its size in usual moves, at
    most 300."""

    kind: str
    start: np.datetime64
    end: np.datetime64
    bars: int
    detail: str
    severity: float

    def to_dict(self) -> dict[str, Any]:
        """Return the incident as JSON-able values, times as ISO 8601."""
        start, end = (f"{time.astype('datetime64[s]')}Z" for time in (self.start, self.end))
        return {"kind": self.kind, "start": start, "end": end, "bars": self.bars, "detail": self.detail}


def incidents(candles: Candles, standing: pd.DataFrame, config: QualityConfig | None = None) -> list[Incident]:
    """Return everything that is wrong with stored bars, by falling severity, then by time.

    `standing`: quarantined rows with `ts_utc` (UTC-aware, may be NaT), `reason`, `high`, `low` and `volume`.
    """
    clean = candles.to_frame().reset_index()
    found = find(clean, standing, candles.timeframe, config or QualityConfig())
    length = candles.timeframe
    every = [
        *_levels(found, length),
        *_gaps(found, length),
        *_stale(found, candles),
        *_outliers(found, length),
        *_shifts(found, length),
        *_quarantined(standing, length),
    ]
    return sorted(every, key=lambda incident: (-incident.severity, incident.start, incident.kind))


def _gaps(found: Findings, length: Timeframe) -> Iterator[Incident]:
    for first, after in found.gaps:
        start, end = found.grid[first], found.grid[after - 1] + length.duration
        bars = int(after - first)
        yield Incident("gap", start, end, bars, f"{_plural(bars, 'expected bar')} missing", float(bars))


def _stale(found: Findings, candles: Candles) -> Iterator[Incident]:
    for row, bars in zip(found.stale.rows, found.stale.bars, strict=True):
        end = candles.known_at[row + bars - 1]
        detail = f"{_plural(int(bars), 'bar')} without movement at {candles.close[row]:g}"
        yield Incident("stale", found.opens[row], end, int(bars), detail, float(bars))


def _outliers(found: Findings, length: Timeframe) -> Iterator[Incident]:
    outliers = found.outliers
    for row, kind, scale in zip(outliers.rows, outliers.kinds, outliers.scales, strict=True):
        start = found.opens[row]
        detail = f"{kind} of {scale:.0f} usual moves: {_KIND_OF_OUTLIER[str(kind)]}"
        yield Incident("outlier", start, start + length.duration, 1, detail, min(float(scale), _WORST_OUTLIER))


def _levels(found: Findings, length: Timeframe) -> Iterator[Incident]:
    """Yield one incident a break; it casts doubt on every bar from there to the next break, or to the end."""
    rows = found.levels.rows
    ends = np.r_[rows, len(found.opens)][1:]
    for row, end, step, kind in zip(rows, ends, found.levels.steps, found.levels.kinds, strict=True):
        start, bars = found.opens[row], int(end - row)
        size = f"by a factor of {np.exp(abs(step)):.4g}" if kind == "factor" else f"by {np.expm1(step):+.1%}"
        why = "another scale" if kind == "factor" else "another pair's prices begin or end here"
        detail = f"the price level breaks {size}: {why}"
        yield Incident("level", start, start + length.duration, 1, detail, float(bars))


def _shifts(found: Findings, length: Timeframe) -> Iterator[Incident]:
    """Yield one incident a run of successive weeks with the same shift."""
    weeks, hours = found.shifts.weeks, found.shifts.hours
    if not len(weeks):
        return
    apart = (np.diff(weeks) > np.timedelta64(8, "D")) | (np.diff(hours) != 0)
    for run in np.split(np.arange(len(weeks)), np.flatnonzero(apart) + 1):
        start, end = weeks[run[0]], weeks[run[-1]] + _WEEK
        bars = int(((found.opens >= start) & (found.opens < end)).sum())
        direction = "late" if hours[run[0]] > 0 else "early"
        detail = f"{_plural(len(run), 'week')} {abs(int(hours[run[0]]))} h too {direction}: stamps of another clock"
        yield Incident("time zone", start, end, bars, detail, float(bars))


def _quarantined(standing: pd.DataFrame, length: Timeframe) -> Iterator[Incident]:
    """Yield one incident a reason and New York session; rows without a readable time have none and are left out."""
    stamps = naive_utc(standing["ts_utc"])
    known = ~np.isnat(stamps)
    stamps, reasons = stamps[known], standing["reason"].to_numpy(dtype=object)[known]
    if not len(stamps):
        return
    rows = pd.DataFrame({"reason": reasons, "day": calendar.session_day(stamps).astype("datetime64[ns]"), "at": stamps})
    for (reason, _), group in rows.groupby(["reason", "day"], sort=True):
        times, count = group["at"].to_numpy(dtype="datetime64[ns]"), len(group)
        what = str(reason).replace("_", " ")
        detail = f"{_plural(count, 'row')} set aside: {what}"
        yield Incident("quarantined", times.min(), times.max() + length.duration, count, detail, float(count))


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
