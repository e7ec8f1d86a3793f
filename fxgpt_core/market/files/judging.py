"""Raw bars judged: one side's as they are, both sides' row by row and then combined to mid bars with spreads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.files.layouts.layout import OHLC
from fxgpt_core.market.files.reading import RawBars
from fxgpt_core.market.quality.assessment import Assessment, assess
from fxgpt_core.market.sides import combine_sides


def judge(raw: RawBars, quality: QualityConfig, now: np.datetime64 | None = None) -> tuple[Candles | None, Assessment]:
    """Return the usable bars (None without any) and the assessment; quarantined rows have their line in the file.

    Bars that close after `now` (UTC) cannot be used.
    """
    if raw.side == "both":
        return _judge_sides(raw, quality, now)
    judged = with_lines(assess(raw.frame, raw.symbol, raw.timeframe, quality, now), raw.frame["line"])
    return _candles(judged, raw, raw.side), judged


def with_lines(judged: Assessment, line: pd.Series) -> Assessment:
    """Return the assessment with the lines that the quarantined rows have in their file as `row`."""
    rows = judged.quarantine["row"].to_numpy()
    return replace(judged, quarantine=judged.quarantine.assign(row=line.to_numpy()[rows]))


def unreadable_volumes(raw: RawBars) -> list[str]:
    """Return a warning where volumes are no numbers: they are unknown in the lake."""
    if "volume" not in raw.frame or pd.api.types.is_numeric_dtype(raw.frame["volume"]):
        return []
    text = raw.frame["volume"].astype("string").str.strip()
    lost = text.notna() & (text != "") & pd.to_numeric(text, errors="coerce").isna() & raw.frame["ts_utc"].notna()
    if not lost.any():
        return []
    return [f"Volumes that are no numbers, such as {text[lost].iloc[0]!r}, count as unknown: {int(lost.sum())}."]


def _candles(judged: Assessment, raw: RawBars, side: str) -> Candles | None:
    if judged.report.usable == 0:
        return None
    return Candles.from_frame(judged.clean, raw.symbol, raw.timeframe, side)


def _judge_sides(raw: RawBars, quality: QualityConfig, now: np.datetime64 | None) -> tuple[Candles | None, Assessment]:
    """Judge rows with bid and ask: a row that is bad on either side is set aside as it stood there."""
    frame = raw.frame
    rest = frame[[name for name in ("line", "ts_utc", "stamp", "volume", "malformed") if name in frame]]
    sides = {side: rest.assign(**{name: frame[f"{side}_{name}"] for name in OHLC}) for side in ("bid", "ask")}
    judged = {side: assess(rows, raw.symbol, raw.timeframe, quality, now) for side, rows in sides.items()}
    candles = {side: _candles(answer, raw, side) for side, answer in judged.items()}
    mid = None
    if candles["bid"] is not None and candles["ask"] is not None:
        mid = combine_sides(candles["bid"], candles["ask"])
    both = _mid_rows(sides["bid"], mid)
    for (
        side,
        answer,
    ) in judged.items():  # a bad row keeps the values of the side that is bad, the bid's before the ask's
        bad = answer.quarantine.loc[answer.quarantine["reason"] != "duplicate", "row"].to_numpy()
        if side == "ask":
            bad = bad[~np.isin(bad, judged["bid"].quarantine["row"])]
        for name in OHLC:
            column = both[name].astype(object)
            column.iloc[bad] = sides[side][name].iloc[bad]
            both[name] = column
    whole = with_lines(assess(both, raw.symbol, raw.timeframe, quality, now), frame["line"])
    return _candles(whole, raw, "mid"), whole


def _mid_rows(rows: pd.DataFrame, mid: Candles | None) -> pd.DataFrame:
    """Return rows with the mid prices and spread of their bar."""
    values = {name: np.full(len(rows), np.nan) for name in (*OHLC, "spread")}
    if mid is not None and len(mid):
        stamps = rows["ts_utc"].dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
        at = np.minimum(np.searchsorted(mid.ts_utc, stamps), len(mid) - 1)
        known = mid.ts_utc[at] == stamps
        for name, column in values.items():
            column[known] = getattr(mid, name)[at[known]]
    return rows.assign(**values)
