"""Files of economic releases, CSV or Parquet: which column is what, on which clock, and which rows cannot be used."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.clocks.stamps import parse_stamps
from fxgpt_core.market.clocks.time_zones import parse_zone

Times = NDArray[np.datetime64]
SYNONYMS = {
    "time": ("ts_utc", "time_utc", "datetime_utc", "date_utc", "time", "datetime", "date_time", "timestamp", "start",
             "release_time", "date"),
    "clock": ("time", "hour"),
    "name": ("name", "event", "title", "description", "indicator", "release", "event_name"),
    "currency": ("currency", "ccy", "currency_code", "country", "country_code", "region"),
    "impact": ("impact", "importance", "volatility", "priority", "market_impact", "expected_impact"),
    "known_at": ("known_at", "published_at", "announced_at", "known_at_utc"),
}  # fmt: skip
"""What columns are called; the first that a file has is taken. `clock` is a time of day beside a `date`."""

IMPACTS = ("none", "low", "medium", "high")
"""Levels of impact, rising."""

REASONS = ("bad_time", "no_name", "bad_currency", "unknown_impact", "bad_known_at", "duplicate")
"""Why a row is set aside; the first that applies is the row's reason."""

_LEVELS = {
    "none": ("none", "0", "holiday", "nonmarketimpact", "noneconomic", "noimpact", "grey", "gray", "white"),
    "low": ("low", "1", "l", "yellow", "lowimpactexpected", "lowvolatilityexpected", "lowimpact"),
    "medium": ("medium", "2", "m", "med", "moderate", "mid", "orange", "mediumimpactexpected", "mediumimpact",
               "moderatevolatilityexpected"),
    "high": ("high", "3", "h", "red", "highimpactexpected", "highimpact", "highvolatilityexpected"),
}  # fmt: skip
_WORDS = {word: level for level, words in _LEVELS.items() for word in words}
_COUNTRIES = {
    "us": "USD", "usa": "USD", "unitedstates": "USD", "eu": "EUR", "emu": "EUR", "ez": "EUR", "eurozone": "EUR",
    "euroarea": "EUR", "europeanunion": "EUR", "europeanmonetaryunion": "EUR", "germany": "EUR", "de": "EUR",
    "france": "EUR", "fr": "EUR", "italy": "EUR", "it": "EUR", "spain": "EUR", "es": "EUR", "uk": "GBP", "gb": "GBP",
    "unitedkingdom": "GBP", "japan": "JPY", "jp": "JPY", "australia": "AUD", "au": "AUD", "newzealand": "NZD",
    "nz": "NZD", "canada": "CAD", "ca": "CAD", "switzerland": "CHF", "ch": "CHF", "china": "CNY", "cn": "CNY",
}  # fmt: skip


@dataclass(frozen=True)
class RawEvents:
    """Rows of a file of releases, all of them.

    `frame`: `row` (position in the file), `ts_utc` (datetime64[ns], UTC), `name`, `currency`, `impact` (one of
    `IMPACTS`), `known_at` (NaT where the file says nothing), `reason` ("" for a usable row) and, as they stood,
    `stamp`, `currency_text`, `impact_text`. `columns`: what was taken for what; `time_zone_how` says how the clock is
    known.
    """

    frame: pd.DataFrame
    columns: dict[str, str]
    time_zone: str
    time_zone_how: str


def read_events(path: Path, tz: str | None = None) -> RawEvents:
    """Read one file; raises BadInputError naming what is missing: the file, a column, or the clock of its stamps."""
    table = _read(path)
    columns = _columns(table, path)
    text = {part: table[name] for part, name in columns.items()}
    stamps, zone, how = _instants(text, columns, tz, path)
    known_at = np.full(len(table), np.datetime64("NaT"), dtype="datetime64[ns]")
    bad_known = np.zeros(len(table), dtype=bool)
    if "known_at" in text and text["known_at"].notna().any():
        parsed, _, _ = _instants({"time": text["known_at"]}, {"time": columns["known_at"]}, tz or zone, path)
        known_at, bad_known = parsed, (np.isnat(parsed) & text["known_at"].notna().to_numpy())
    frame = pd.DataFrame(
        {
            "row": np.arange(len(table)),
            "ts_utc": stamps,
            "name": text["name"].astype("string").fillna("").str.strip().str.replace(r"\s+", " ", regex=True),
            "currency": text["currency"].astype("string").fillna("").map(_currency),
            "impact": text["impact"].astype("string").fillna("").map(_impact),
            "known_at": known_at,
            "stamp": _stamp_text(text),
            "currency_text": text["currency"].astype("string").fillna(""),
            "impact_text": text["impact"].astype("string").fillna(""),
        }
    )
    return RawEvents(frame.assign(reason=_reasons(frame, bad_known)), columns, zone, how)


def normalise_currency(value: str) -> str:
    """Return the three-letter code of a currency or country; raises BadInputError for what is neither."""
    found = _currency(value)
    if not found:
        raise BadInputError(f"Unknown currency {value!r}: write three letters such as USD.")
    return found


def _currency(value: str) -> str:
    word = re.sub(r"[^a-z]", "", str(value).lower())
    return _COUNTRIES.get(word, word.upper() if len(word) == 3 else "")


def _impact(value: str) -> str:
    word = re.sub(r"[^a-z0-9]", "", str(value).lower().removesuffix(".0"))
    return _WORDS.get(word, "")


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.read_bytes()[:4] == b"PAR1":
            return pd.read_parquet(path).reset_index(drop=True)
        return pd.read_csv(path, sep=None, engine="python", dtype=str, skipinitialspace=True)
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror}.") from error
    except Exception as error:  # pandas and pyarrow raise many kinds for a file that is no table
        raise BadInputError(f"{path} is no table of events: {' '.join(str(error).split())[:200]}.") from error


def _columns(table: pd.DataFrame, path: Path) -> dict[str, str]:
    known = {re.sub(r"[^a-z0-9]+", "_", str(name).lower()).strip("_"): str(name) for name in table.columns}
    found: dict[str, str] = {}
    for part, synonyms in SYNONYMS.items():
        name = next((known[word] for word in synonyms if word in known), None)
        if name is not None:
            found[part] = name
    if "date" in known and "time" in known and found.get("time") == known["time"]:
        found["time"], found["clock"] = known["date"], known["time"]  # a day and a time of day
    elif found.get("clock") == found.get("time") or found.get("time") != known.get("date"):
        found.pop("clock", None)
    missing = [part for part in ("time", "name", "currency", "impact") if part not in found]
    if missing:
        raise BadInputError(
            f"{path} has no column for {', '.join(missing)}: it has {', '.join(map(str, table.columns))}; name them "
            "time, name, currency and impact."
        )
    if table.empty:
        raise BadInputError(f"{path} holds no rows.")
    return found


def _instants(
    text: dict[str, pd.Series], columns: dict[str, str], tz: str | None, path: Path
) -> tuple[Times, str, str]:
    """Return the UTC instants of stamps, the clock and how it is known."""
    column = text["time"]
    if "clock" in text:
        column = text["time"].astype("string") + " " + text["clock"].astype("string")
    stamps = parse_stamps(column, str(path))
    if stamps.is_utc:
        return stamps.times, "UTC", f"the stamps say so ({stamps.format})"
    if re.search(r"(^|[^a-z])utc([^a-z]|$)", columns["time"].lower()):
        return stamps.times, "UTC", f"the column {columns['time']} says so"
    if tz is None:
        raise BadInputError(
            f"{path}: the stamps of {columns['time']} name no time zone; say it with --tz, for example --tz UTC or "
            "--tz America/New_York."
        )
    zone = parse_zone(tz)
    return zone.to_utc(stamps.times), zone.name, "as given"


def _stamp_text(text: dict[str, pd.Series]) -> pd.Series:
    stamp = text["time"].astype("string").fillna("")
    return stamp + " " + text["clock"].astype("string").fillna("") if "clock" in text else stamp


def _reasons(frame: pd.DataFrame, bad_known: NDArray[np.bool_]) -> NDArray[np.str_]:
    """Return why each row is set aside, "" for usable rows; of equal releases the last row stands: (rows,)."""
    time = frame["ts_utc"].to_numpy()
    outside = np.isnat(time) | (time < np.datetime64("1970-01-04")) | (time >= np.datetime64("2100-01-01"))
    tests = [outside, frame["name"] == "", frame["currency"] == "", frame["impact"] == "", bad_known]
    reason = np.select([np.asarray(test, dtype=bool) for test in tests], REASONS[:-1], "")
    usable = np.flatnonzero(reason == "")
    repeated = frame.iloc[usable].duplicated(["ts_utc", "currency", "name"], keep="last").to_numpy()
    reason = reason.astype("U16")
    reason[usable[repeated]] = "duplicate"
    return reason
