"""Data quality of raw bars (SPEC 1): what can be used, what is quarantined and why, what is only reported.

A row that contradicts itself or the market's hours is set aside with a reason; a strange but possible row (a jump, a
stale run) stays and is counted. Nothing is dropped silently and nothing is invented.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.common.timeframes import Timeframe, timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.market_hours import market_hours
from fxgpt_core.market.time_zones import week_edges

PRICES = ("open", "high", "low", "close")
REASONS = (
    "malformed",
    "bad_time",
    "non_numeric",
    "not_positive",
    "high_below_low",
    "not_enclosing",
    "outside_market_hours",
    "off_grid",
    "duplicate",
)
"""Why a row is quarantined; the first that applies is the row's reason."""


@dataclass(frozen=True)
class QualityReport:
    """Counts of one assessment.

    `rows` given = `usable` + sum of `quarantined` (by reason). `unsorted` rows were sorted, not lost. `expected` are
    the market-hour bars from the first to the last usable one, `missing` those without a row (holidays left out),
    `gaps` the runs of missing bars, `coverage` = 1 - missing / expected. `weekends` inside the data; `week_edges`: the
    share of weekly opens or of weekly closes that fit the FX week, the smaller of the two. `months`: per month of
    known_at its usable, missing, quarantined, outlier and stale counts.
    """

    symbol: str
    timeframe: str
    rows: int
    usable: int
    quarantined: dict[str, int]
    unsorted: int
    expected: int
    missing: int
    gaps: int
    longest_gap_bars: int
    coverage: float
    outliers: int
    stale_runs: int
    weekends: int
    week_edges: float | None
    first: str | None
    last: str | None
    months: dict[str, dict[str, int]]

    @property
    def quarantined_share(self) -> float:
        """Quarantined rows as a share of the rows given."""
        return sum(self.quarantined.values()) / self.rows if self.rows else 0.0

    @property
    def time_zone_suspect(self) -> bool:
        """Whether the stamps look like another clock's: weeks begin late or end early, and overhang on the other side.

        A venue that only opens late or closes early has no bars outside market hours and is not suspected.
        """
        if self.week_edges is None or self.week_edges >= 0.5:
            return False
        return self.quarantined.get("outside_market_hours", 0) >= 0.5 * self.weekends

    def failures(self, config: QualityConfig) -> list[str]:
        """Return one sentence per limit of `config` that is exceeded; empty when the data may be used."""
        found = []
        if self.usable == 0:
            found.append(f"{self.symbol} {self.timeframe} has no usable bar.")
        if self.expected and self.missing / self.expected > config.max_missing_share:
            found.append(
                f"{self.missing} of {self.expected} market-hour bars are missing "
                f"({self.missing / self.expected:.1%}, limit {config.max_missing_share:.1%})."
            )
        if self.quarantined_share > config.max_quarantined_share:
            reasons = ", ".join(f"{name} {count}" for name, count in self.quarantined.items())
            found.append(
                f"{self.quarantined_share:.1%} of {self.rows} rows are quarantined "
                f"(limit {config.max_quarantined_share:.1%}): {reasons}."
            )
        if self.time_zone_suspect and config.block_on_suspect_time_zone:
            found.append(
                f"Only {self.week_edges or 0:.0%} of the weeks fit Sunday to Friday 17:00 New York and bars lie "
                "outside them: the time zone of the stamps is probably wrong."
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        derived = {"quarantined_share": self.quarantined_share, "time_zone_suspect": self.time_zone_suspect}
        return asdict(self) | derived

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> QualityReport:
        """Rebuild a report from `to_dict`."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})


@dataclass(frozen=True)
class Assessment:
    """`clean`: `ts_utc` (UTC), OHLC, volume and, where given, spread as float64, sorted, one row per bar.
    `quarantine`: the rows set aside as they came, with `row` (position in the input) and `reason`."""

    report: QualityReport
    clean: pd.DataFrame
    quarantine: pd.DataFrame


def assess(frame: pd.DataFrame, symbol: str, bar: str | Timeframe, config: QualityConfig | None = None) -> Assessment:
    """Judge raw bars: `ts_utc` (UTC-aware, NaT where unreadable), OHLC and volume as numbers or text, any order."""
    config, length = config or QualityConfig(), timeframe(bar)
    optional = [name for name in ("volume", "spread") if name in frame.columns]
    stamps = pd.to_datetime(frame["ts_utc"], utc=True).dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
    values = {name: _numbers(frame[name]) for name in (*PRICES, *optional)}
    unsorted = _unsorted(stamps)
    malformed = frame["malformed"].to_numpy(dtype=bool) if "malformed" in frame.columns else np.zeros(len(frame), bool)
    reason = _reasons(stamps, values, malformed, length)
    good = reason < 0
    order = np.flatnonzero(good)[np.argsort(stamps[good], kind="stable")]
    clean = pd.DataFrame({name: numbers[order] for name, numbers in values.items()})
    for name in optional:  # a volume or spread that is no number is unknown, which is no reason to lose the bar
        clean[name] = clean[name].where(np.isfinite(clean[name]) & (clean[name] >= 0))
    clean.insert(0, "ts_utc", pd.DatetimeIndex(stamps[order]).tz_localize("UTC"))
    quarantine = frame.loc[~good].reset_index(drop=True)
    quarantine.insert(0, "row", np.flatnonzero(~good))
    quarantine["reason"] = np.asarray(REASONS, dtype=object)[reason[~good]]
    report = _report(symbol, length, clean, quarantine, unsorted, config)
    return Assessment(report, clean, quarantine)


def merge_quarantined(report: QualityReport, quarantined: dict[str, int]) -> QualityReport:
    """Return the report of stored bars with the rows that were quarantined when they came in."""
    return replace(report, quarantined=dict(quarantined), rows=report.usable + sum(quarantined.values()))


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    return np.asarray(pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan))


def _unsorted(stamps: NDArray[np.datetime64]) -> int:
    known = stamps[~np.isnat(stamps)]
    return int((known[1:] < np.maximum.accumulate(known)[:-1]).sum()) if len(known) else 0


def _reasons(
    stamps: NDArray[np.datetime64],
    values: dict[str, NDArray[np.float64]],
    malformed: NDArray[np.bool_],
    length: Timeframe,
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
        ]
    reason = np.select(tests, list(range(len(tests))), -1)
    good = np.flatnonzero(reason < 0)
    repeated = pd.Series(stamps[good]).duplicated(keep="last").to_numpy()  # the latest row of a bar wins
    reason[good[repeated]] = REASONS.index("duplicate")
    return np.asarray(reason, dtype=np.int64)


def _report(
    symbol: str,
    length: Timeframe,
    clean: pd.DataFrame,
    quarantine: pd.DataFrame,
    unsorted: int,
    config: QualityConfig,
) -> QualityReport:
    opens = clean["ts_utc"].dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
    expected, missing, gaps = _missing(opens, length, config)
    outlier = _outliers(opens, clean["close"].to_numpy(), length, config)
    stale = _stale_starts(clean, config)
    weekends, edges = _week_edge_share(opens, length)
    reasons = {name: int((quarantine["reason"] == name).sum()) for name in REASONS}
    set_aside = pd.to_datetime(quarantine["ts_utc"], utc=True).dropna().dt.tz_localize(None)
    return QualityReport(
        symbol=symbol,
        timeframe=length.code,
        rows=len(clean) + len(quarantine),
        usable=len(clean),
        quarantined={name: count for name, count in reasons.items() if count},
        unsorted=unsorted,
        expected=expected,
        missing=len(missing),
        gaps=len(gaps),
        longest_gap_bars=int(gaps.max()) if len(gaps) else 0,
        coverage=1 - len(missing) / expected if expected else 0.0,
        outliers=len(outlier),
        stale_runs=len(stale),
        weekends=weekends,
        week_edges=edges,
        first=f"{opens[0].astype('datetime64[s]')}Z" if len(opens) else None,
        last=f"{(opens[-1] + length.duration).astype('datetime64[s]')}Z" if len(opens) else None,
        months=_by_month(
            length,
            usable=opens,
            missing=missing,
            quarantined=set_aside.to_numpy(dtype="datetime64[ns]"),
            outliers=outlier,
            stale_runs=stale,
        ),
    )


def _missing(
    opens: NDArray[np.datetime64], length: Timeframe, config: QualityConfig
) -> tuple[int, NDArray[np.datetime64], NDArray[np.int64]]:
    """Return the number of bars expected, the opens of those that are missing, and the lengths of the gaps in bars."""
    if not len(opens):
        return 0, opens, np.empty(0, dtype=np.int64)
    grid = calendar.bar_opens(opens[0], opens[-1] + length.duration, length)
    holiday = ~market_hours(config.market_hours).holds_trading(grid, length)
    absent = ~np.isin(grid, opens, assume_unique=True) & ~holiday
    edges = np.flatnonzero(np.diff(np.r_[0, absent.astype(np.int8), 0]))
    return int((~holiday).sum()), grid[absent], (edges[1::2] - edges[::2]).astype(np.int64)


def _outliers(
    opens: NDArray[np.datetime64], close: NDArray[np.float64], length: Timeframe, config: QualityConfig
) -> NDArray[np.datetime64]:
    """Return the opens of bars whose log return from the previous bar is implausibly large; week opens are left out."""
    if len(opens) < 3:
        return opens[:0]
    returns = np.abs(np.diff(np.log(close)))
    same_week = calendar.week_open(opens[1:]) == calendar.week_open(opens[:-1])
    typical = returns[same_week].mean() if same_week.any() else np.inf
    return np.asarray(opens[1:][same_week & (returns > config.outlier_scales * typical)])


def _stale_starts(clean: pd.DataFrame, config: QualityConfig) -> NDArray[np.datetime64]:
    """Return the opens of the bars that start a run of at least `stale_bars` bars at one and the same price."""
    close = clean["close"].to_numpy()
    flat = (clean["high"].to_numpy() == clean["low"].to_numpy()) & (close == np.r_[np.nan, close[:-1]])
    edges = np.flatnonzero(np.diff(np.r_[0, flat.astype(np.int8), 0]))
    starts, ends = edges[::2], edges[1::2]
    stamps = clean["ts_utc"].dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
    return np.asarray(stamps[starts[ends - starts >= config.stale_bars]])


def _week_edge_share(opens: NDArray[np.datetime64], length: Timeframe) -> tuple[int, float | None]:
    """Return the number of weekends and the smaller share of opens or closes that fit; None without any or for days."""
    if length.minutes > 240 or len(opens) < 2:
        return 0, None
    opened, closed, weekends = week_edges(opens, length)
    return weekends, min(opened, closed) / weekends if weekends else None


def _by_month(length: Timeframe, **events: NDArray[np.datetime64]) -> dict[str, dict[str, int]]:
    """Return the counts of each kind of bar per month of known_at; the arrays are bar opens."""
    out: dict[str, dict[str, int]] = {}
    for name, opens in events.items():
        months, counts = np.unique((opens + length.duration).astype("datetime64[M]"), return_counts=True)
        for month, count in zip(months, counts, strict=True):
            out.setdefault(str(month), dict.fromkeys(events, 0))[name] = int(count)
    return dict(sorted(out.items()))
