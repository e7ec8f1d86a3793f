"""Timeframes and horizons: names, durations and parsing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

import numpy as np

from fxgpt_core.common.errors import BadInputError

_UNIT_MINUTES = {"m": 1, "h": 60, "d": 1440, "w": 7200}
_PATTERN = re.compile(r"^\s*(\d+)\s*(m|min|h|d|w)\s*$", re.IGNORECASE)


@total_ordering
@dataclass(frozen=True)
class Timeframe:
    """A bar length of SPEC section 1.

    `minutes` is the trading time that a bar spans: a daily bar runs from 17:00 to 17:00 New York (24 h) and a
    weekly bar from Sunday 17:00 to Friday 17:00 (120 h). US clock changes fall on Sunday 02:00 while the market
    is closed, so a bar never spans one and the duration is exact.
    """

    code: str
    minutes: int

    @property
    def duration(self) -> np.timedelta64:
        """Time from a bar's open to its close, as timedelta64[ns]."""
        return np.timedelta64(self.minutes * 60_000_000_000, "ns")

    @property
    def new_york_aligned(self) -> bool:
        """Whether bars start at multiples from 17:00 New York instead of UTC midnight (4h and longer)."""
        return self.minutes >= 240

    def __lt__(self, other: Timeframe) -> bool:
        return self.minutes < other.minutes

    def __str__(self) -> str:
        return self.code


TIMEFRAMES: dict[str, Timeframe] = {
    code: Timeframe(code, minutes)
    for code, minutes in {
        "1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120,
        "4h": 240, "8h": 480, "12h": 720, "1d": 1440, "1w": 7200,
    }.items()
}  # fmt: skip


def timeframe(value: str | Timeframe) -> Timeframe:
    """Return the timeframe named `value`.

    Raises BadInputError naming the value and the allowed names.
    """
    if isinstance(value, Timeframe):
        return value
    found = TIMEFRAMES.get(str(value).strip().lower())
    if found is None:
        raise BadInputError(f"Unknown timeframe {value!r}: use one of {', '.join(TIMEFRAMES)}.")
    return found


def horizon_minutes(value: str | int) -> int:
    """Parse a horizon such as `5m`, `4h`, `1d` or a number of minutes into minutes of trading time.

    Raises BadInputError for anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = _PATTERN.match(str(value))
    if not match or int(match[1]) == 0:
        raise BadInputError(f"Unknown horizon {value!r}: write minutes as a number, or 5m, 1h, 4h, 1d.")
    return int(match[1]) * _UNIT_MINUTES[match[2][0].lower()]


def horizon_name(minutes: int) -> str:
    """Return the shortest name of a horizon: 60 -> `1h`, 1440 -> `1d`, 5 -> `5m`."""
    for unit in ("d", "h"):
        if minutes % _UNIT_MINUTES[unit] == 0:
            return f"{minutes // _UNIT_MINUTES[unit]}{unit}"
    return f"{minutes}m"
