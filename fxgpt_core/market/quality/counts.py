"""From judged rows to a `QualityReport`: what is missing, repeated, frozen or implausible, per month."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market.clocks.time_zones import week_edges
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.market_hours import market_hours
from fxgpt_core.market.quality.anomalies import (
    Outliers,
    StaleRuns,
    Times,
    WeekShifts,
    find_outliers,
    find_stale_runs,
    find_week_shifts,
    traded,
)
from fxgpt_core.market.quality.levels import LevelBreaks, find_level_breaks
from fxgpt_core.market.quality.report import MONTH_COUNTS, QualityReport

OUTSIDE = "outside_market_hours"


@dataclass(frozen=True)
class Findings:
    """What an assessment found in usable bars and the rows set aside.

    `opens`: (bars,) UTC opens of usable bars; `grid`: (expected,) opens of expected bars, `absent` (expected,) which of
    them have no row; `outliers`, `stale`, `levels` refer to rows of the usable bars.
    """

    opens: Times
    grid: Times
    absent: NDArray[np.bool_]
    outliers: Outliers
    stale: StaleRuns
    shifts: WeekShifts
    levels: LevelBreaks

    @property
    def gaps(self) -> NDArray[np.int64]:
        """Runs of missing bars as [first, after last) positions in `grid`: (gaps, 2)."""
        edges = np.flatnonzero(np.diff(np.r_[0, self.absent.astype(np.int8), 0]))
        return edges.reshape(-1, 2).astype(np.int64)


def find(clean: pd.DataFrame, set_aside: pd.DataFrame, length: Timeframe, config: QualityConfig) -> Findings:
    """Return the findings in usable bars (`ts_utc`, OHLC, sorted) and rows set aside (`ts_utc`, `reason`, prices)."""
    opens, hours = naive_utc(clean["ts_utc"]), market_hours(config.market_hours)
    grid = opens[:0] if not len(opens) else hours.expected_opens(opens[0], opens[-1] + length.duration, length)
    return Findings(
        opens=opens,
        grid=grid,
        absent=~np.isin(grid, opens, assume_unique=True),
        outliers=find_outliers(clean, opens, config.outlier_scales),
        stale=find_stale_runs(clean, opens, config.stale_bars, hours),
        shifts=find_week_shifts(np.concatenate([opens, _overhang(clean, set_aside)]), length),
        levels=find_level_breaks(clean, opens, config.level_factor, config.level_step),
    )


def count(
    symbol: str,
    length: Timeframe,
    found: Findings,
    set_aside: pd.DataFrame,
    unsorted: Mapping[str, int],
    crossed: Mapping[str, int] | None = None,
) -> QualityReport:
    """Return the report of findings; `unsorted`: month -> rows that came out of order, `crossed`: month -> bars whose
    ask lies below the bid."""
    reasons = set_aside["reason"].value_counts()
    gaps = np.diff(found.gaps, axis=1).ravel()
    missing, expected = int(found.absent.sum()), len(found.grid)
    weekends, edges = _week_edge_share(found.opens, length)
    usable = len(found.opens)
    return QualityReport(
        symbol=symbol,
        timeframe=length.code,
        rows=usable + len(set_aside),
        usable=usable,
        quarantined={str(name): int(reasons[name]) for name in reasons.index},
        unsorted=sum(unsorted.values()),
        expected=expected,
        missing=missing,
        gaps=len(gaps),
        longest_gap_bars=int(gaps.max()) if len(gaps) else 0,
        coverage=1 - missing / expected if expected else 0.0,
        outliers=len(found.outliers),
        stale_runs=len(found.stale),
        stale_bars=int(found.stale.bars.sum()),
        weekends=weekends,
        week_edges=edges,
        shifted_weeks=len(found.shifts.weeks),
        first=_iso(found.opens[0]) if usable else None,
        last=_iso(found.opens[-1] + length.duration) if usable else None,
        months=_months(length, found, set_aside, unsorted, crossed or {}),
    )


def naive_utc(stamps: pd.Series) -> Times:
    """Return UTC-aware stamps as datetime64[ns] that mean UTC; NaT stays NaT."""
    return np.asarray(pd.to_datetime(stamps, utc=True).dt.tz_localize(None).to_numpy(dtype="datetime64[ns]"))


def by_month(opens: Times, length: Timeframe) -> dict[str, int]:
    """Return how many bars that open at `opens` belong to each month of known_at; NaT belongs to none."""
    known = opens[~np.isnat(opens)] + length.duration
    months, counts = np.unique(known.astype("datetime64[M]"), return_counts=True)
    return {str(month): int(number) for month, number in zip(months, counts, strict=True)}


def _months(
    length: Timeframe,
    found: Findings,
    set_aside: pd.DataFrame,
    unsorted: Mapping[str, int],
    crossed: Mapping[str, int],
) -> dict[str, dict[str, int]]:
    stamps, reason = naive_utc(set_aside["ts_utc"]), set_aside["reason"].to_numpy(dtype=object)
    week_middle = found.shifts.weeks + np.timedelta64(60, "h") - length.duration
    runs = [np.arange(row, row + bars) for row, bars in zip(found.stale.rows, found.stale.bars, strict=True)]
    opens: dict[str, Times] = {
        "expected": found.grid,
        "usable": found.opens,
        "missing": found.grid[found.absent],
        "quarantined": stamps,
        **{name: stamps[reason == name] for name in ("duplicate", "not_positive", "high_below_low")},
        "stale_runs": found.opens[found.stale.rows],
        "stale_bars": found.opens[np.concatenate(runs)] if runs else found.opens[:0],
        "outliers": found.opens[found.outliers.rows],
        "shifted_weeks": week_middle,
        "odd_weeks": week_middle[found.shifts.odd],
        "level_breaks": found.opens[found.levels.rows],
    }
    counts = {name: by_month(times, length) for name, times in opens.items()}
    counts["unsorted"] = dict(unsorted)
    counts["crossed"] = {month: int(number) for month, number in crossed.items()}
    months = sorted(set().union(*counts.values()))
    return {month: {name: counts[name].get(month, 0) for name in MONTH_COUNTS} for month in months}


def _overhang(clean: pd.DataFrame, set_aside: pd.DataFrame) -> Times:
    """Return the opens of rows outside market hours that nevertheless moved as bars of an open market do."""
    rows = set_aside[set_aside["reason"] == OUTSIDE]
    if rows.empty or clean.empty:
        return np.empty(0, dtype="datetime64[ns]")
    return np.asarray(naive_utc(rows["ts_utc"])[traded(rows, clean)])


def _week_edge_share(opens: Times, length: Timeframe) -> tuple[int, float | None]:
    """Return the number of weekends and the smaller share of opens or closes that fit; None without any or for days."""
    if length.minutes > 240 or len(opens) < 2:
        return 0, None
    opened, closed, weekends = week_edges(opens, length)
    return weekends, min(opened, closed) / weekends if weekends else None


def _iso(time: np.datetime64) -> str:
    return f"{time.astype('datetime64[s]')}Z"
