"""Ticks of files become bars; ticks that cannot be used are set aside with their reason."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.files.reading import RawBars
from fxgpt_core.market.ticks import bars_from_ticks

_MINUTE = np.timedelta64(60_000_000_000, "ns")


def bars_of(raws: Sequence[RawBars], bar: Timeframe) -> tuple[Candles, pd.DataFrame, int]:
    """Return the bars of several files' ticks together, the ticks set aside, and how many out of order were sorted.

    A bar whose ends no file covers is left out, as one that may be partial: a file that does not say its span covers
    from the minute of its first tick to the end of that of its last.
    """
    times, bids, asks, aside, spans = [], [], [], [], []
    for raw in raws:
        frame = raw.frame
        stamps = frame["ts_utc"].dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
        bid, ask = (_floats(frame[name]) for name in ("bid", "ask"))
        reason = _reasons(stamps, bid, ask, frame["malformed"].to_numpy(dtype=bool))
        good = reason == ""
        times.append(stamps[good])
        bids.append(bid[good])
        asks.append(ask[good])
        aside.append(_aside(frame[~good], reason[~good]))
        if raw.period is not None:
            spans.append(raw.period)
        elif good.any():
            first, last = times[-1].min().astype("datetime64[m]"), times[-1].max().astype("datetime64[m]")
            spans.append((first.astype("datetime64[ns]"), last.astype("datetime64[ns]") + _MINUTE))
    stamps, bid, ask = np.concatenate(times), np.concatenate(bids), np.concatenate(asks)
    disorder = int((stamps[1:] < np.maximum.accumulate(stamps)[:-1]).sum()) if len(stamps) else 0
    if disorder:
        order = np.argsort(stamps, kind="stable")
        stamps, bid, ask = stamps[order], bid[order], ask[order]
    candles = bars_from_ticks(stamps, bid, ask, raws[0].symbol, bar)
    return candles.take(_covered(candles, spans)), pd.concat(aside, ignore_index=True), disorder


def _reasons(
    stamps: NDArray[np.datetime64], bid: NDArray[np.float64], ask: NDArray[np.float64], malformed: NDArray[np.bool_]
) -> NDArray[np.str_]:
    with np.errstate(invalid="ignore"):
        tests = {
            "malformed": malformed,
            "bad_time": np.isnat(stamps) | (stamps < calendar.week_opens()[0]) | (stamps >= calendar.week_opens()[-1]),
            "non_numeric": ~(np.isfinite(bid) & np.isfinite(ask)),
            "not_positive": (bid <= 0) | (ask <= 0),
        }
    return np.select(list(tests.values()), list(tests), "")


def _aside(rows: pd.DataFrame, reason: NDArray[np.str_]) -> pd.DataFrame:
    """Return ticks for the quarantine: the stamp with both prices behind it, as it stood in the file."""
    stamp = rows["stamp"].astype(str)
    whole = stamp + "," + rows["bid"].astype(str) + "," + rows["ask"].astype(str)
    return pd.DataFrame(
        {
            "row": rows["line"].to_numpy(),
            "ts_utc": rows["ts_utc"].to_numpy() if rows.empty else rows["ts_utc"],
            "stamp": stamp.where(rows["malformed"], whole),
            "reason": reason,
        }
    ).reset_index(drop=True)


def _covered(candles: Candles, spans: Sequence[tuple[np.datetime64, np.datetime64]]) -> NDArray[np.bool_]:
    """Return which bars lie, as far as the market is open, in the spans that the files cover."""
    opens, closes = candles.ts_utc, candles.known_at
    joined: list[tuple[np.datetime64, np.datetime64]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    covered = np.zeros(len(opens), dtype=bool)
    week_open, week_close = calendar.week_open(opens), calendar.week_close(opens)
    for start, end in joined:
        # The week's first tick comes minutes after its open, its last minutes before its close.
        from_open = (opens >= start) | ((opens == week_open) & (closes > start))
        to_close = (closes <= end) | ((closes >= week_close) & (opens < end))
        covered |= from_open & to_close
    return covered


def _floats(column: pd.Series) -> NDArray[np.float64]:
    return np.asarray(pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan))
