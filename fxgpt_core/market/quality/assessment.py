"""Data quality of raw bars (SPEC 1): what can be used, what is quarantined and why, what is only reported.

A row that contradicts itself or the market's hours is set aside with a reason; a strange but possible row (a jump, a
stale run) stays and is counted. Nothing is dropped silently and nothing is invented.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.common.timeframes import Timeframe, timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.quality.counts import OUTSIDE, by_month, count, find, naive_utc
from fxgpt_core.market.quality.report import QualityReport

PRICES = ("open", "high", "low", "close")
REASONS = (
    "malformed",
    "bad_time",
    "non_numeric",
    "not_positive",
    "high_below_low",
    "not_enclosing",
    OUTSIDE,
    "off_grid",
    "future",
    "duplicate",
)
"""Why a row is quarantined; the first that applies is the row's reason."""


@dataclass(frozen=True)
class Assessment:
    """`clean`: `ts_utc` (UTC), OHLC, volume and, where given, spread as float64, sorted, one row per bar.
    `quarantine`: the rows set aside as they came, with `row` (position in the input) and `reason`."""

    report: QualityReport
    clean: pd.DataFrame
    quarantine: pd.DataFrame


def assess(
    frame: pd.DataFrame,
    symbol: str,
    bar: str | Timeframe,
    config: QualityConfig | None = None,
    now: np.datetime64 | None = None,
) -> Assessment:
    """Judge raw bars: `ts_utc` (UTC-aware, NaT where unreadable), OHLC and volume as numbers or text, any order.

    Bars that close after `now` (UTC) are set aside: they run still, or their stamps are another time's.
    """
    config, length = config or QualityConfig(), timeframe(bar)
    optional = [name for name in ("volume", "spread") if name in frame.columns]
    stamps = naive_utc(frame["ts_utc"])
    values = {name: _numbers(frame[name]) for name in (*PRICES, *optional)}
    unsorted = by_month(stamps[_unsorted(stamps)], length)
    malformed = frame["malformed"].to_numpy(dtype=bool) if "malformed" in frame.columns else np.zeros(len(frame), bool)
    reason = _reasons(stamps, values, malformed, length, now)
    good = reason < 0
    order = np.flatnonzero(good)[np.argsort(stamps[good], kind="stable")]
    clean = pd.DataFrame({name: numbers[order] for name, numbers in values.items()})
    for name in optional:  # a volume or spread that is no number is unknown, which is no reason to lose the bar
        clean[name] = clean[name].where(np.isfinite(clean[name]) & (clean[name] >= 0))
    clean.insert(0, "ts_utc", pd.DatetimeIndex(stamps[order]).tz_localize("UTC"))
    quarantine = frame.loc[~good].reset_index(drop=True)
    quarantine.insert(0, "row", np.flatnonzero(~good))
    quarantine["reason"] = np.asarray(REASONS, dtype=object)[reason[~good]]
    found = find(clean, quarantine, length, config)
    return Assessment(count(symbol, length, found, quarantine, unsorted), clean, quarantine)


def assess_stored(
    candles: Candles,
    standing: pd.DataFrame,
    config: QualityConfig | None = None,
    unsorted: Mapping[str, int] | None = None,
    crossed: Mapping[str, int] | None = None,
) -> QualityReport:
    """Report on bars that were judged before, with the rows that were quarantined when they came.

    `standing`: rows with `ts_utc` (UTC-aware, may be NaT), `reason`, `high`, `low` and `volume` (numbers or text);
    `unsorted`: month -> rows that came out of order; `crossed`: month -> mid bars whose ask lies below the bid.
    """
    clean = candles.to_frame().reset_index()
    found = find(clean, standing, candles.timeframe, config or QualityConfig())
    return count(candles.symbol, candles.timeframe, found, standing, unsorted or {}, crossed)


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    return np.asarray(pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan))


def _unsorted(stamps: NDArray[np.datetime64]) -> NDArray[np.bool_]:
    """Return which rows stand behind a later one: (rows,)."""
    out = np.zeros(len(stamps), dtype=bool)
    known = np.flatnonzero(~np.isnat(stamps))
    if len(known):
        times = stamps[known]
        out[known[1:]] = times[1:] < np.maximum.accumulate(times)[:-1]
    return out


def _reasons(
    stamps: NDArray[np.datetime64],
    values: dict[str, NDArray[np.float64]],
    malformed: NDArray[np.bool_],
    length: Timeframe,
    now: np.datetime64 | None,
) -> NDArray[np.int64]:
    """Return the index into REASONS of each row, -1 for usable rows: (rows,)."""
    prices = np.stack([values[name] for name in PRICES])  # (4, rows)
    opened, high, low, close = prices
    in_calendar = ~np.isnat(stamps) & (stamps >= calendar.week_opens()[0]) & (stamps < calendar.week_opens()[-1])
    safe = np.where(in_calendar, stamps, calendar.week_opens()[0])
    finite = np.isfinite(prices).all(axis=0)
    with np.errstate(invalid="ignore"):
        tests = [
            malformed,
            ~in_calendar,
            ~finite,
            (prices <= 0).any(axis=0),
            high < low,
            (high < np.maximum(opened, close)) | (low > np.minimum(opened, close)),
            ~calendar.holds_trading(safe, length),
            calendar.bar_open(safe, length) != safe,
            safe + length.duration > now if now is not None else np.zeros(len(safe), dtype=bool),
        ]
    reason = np.select(tests, list(range(len(tests))), -1)
    good = np.flatnonzero(reason < 0)
    repeated = pd.Series(stamps[good]).duplicated(keep="last").to_numpy()  # the latest row of a bar wins
    reason[good[repeated]] = REASONS.index("duplicate")
    return np.asarray(reason, dtype=np.int64)
