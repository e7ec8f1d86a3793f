"""The only place that reads the wall clock; tests and replays set their own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np


class Clock(Protocol):
    """Source of the current time."""

    def now(self) -> datetime:
        """Return the current time with an explicit time zone (UTC)."""
        ...


class SystemClock:
    """The machine's clock, in UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class FixedClock:
    """A clock that stands still until it is moved."""

    def __init__(self, at: datetime) -> None:
        if at.tzinfo is None:
            raise ValueError(f"FixedClock needs a time zone, got the naive time {at}.")
        self._at = at.astimezone(UTC)

    def now(self) -> datetime:
        return self._at

    def advance(self, by: timedelta) -> None:
        """Move the clock forward by `by`."""
        self._at += by


def to_datetime64(moment: datetime) -> np.datetime64:
    """Return an aware datetime as naive-UTC datetime64[ns], the form inside arrays."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone.")
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "ns")
