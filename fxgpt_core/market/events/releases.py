"""The economic calendar: scheduled releases in the lake, by currency and year (SPEC 20)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.common.hashing import bytes_hash, stable_hash
from fxgpt_core.market.events.files import IMPACTS, RawEvents, normalise_currency, read_events
from fxgpt_core.market.events.times import suspicious_times, warnings
from fxgpt_core.market.lake import Lake, Manifest, PartEntry

EVENTS, EVENTS_QUARANTINE = "events", "events_quarantine"
SCHEMA = pa.schema(
    [
        ("ts_utc", pa.timestamp("us", tz="UTC")),
        ("name", pa.string()),
        ("impact", pa.string()),
        ("known_at", pa.timestamp("us", tz="UTC")),
        ("source", pa.string()),
    ]
)
"""Arrow schema of releases at rest; `known_at` is null where the source does not say when a date was announced."""

_DEFINITION = stable_hash({"events": 1})
_MANY_REMOVED = 0.1  # of the rows of a file; a few releases move every month


@dataclass(frozen=True)
class Events:
    """Scheduled releases, ascending in time: `ts_utc` (releases,) datetime64[ns] UTC, `name`, `currency` and `impact`
    (one of `IMPACTS`) (releases,) text, `known_at` (releases,) datetime64[ns], NaT where unknown: since when the date
    of the release was public. Raises DataError when the arrays contradict each other."""

    ts_utc: NDArray[np.datetime64]
    name: NDArray[np.object_]
    currency: NDArray[np.object_]
    impact: NDArray[np.object_]
    known_at: NDArray[np.datetime64]

    def __post_init__(self) -> None:
        lengths = {len(values) for values in (self.ts_utc, self.name, self.currency, self.impact, self.known_at)}
        if len(lengths) != 1:
            raise DataError(f"Events have columns of {sorted(lengths)} rows: every release needs all of them.")
        if np.isnat(self.ts_utc).any() or (np.diff(self.ts_utc) < np.timedelta64(0, "ns")).any():
            raise DataError("Events are not sorted by a known time: sort them and set unknown times aside.")
        strange = sorted(set(self.impact) - set(IMPACTS))
        if strange:
            raise DataError(f"Events have impact {strange[0]!r}: use one of {', '.join(IMPACTS)}.")

    def __len__(self) -> int:
        return len(self.ts_utc)


@dataclass(frozen=True)
class EventsImport:
    """What an import of releases recognised and did: `rows_read` = `rows_imported` + sum of `quarantined` (by reason);
    `rows_changed` releases of the lake were added, changed or, being gone from the source, removed; `rows_removed` of
    them were removed."""

    path: str
    source: str
    columns: dict[str, str]
    time_zone: str
    time_zone_how: str
    rows_read: int
    rows_imported: int
    rows_changed: int
    quarantined: dict[str, int]
    currencies: dict[str, int]
    impacts: dict[str, int]
    first: str
    last: str
    suspicious: int
    warnings: tuple[str, ...]
    rows_removed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-able values."""
        return {**asdict(self), "warnings": list(self.warnings)}


def import_events(lake: Lake, path: str | Path, source: str | None = None, tz: str | None = None) -> EventsImport:
    """Import a CSV or Parquet file of releases; columns and clock are recognised, `tz` names a clock that is not.

    `source` (default: the file's name without numbers) identifies who published them: a newer file of a source takes
    the place of what it said of the same span and of the currencies that it names, so that a release which was moved is
    not there twice. Importing a file again changes nothing. Raises BadInputError, with the lake as it was, when nothing
    can be used.
    """
    path = Path(path)
    raw, name = read_events(path, tz), _source_name(source or _stem(path))
    checksum = bytes_hash(path.read_bytes())
    good = raw.frame[raw.frame["reason"] == ""].sort_values(["ts_utc", "name"], kind="stable")
    counts = {str(reason): int(n) for reason, n in raw.frame["reason"].value_counts().items() if reason}
    if good.empty:
        told = ", ".join(f"{count} {reason}" for reason, count in counts.items())
        raise BadInputError(f"{path}: none of {len(raw.frame)} rows can be used ({told}); the lake is as it was.")
    _quarantine(lake, raw, name, checksum)
    span = good["ts_utc"].iloc[0].to_datetime64(), good["ts_utc"].iloc[-1].to_datetime64()
    facts = {"name": path.name, "source": name, "rows": len(raw.frame), "time_zone": raw.time_zone}
    stored = [
        _store(lake, currency, good[good["currency"] == currency], name, span, checksum, facts)
        for currency in sorted(set(good["currency"]))
    ]
    changed, removed = (sum(counts) for counts in zip(*stored, strict=True))
    suspicious = suspicious_times(good)
    remarks = warnings(good, suspicious)
    if removed > _MANY_REMOVED * len(good):
        remarks = [*remarks, f"Releases that {name} named before are not in this file and were removed: {removed}."]
    return EventsImport(
        path=str(path),
        source=name,
        columns=raw.columns,
        time_zone=raw.time_zone,
        time_zone_how=raw.time_zone_how,
        rows_read=len(raw.frame),
        rows_imported=len(good),
        rows_changed=changed,
        quarantined=counts,
        currencies={str(c): int(n) for c, n in good["currency"].value_counts().sort_index().items()},
        impacts={level: int((good["impact"] == level).sum()) for level in IMPACTS},
        first=f"{span[0].astype('datetime64[s]')}Z",
        last=f"{span[1].astype('datetime64[s]')}Z",
        suspicious=len(suspicious.rows),
        warnings=tuple(remarks),
        rows_removed=removed,
    )


def load_events(
    lake: Lake,
    currencies: Sequence[str],
    start: np.datetime64 | None = None,
    end: np.datetime64 | None = None,
    impacts: Sequence[str] | None = None,
) -> Events:
    """Return the releases of some currencies in [start, end) (UTC; None is open), of some impacts (default all).

    Of several sources that name the same release at the same time one row is returned, the first source by name.
    Raises DataError naming a currency of which the lake has no releases, BadInputError for an unknown impact.
    """
    wanted = [normalise_currency(currency) for currency in currencies]
    strange = sorted(set(impacts or ()) - set(IMPACTS))
    if strange or not wanted:
        what = f"unknown impact {strange[0]!r}, use {', '.join(IMPACTS)}" if strange else "no currency was named"
        raise BadInputError(f"Events cannot be chosen: {what}.")
    first = np.datetime64(start, "ns") if start is not None else np.datetime64("1970-01-01", "ns")
    last = np.datetime64(end, "ns") if end is not None else np.datetime64("2101-01-01", "ns")
    frames = [_read(lake, currency, first, last) for currency in dict.fromkeys(wanted)]
    both = pd.concat(frames, ignore_index=True)
    both = both[(both["ts_utc"] >= first) & (both["ts_utc"] < last)]
    if impacts is not None:
        both = both[both["impact"].isin(list(impacts))]
    both = both.sort_values(["ts_utc", "currency", "name", "source"], kind="stable")
    both = both.drop_duplicates(["ts_utc", "currency", "name"])
    return Events(
        ts_utc=both["ts_utc"].to_numpy(dtype="datetime64[ns]"),
        name=both["name"].to_numpy(dtype=object),
        currency=both["currency"].to_numpy(dtype=object),
        impact=both["impact"].to_numpy(dtype=object),
        known_at=both["known_at"].to_numpy(dtype="datetime64[ns]"),
    )


def _read(lake: Lake, currency: str, first: np.datetime64, last: np.datetime64) -> pd.DataFrame:
    keys = {"currency": currency}
    parts = lake.parts(EVENTS, keys)
    if not parts:
        held = ", ".join(sorted(found["currency"] for found in lake.keys(EVENTS))) or "of none"
        raise DataError(f"The lake has no events of {currency}, only {held}: import them (fxgpt events import FILE).")
    years = [part for part in parts if first.astype("datetime64[Y]") <= np.datetime64(part[5:], "Y") <= last]
    tables = lake.read(EVENTS, keys, years) if years else SCHEMA.empty_table()
    return _frame(tables).assign(currency=currency)


def _frame(table: pa.Table) -> pd.DataFrame:
    """Return releases with naive UTC times in nanoseconds."""
    frame = table.to_pandas()
    for name in ("ts_utc", "known_at"):
        frame[name] = frame[name].dt.tz_localize(None).astype("datetime64[ns]")
    return frame


def _table(frame: pd.DataFrame) -> pa.Table:
    times = {
        name: pa.array(frame[name].astype("datetime64[us]"), pa.timestamp("us")) for name in ("ts_utc", "known_at")
    }
    text = {name: pa.array(frame[name].astype(object), pa.string()) for name in ("name", "impact", "source")}
    return pa.table([{**times, **text}[field.name].cast(field.type) for field in SCHEMA], schema=SCHEMA)


def _store(
    lake: Lake,
    currency: str,
    rows: pd.DataFrame,
    source: str,
    span: tuple[np.datetime64, np.datetime64],
    checksum: str,
    facts: Mapping[str, Any],
) -> tuple[int, int]:
    """Replace what `source` said of `span` by `rows`, year by year; returns how many releases changed, and how many of
    these were removed."""
    keys = {"currency": currency}
    with lake.lock(EVENTS, keys):
        manifest = lake.read_manifest(EVENTS, keys) or Manifest("", _DEFINITION)
        parts, changed, removed = dict(manifest.parts), 0, 0
        for year in np.arange(np.datetime64(span[0], "Y"), np.datetime64(span[1], "Y") + 1):
            part = f"year={year}"
            held = part in lake.parts(EVENTS, keys)
            old = _frame(lake.read(EVENTS, keys, [part]) if held else SCHEMA.empty_table())
            new = _merged(old, rows[rows["ts_utc"].to_numpy().astype("datetime64[Y]") == year], source, span)
            difference, gone = _difference(old, new)
            changed, removed = changed + difference, removed + gone
            if difference and new.empty:
                lake.remove(EVENTS, keys, [part])
                parts.pop(part, None)
            elif difference:
                lake.write(EVENTS, keys, part, _table(new))
            if len(new):
                parts[part] = PartEntry(_checksum(new), len(new))
        if not parts or not (changed or (len(rows) and checksum not in manifest.inputs)):
            return changed, removed
        files = {**manifest.extra.get("files", {}), **({checksum: dict(facts)} if len(rows) else {})}
        inputs = {check: str(file["name"]) for check, file in files.items()}
        content = stable_hash({name: entry.checksum for name, entry in parts.items()})
        lake.write_manifest(EVENTS, keys, Manifest(content, _DEFINITION, inputs, parts, {"files": files}))
    return changed, removed


def _merged(
    old: pd.DataFrame, rows: pd.DataFrame, source: str, span: tuple[np.datetime64, np.datetime64]
) -> pd.DataFrame:
    stays = (old["source"] != source) | (old["ts_utc"] < span[0]) | (old["ts_utc"] > span[1])
    fresh = rows.assign(source=source)[SCHEMA.names]
    both = pd.concat([old[stays], fresh], ignore_index=True) if stays.any() else fresh
    return both.sort_values(["ts_utc", "name", "source"], kind="stable", ignore_index=True)


def _difference(old: pd.DataFrame, new: pd.DataFrame) -> tuple[int, int]:
    """Return how many releases were added, changed or removed, and how many of these were removed."""

    def told(frame: pd.DataFrame) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        known = frame["known_at"].astype(str)
        who = zip(frame["ts_utc"].astype(str), frame["name"], frame["source"], strict=True)
        return dict(zip(who, zip(frame["impact"], known, strict=True), strict=True))

    before, after = told(old), told(new)
    changed = sum(before.get(key) != after.get(key) for key in before.keys() | after.keys())
    return changed, len(before.keys() - after.keys())


def _checksum(frame: pd.DataFrame) -> str:
    rows = [frame[name].astype(str).tolist() for name in SCHEMA.names]
    return stable_hash(rows)


def _quarantine(lake: Lake, raw: RawEvents, source: str, checksum: str) -> None:
    """Write the rows set aside as they stood, one part a file: importing it again changes nothing."""
    bad = raw.frame[raw.frame["reason"] != ""]
    keys, part = {"source": source}, f"file={checksum}"
    if bad.empty or part in lake.parts(EVENTS_QUARANTINE, keys):
        return
    text = {"stamp": "stamp", "name": "name", "currency": "currency_text", "impact": "impact_text", "reason": "reason"}
    columns = {name: pa.array(bad[column].astype(object), pa.string()) for name, column in text.items()}
    lake.write(EVENTS_QUARANTINE, keys, part, pa.table({"row": pa.array(bad["row"].to_numpy()), **columns}))


def _stem(path: Path) -> str:
    return re.sub(r"[\d_\-. ]+$", "", path.stem) or path.stem


def _source_name(text: str) -> str:
    """Return a name that can be a folder; raises BadInputError for one without letters."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    if not name:
        raise BadInputError(f"Source {text!r} has no letters: name who published the events, such as --source fed.")
    return name
