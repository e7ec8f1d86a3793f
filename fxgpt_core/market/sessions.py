"""Trading sessions: which financial centres are at work, each by its own wall clock and clock changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.market import calendar
from fxgpt_core.market.zones import to_local

CLOSED = "closed"


@dataclass(frozen=True)
class Session:
    """A centre's hours [opens, closes) on its own working days, in its own local time (whole hours)."""

    name: str
    zone: str
    opens: int
    closes: int


SESSIONS = (
    Session("sydney", "Australia/Sydney", 7, 16),
    Session("tokyo", "Asia/Tokyo", 9, 18),
    Session("london", "Europe/London", 8, 17),
    Session("new_york", "America/New_York", 8, 17),
)
"""The four sessions from east to west. Sydney's day begins at 07:00 so that, whichever of the two has summer time, it
has begun when New York closes: at every open minute at least one centre is at work."""


def sessions_at(times: Any) -> dict[str, NDArray[np.bool_]]:
    """Return session name -> whether it is at work at each time (UTC); nothing is while the market is closed.

    Weekly hours only: holidays of a centre are not modelled.
    """
    at = np.asarray(times, dtype="datetime64[ns]")
    market = calendar.is_open(at)
    return {session.name: market & _at_work(at, session) for session in SESSIONS}


def session_label(times: Any) -> NDArray[np.str_]:
    """Return the sessions at work at each time, joined from east to west: `tokyo+london`, `new_york`, `closed`."""
    at = np.asarray(times, dtype="datetime64[ns]")
    flags = sessions_at(at)
    code = np.zeros(at.shape, dtype=np.int64)
    for bit, name in enumerate(flags):
        code += flags[name].astype(np.int64) << bit
    return np.asarray(_LABELS[code])


def _at_work(at: NDArray[np.datetime64], session: Session) -> NDArray[np.bool_]:
    local = to_local(at, session.zone)
    day = local.astype("datetime64[D]")
    hour = (local - day).astype("timedelta64[h]").astype(np.int64)
    return np.asarray(np.is_busday(day) & (hour >= session.opens) & (hour < session.closes))


_LABELS = np.array(
    [
        "+".join(session.name for bit, session in enumerate(SESSIONS) if code >> bit & 1) or CLOSED
        for code in range(2 ** len(SESSIONS))
    ]
)
