"""`read_file`: a file of bars as raw rows in UTC, with what was recognised and how it is known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.symbols import CURRENCIES, normalise_symbol
from fxgpt_core.common.timeframes import TIMEFRAMES, Timeframe
from fxgpt_core.common.timeframes import timeframe as parse_timeframe
from fxgpt_core.market.candles import SIDES
from fxgpt_core.market.instruments import instrument
from fxgpt_core.market.layouts import RawTable, read_table
from fxgpt_core.market.quality import PRICES
from fxgpt_core.market.stamps import Stamps, parse_stamps
from fxgpt_core.market.time_zones import UTC, infer_zone, parse_zone
from fxgpt_core.market.zones import Times

_SPACING = {bar.minutes: bar for bar in TIMEFRAMES.values() if bar.code != "1w"} | {10080: TIMEFRAMES["1w"]}


@dataclass(frozen=True)
class RawBars:
    """Rows of one file, unjudged.

    `frame`: `ts_utc` (UTC, NaT where unreadable), OHLC, optional volume and spread in price units, `malformed`, and
    `stamp` as it stood in the file. `time_zone_how` and `side_how` say how that is known.
    """

    frame: pd.DataFrame
    symbol: str
    timeframe: Timeframe
    side: str
    side_how: str
    layout: str
    time_zone: str
    time_zone_how: str
    path: Path
    checksum: str


def read_file(
    path: str | Path,
    *,
    symbol: str | None = None,
    layout: str | None = None,
    tz: str | None = None,
    side: str | None = None,
    timeframe: str | Timeframe | None = None,
) -> RawBars:
    """Read a CSV, HistData, MetaTrader or Parquet file of bars; what is not given is recognised.

    Raises BadInputError with one sentence when the file, or what it is, cannot be told.
    """
    path = Path(path)
    pair = normalise_symbol(symbol) if symbol is not None else symbol_in_name(path)
    if side is not None and side not in SIDES:
        raise BadInputError(f"Unknown price side {side!r}: use one of {', '.join(SIDES)}.")
    zone = parse_zone(tz) if tz is not None else None
    table = read_table(path, layout)
    if pair is None:
        raise BadInputError(f"The name of {path} names no currency pair: say which it is, for example --symbol EURUSD.")
    stamps = parse_stamps(table.frame["stamp"].where(~table.frame["malformed"]), str(path))
    distinct = np.unique(stamps.times[~np.isnat(stamps.times)])
    length = _length(distinct, timeframe, path)
    if stamps.is_utc:
        times, name, how = stamps.times, "UTC", f"the stamps say so ({stamps.format})"
    elif zone is not None:
        times, name, how = zone.to_utc(stamps.times), zone.name, "as given"
    elif table.named_utc:
        times, name, how = stamps.times, "UTC", "the name of the time column says so"
    else:
        try:
            found, how = infer_zone(distinct, length)
        except BadInputError as error:
            raise BadInputError(f"{path}: {error}") from error
        times, name = found.to_utc(stamps.times), found.name
    return _assemble(path, table, stamps, times, pair, length, side, (name, how))


def _assemble(
    path: Path,
    table: RawTable,
    stamps: Stamps,
    times: Times,
    symbol: str,
    length: Timeframe,
    side: str | None,
    zone: tuple[str, str],
) -> RawBars:
    frame = table.frame.copy()
    frame.insert(0, "ts_utc", pd.DatetimeIndex(times).tz_localize(UTC.name))
    layout = _unscale(frame, table.layout, symbol)
    known_side, side_how = _side(path, side)
    return RawBars(frame, symbol, length, known_side, side_how, layout, *zone, path, table.checksum)


def symbol_in_name(path: Path) -> str | None:
    """Return the pair that a file's name contains (`DAT_ASCII_EURUSD_M1`, `eur-usd.csv`), None when there is none."""
    text = path.stem.upper()
    for match in re.finditer(r"(?=([A-Z]{3})[ _/-]?([A-Z]{3}))", text):
        base, quote = match.groups()
        if base in CURRENCIES and quote in CURRENCIES and base != quote:
            return base + quote
    return None


def _length(distinct: Times, given: str | Timeframe | None, path: Path) -> Timeframe:
    """Return the bar length: the commonest distance between stamps, which must agree with what was given."""
    wanted = parse_timeframe(given) if given is not None else None
    if len(distinct) < 2:
        if wanted is None:
            raise BadInputError(f"{path} has fewer than two readable time stamps: name its bars with --timeframe.")
        return wanted
    steps, counts = np.unique(np.diff(distinct), return_counts=True)
    minutes = steps[counts.argmax()] / np.timedelta64(1, "m")
    found = _SPACING.get(int(minutes)) if minutes == int(minutes) else None
    if found is None:
        raise BadInputError(f"{path}: bars are mostly {minutes:g} minutes apart, which is no timeframe of ours.")
    if wanted is not None and wanted != found:
        raise BadInputError(f"{path}: bars are mostly {found} apart, not {wanted} as given.")
    return found


def _side(path: Path, given: str | None) -> tuple[str, str]:
    if given is not None:
        return given, "as given"
    words = re.split(r"[^a-z]+", path.stem.lower())
    found = [side for side in SIDES if side in words]
    if len(found) == 1:
        return found[0], "from the file name"
    return "bid", "assumed: platforms export bid bars"


def _unscale(frame: pd.DataFrame, layout: str, symbol: str) -> str:
    """Turn points into prices in place where the file holds points, and a spread in points into price units."""
    pair = instrument(symbol)
    prices = frame[list(PRICES)].apply(pd.to_numeric, errors="coerce")
    usable = prices[np.isfinite(prices).all(axis=1)]
    whole = np.abs(usable - usable.round()).max(axis=1) < 1e-6
    in_points = layout == "mt5_points" or (layout in ("csv", "parquet") and _looks_like_points(usable, whole))
    if in_points:
        frame[list(PRICES)] = (prices * pair.point).round(pair.digits).where(prices.notna(), frame[list(PRICES)])
        layout = "mt5_points" if layout == "csv" else layout
    if "spread" in frame.columns:
        spread = pd.to_numeric(frame["spread"], errors="coerce")
        known = spread[np.isfinite(spread)]
        if len(known) and (known == known.round()).all() and known.max() >= 1:
            frame["spread"] = (spread * pair.point).round(pair.digits)
    return layout


def _looks_like_points(usable: pd.DataFrame, whole: pd.Series) -> bool:
    return len(usable) > 0 and bool(whole.mean() > 0.99) and float(usable["close"].median()) >= 10_000
