"""Which clock wrote the stamps of a file: named by the user, or inferred from when its weeks open and close.

The FX week opens Sunday and closes Friday 17:00 New York wherever it is recorded, so a naive stamp betrays its clock
at every weekend. Clocks that convert all stamps of a file alike need not be told apart.
"""

from __future__ import annotations

import difflib
import re
import zoneinfo
from dataclasses import dataclass

import numpy as np

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.zones import Times, to_utc

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
        return to_utc(local - np.timedelta64(round(self.shift * 3600), "s"), self.base)


UTC = Zone("UTC", "UTC")
CANDIDATES = (
    UTC,
    Zone("America/New_York", "America/New_York"),
    Zone("EST", "UTC", -5.0),
    Zone("New York+7", "America/New_York", 7.0),
    Zone("Europe/Athens", "Europe/Athens"),
    Zone("Europe/Berlin", "Europe/Berlin"),
    Zone("Europe/London", "Europe/London"),
)
"""Clocks that inference tries: UTC, New York, fixed EST, and those of brokers (New York + 7 h, EET, CET, London)."""


def parse_zone(text: str) -> Zone:
    """Return the clock named `text`: an IANA zone, `EST` (fixed), `New York+7`, `UTC+2`.

    Raises BadInputError with the nearest spelling.
    """
    wanted = re.sub(r"[\s_]+", "", str(text)).lower()
    shifted = re.fullmatch(r"(utc|gmt|newyork|america/newyork|ny)([+-]\d{1,2})(?::?(\d\d))?", wanted)
    if shifted:
        hours = int(shifted[2]) + (int(shifted[3] or 0) / 60) * (-1 if shifted[2].startswith("-") else 1)
        if abs(hours) > 14:
            raise BadInputError(f"Time zone {text!r} is {hours:+g} h away: no clock is more than 14 h from another.")
        if shifted[1] in ("utc", "gmt"):
            return Zone(f"UTC{shifted[2]}" + (f":{shifted[3]}" if shifted[3] else ""), "UTC", hours)
        return Zone(f"New York{shifted[2]}", "America/New_York", hours)
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


def week_edges(opens: Times, length: Timeframe) -> tuple[int, int, int]:
    """Return how many weekly opens and how many closes fit the FX week, and of how many; `opens` UTC, ascending.

    Only weekends inside the data count: its first and last bar say nothing.
    """
    breaks = np.flatnonzero(np.diff(opens) > 30 * _HOUR)
    after, before = opens[breaks + 1], opens[breaks]
    late = after - calendar.week_open(after + _TOLERANCE)
    early = calendar.week_close(before) - (before + length.duration)
    return int((np.abs(late) <= _TOLERANCE).sum()), int((np.abs(early) <= _TOLERANCE).sum()), len(breaks)


def infer_zone(local: Times, length: Timeframe) -> tuple[Zone, str]:
    """Return the clock of naive stamps (unique, ascending) and how that is known.

    The winner must explain at least 70 % of the weekly opens and closes, and at least two more than any clock that
    would convert the stamps otherwise. Raises BadInputError when no clock, or more than one, does.
    """
    ask = "say it with --tz, for example --tz UTC or --tz 'New York+7'."
    if length.minutes > 60:
        raise BadInputError(f"The time zone of {length} stamps cannot be inferred: {ask}")
    converted = [zone.to_utc(local) for zone in CANDIDATES]
    counted = [week_edges(times, length) for times in converted]
    scores = [opened + closed for opened, closed, _ in counted]
    best = int(np.argmax(scores))
    fit, edges = scores[best], 2 * counted[best][2]
    if edges == 0:
        raise BadInputError(f"The time zone of the stamps cannot be inferred without a weekend in the file: {ask}")
    others = [not np.array_equal(times, converted[best]) for times in converted]
    rivals = [score for score, other in zip(scores, others, strict=True) if other]
    if fit < 0.7 * edges or (rivals and fit < max(rivals) + 2):
        raise BadInputError(
            f"The time zone of the stamps is unclear: {CANDIDATES[best].name} explains {fit} of {edges} weekly opens "
            f"and closes, another clock {max(rivals, default=0)}; {ask}"
        )
    return CANDIDATES[best], (
        f"inferred: read as {CANDIDATES[best].name}, {fit} of {edges} weekly opens and closes fall on 17:00 New York"
    )
