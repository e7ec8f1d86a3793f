"""Release times that look wrong: a recurring event that moved by an hour once, or with every change of the seasons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.market.zones import offsets, to_local

HOME_ZONES = {
    "USD": "America/New_York", "CAD": "America/Toronto", "EUR": "Europe/Berlin", "GBP": "Europe/London",
    "CHF": "Europe/Zurich", "JPY": "Asia/Tokyo", "AUD": "Australia/Sydney", "NZD": "Pacific/Auckland",
    "CNY": "Asia/Shanghai", "NOK": "Europe/Oslo", "SEK": "Europe/Stockholm", "DKK": "Europe/Copenhagen",
    "PLN": "Europe/Warsaw", "CZK": "Europe/Prague", "HUF": "Europe/Budapest", "MXN": "America/Mexico_City",
    "ZAR": "Africa/Johannesburg", "TRY": "Europe/Istanbul", "SGD": "Asia/Singapore", "HKD": "Asia/Hong_Kong",
}  # fmt: skip
"""Wall clock by which a currency's releases are scheduled; an event of another clock recurs at several times and is
not judged."""

_NEIGHBOURS, _LEAST, _AGREEING, _EXAMPLES = 6, 12, 0.8, 5
_SEASONS_LEAST = 5


@dataclass(frozen=True)
class SuspiciousTimes:
    """`rows` (into what was judged) of releases exactly an hour from the usual local time of the releases around;
    `shifting`: currency -> (recurring events that move by an hour between summer and winter, recurring events)."""

    rows: NDArray[np.int64]
    shifting: dict[str, tuple[int, int]]


def suspicious_times(frame: pd.DataFrame) -> SuspiciousTimes:
    """Judge usable releases: `ts_utc` (datetime64[ns]), `name`, `currency`; any order.

    An event that occurs at least a dozen times is judged against the six releases before and after it, of which four
    in five must agree on one local time, so that a lasting change of schedule is nobody's mistake.
    """
    rows: list[int] = []
    shifting: dict[str, tuple[int, int]] = {}
    position = np.arange(len(frame))
    for (currency, _), group in frame.assign(at=position).groupby(["currency", "name"], sort=True):
        zone = HOME_ZONES.get(str(currency))
        if zone is None or len(group) < _LEAST:
            continue
        group = group.sort_values("ts_utc")
        times = group["ts_utc"].to_numpy(dtype="datetime64[ns]")
        minutes = _minute_of_day(times, zone)
        rows += group["at"].to_numpy()[_odd(minutes)].tolist()
        moved = _moves_with_the_seasons(times, minutes, zone)
        if moved is not None:
            moving, events = shifting.get(str(currency), (0, 0))
            shifting[str(currency)] = (moving + moved, events + 1)
    return SuspiciousTimes(np.array(sorted(rows), dtype=np.int64), shifting)


def warnings(frame: pd.DataFrame, found: SuspiciousTimes) -> list[str]:
    """Return one sentence per finding, with examples."""
    out = [
        f"{moving} of {events} recurring {currency} events move by an hour between summer and winter on the clock of "
        f"{HOME_ZONES[currency]}: the time zone of the file is probably wrong, say it with --tz."
        for currency, (moving, events) in found.shifting.items()
        if events >= _SEASONS_LEAST and moving > 0.5 * events
    ]
    if len(found.rows):
        shown = frame.iloc[found.rows[:_EXAMPLES]]
        examples = "; ".join(
            f"{currency} {name} at {time:%Y-%m-%dT%H:%M}Z"
            for currency, name, time in zip(shown["currency"], shown["name"], shown["ts_utc"], strict=True)
        )
        verb = "release is" if len(found.rows) == 1 else "releases are"
        out.append(f"{len(found.rows)} {verb} an hour from their event's usual local time, such as {examples}.")
    return out


def _minute_of_day(times: NDArray[np.datetime64], zone: str) -> NDArray[np.int64]:
    local = to_local(times, zone)
    return np.asarray((local - local.astype("datetime64[D]")).astype("timedelta64[m]").astype(np.int64))


def _odd(minutes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which releases are an hour from the local time on which those around agree: (releases,)."""
    count = len(minutes)
    near = np.arange(count)[:, None] + np.r_[-_NEIGHBOURS:0, 1 : _NEIGHBOURS + 1]
    inside = (near >= 0) & (near < count)
    around = np.where(inside, minutes[np.clip(near, 0, count - 1)], -1)
    same = (around[:, :, None] == around[:, None, :]).sum(axis=2) * inside  # how many agree with each neighbour
    usual = around[np.arange(count), same.argmax(axis=1)]
    agreed = same.max(axis=1) >= _AGREEING * inside.sum(axis=1)
    return np.asarray(agreed & (np.abs((minutes - usual + 720) % 1440 - 720) == 60))


def _moves_with_the_seasons(times: NDArray[np.datetime64], minutes: NDArray[np.int64], zone: str) -> bool | None:
    """Return whether the usual local time differs by an hour between summer and winter; None where none can be told.

    Only events that keep to one time in each season can tell.
    """
    offset = offsets(zone).at(times)
    if (offset == offset[0]).all():
        return None
    usual = []
    for season in np.unique(offset):
        values, counts = np.unique(minutes[offset == season], return_counts=True)
        if counts.sum() < _LEAST // 3 or counts.max() < _AGREEING * counts.sum():
            return None
        usual.append(int(values[counts.argmax()]))
    return any(abs((one - usual[0] + 720) % 1440 - 720) == 60 for one in usual[1:])
