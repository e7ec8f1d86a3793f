"""Clocks that stamps can be in, by name, and how well the weeks of bars fit them."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from dataclasses import dataclass

import numpy as np

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.zones import Times, to_local, to_utc

_HOUR = np.timedelta64(3_600_000_000_000, "ns")
_TOLERANCE = np.timedelta64(30, "m")  # clocks differ by whole hours, first ticks of a week by minutes


@dataclass(frozen=True)
class Zone:
    """A clock: the wall clock of an IANA zone, shifted by whole or half hours."""

    name: str
    base: str
    shift: float = 0.0

    def to_utc(self, local: Times) -> Times:
        """Return UTC instants of naive stamps of this clock: (rows,) datetime64[ns]."""
        return to_utc(local - self._shift, self.base)

    def to_local(self, times_utc: Times) -> Times:
        """Return naive stamps of this clock of UTC instants: (rows,) datetime64[ns]."""
        return to_local(times_utc, self.base) + self._shift

    @property
    def _shift(self) -> np.timedelta64:
        return np.timedelta64(round(self.shift * 3600), "s")


UTC = Zone("UTC", "UTC")
NAMED = (
    UTC,
    Zone("America/New_York", "America/New_York"),
    Zone("EST", "UTC", -5.0),
    Zone("New York+7", "America/New_York", 7.0),
    Zone("Europe/Athens", "Europe/Athens"),
    Zone("Europe/Berlin", "Europe/Berlin"),
    Zone("Europe/London", "Europe/London"),
)
"""The clocks that files are usually in: UTC, New York, fixed EST, brokers' New York + 7 h, EET, CET, and London."""


def _others() -> tuple[Zone, ...]:
    """Return every whole-hour clock without and with the daylight saving of the US and of Europe."""
    fixed = [Zone(f"UTC{hours:+d}", "UTC", hours) for hours in range(-12, 15) if hours not in (0, -5)]
    american = [
        Zone(f"New York{hours:+d}", "America/New_York", hours) for hours in range(-4, 15) if hours not in (0, 7)
    ]
    european = [
        Zone(f"Europe/London{hours:+d}", "Europe/London", hours) for hours in range(-8, 11) if hours not in (0, 1, 2)
    ]
    return (*fixed, *american, *european)


CANDIDATES = (*NAMED, *_others())
"""Clocks that inference tells apart, the usual ones first: of several that read a file alike the first is named."""


def parse_zone(text: str) -> Zone:
    """Return the clock named `text`: an IANA zone, `EST` (fixed), `New York+7`, `UTC+2`.

    Raises BadInputError with the nearest spelling.
    """
    wanted = re.sub(r"[\s_]+", "", str(text)).lower()
    shifted = re.fullmatch(r"(utc|gmt|newyork|america/newyork|ny|europe/london)([+-]\d{1,2})(?::?(\d\d))?", wanted)
    if shifted:
        return _shifted(text, shifted)
    known = {re.sub(r"[\s_]+", "", zone.name).lower(): zone for zone in CANDIDATES}
    known |= {"gmt": UTC, "z": UTC, "newyork": CANDIDATES[1], "ny": CANDIDATES[1]}
    if wanted in known:
        return known[wanted]
    names = zoneinfo.available_timezones()
    for name in names:
        if re.sub(r"[\s_]+", "", name).lower() == wanted:
            return Zone(name, name)
    near = difflib.get_close_matches(str(text), [*names, "New York+7"], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "write an IANA name such as Europe/Athens, or UTC, EST, New York+7."
    raise BadInputError(f"Unknown time zone {text!r}; {hint}")


def _shifted(text: str, parts: re.Match[str]) -> Zone:
    hours = int(parts[2]) + (int(parts[3] or 0) / 60) * (-1 if parts[2].startswith("-") else 1)
    if abs(hours) > 14:
        raise BadInputError(f"Time zone {text!r} is {hours:+g} h away: no clock is more than 14 h from another.")
    names = {"utc": ("UTC", "UTC"), "gmt": ("UTC", "UTC"), "europe/london": ("Europe/London", "Europe/London")}
    name, base = names.get(parts[1], ("New York", "America/New_York"))
    return Zone(f"{name}{parts[2]}" + (f":{parts[3]}" if parts[3] else ""), base, hours)


def week_edges(opens: Times, length: Timeframe) -> tuple[int, int, int]:
    """Return how many weekly opens and how many closes fit the FX week, and of how many; `opens` UTC, ascending.

    Only weekends inside the data count: its first and last bar say nothing.
    """
    breaks = np.flatnonzero(np.diff(opens) > 30 * _HOUR)
    after, before = opens[breaks + 1], opens[breaks]
    late = after - calendar.week_open(after + _TOLERANCE)
    early = calendar.week_close(before) - (before + length.duration)
    return int((np.abs(late) <= _TOLERANCE).sum()), int((np.abs(early) <= _TOLERANCE).sum()), len(breaks)
