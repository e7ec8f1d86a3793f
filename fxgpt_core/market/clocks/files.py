"""In which clock the stamps of files are: as they say, as given, as their layout is known, or as their weeks show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market.clocks.inference import Clock, contradiction, infer_clock
from fxgpt_core.market.clocks.stamps import Stamps
from fxgpt_core.market.clocks.time_zones import UTC, Zone, parse_zone
from fxgpt_core.market.clocks.week_fit import Bars
from fxgpt_core.market.files.layouts import RawTable
from fxgpt_core.market.zones import Times


@dataclass(frozen=True)
class TimedTable:
    """A file's rows with their stamps read; `length` is that of its bars (a minute for ticks)."""

    where: str
    table: RawTable
    stamps: Stamps
    length: Timeframe

    @cached_property
    def bars(self) -> Bars:
        """The distinct stamps, ascending, with what their rows say of volume, high and low."""
        times, frame = self.stamps.times, self.table.frame
        if self.table.kind == "ticks":
            known = times[~np.isnat(times)]
            return Bars(np.unique(known.astype("datetime64[m]")).astype("datetime64[ns]"), self.length)
        order = np.flatnonzero(~np.isnat(times))
        chosen = times[order]
        if len(chosen) > 1 and not (np.diff(chosen) > np.timedelta64(0, "ns")).all():
            chosen, first = np.unique(chosen, return_index=True)
            order = order[first]
        prefix = "bid_" if self.table.side == "both" else ""
        values = [
            pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)[order]
            if name in frame
            else None
            for name in ("volume", f"{prefix}high", f"{prefix}low")
        ]
        return Bars(chosen, self.length, *values)


@dataclass(frozen=True)
class Told:
    """UTC instants of a file's rows (NaT where unreadable), the clock's name, how it is known, and contradictions."""

    times: Times
    name: str
    how: str
    warnings: tuple[str, ...] = ()


def tell_times(tables: Sequence[TimedTable], given: Zone | None) -> list[Told | BadInputError]:
    """Return the times of files of one pair, layout and bar length, each file's or why they cannot be told.

    Files whose stamps do not say their clock share the evidence of all of them.
    """
    silent = [one for one in tables if given is None and not one.stamps.is_utc and not one.table.clock]
    together = _together(silent) if len(silent) > 1 else None
    return [_tell(one, given, together if one in silent else None) for one in tables]


def _tell(one: TimedTable, given: Zone | None, together: Clock | None) -> Told | BadInputError:
    times = one.stamps.times
    if one.stamps.is_utc:
        return Told(times, "UTC", f"the stamps say so ({one.stamps.format})", _claim(one, UTC, "The stamps say UTC"))
    if given is not None:
        return Told(given.to_utc(times), given.name, "as given", _claim(one, given, f"--tz says {given.name}"))
    if one.table.clock:
        zone = parse_zone(one.table.clock)
        how = one.table.clock_how
        return Told(zone.to_utc(times), zone.name, how, _claim(one, zone, how[0].upper() + how[1:]))
    try:
        clock = _own(one, together)
    except BadInputError as error:
        return BadInputError(f"{one.where}: {error}")
    how, warnings = clock.how, clock.warnings
    if one.table.documented:
        documented = parse_zone(one.table.documented)
        if np.array_equal(documented.to_utc(one.bars.local), clock.to_utc(one.bars.local)):
            how = f"{how}; {documented.name}, as documented, reads these stamps alike"
        elif against := contradiction(one.bars, documented).split(";")[0]:
            warnings = (*warnings, f"The vendor documents {documented.name}, but {against}.")
    return Told(clock.to_utc(times), clock.name, how, warnings)


def _own(one: TimedTable, together: Clock | None) -> Clock:
    """Return the clock of one file: by all files' evidence, unless its own says clearly otherwise."""
    try:
        own = infer_clock(one.bars)
    except BadInputError:
        if together is None:
            raise
        return together
    local = one.bars.local
    if together is not None and np.array_equal(together.to_utc(local), own.to_utc(local)):
        return together
    return own


def _together(tables: Sequence[TimedTable]) -> Clock | None:
    """Return the clock that the evidence of all files shows, None where it shows none."""
    parts = [one.bars for one in tables]
    local, first = np.unique(np.concatenate([part.local for part in parts]), return_index=True)
    values = []
    for name in ("volume", "high", "low"):
        columns = [getattr(part, name) for part in parts]
        known = all(column is not None for column in columns)
        values.append(np.concatenate(columns)[first] if known else None)
    try:
        clock = infer_clock(Bars(local, parts[0].length, *values))
    except BadInputError:
        return None
    how = clock.how.replace("inferred", f"inferred from {len(tables)} files together", 1)
    return Clock(clock.pieces, how, clock.warnings)


def _claim(one: TimedTable, zone: Zone, claim: str) -> tuple[str, ...]:
    against = contradiction(one.bars, zone)
    return (f"{claim}, but {against}.",) if against else ()
