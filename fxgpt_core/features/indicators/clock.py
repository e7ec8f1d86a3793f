"""Where in the trading day and week a bar closes; New York time, so that clock changes do not shift it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from fxgpt_core.features.bars import Bars, Floats, Times
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.market.calendar import NEW_YORK, minutes_to_week_close, week_open
from fxgpt_core.market.sessions import SESSIONS, Session, sessions_at
from fxgpt_core.market.zones import to_local

_DAY, _WEEK = 1440.0, 7200.0
_LONDON = "Europe/London"
_COARSE = 240
"""Bars from this many minutes on close at so few times of the day that finer phases of it say nothing new."""


@feature("clock", group="time", source="SPEC 2, time as sine and cosine", windowed=True, warm_up=lambda p: 0, version=2)
def clock(bars: Bars) -> Columns:
    """Sine and cosine of the time of the trading day (from 17:00 New York) and of the trading week; to the close.

    `week_left` is the share of the trading week that is left at the bar's close. Daily bars always close at the same
    time and have no time of day.
    """
    minute = np.minimum((bars.known_at - week_open(bars.known_at)) / np.timedelta64(1, "m"), _WEEK)
    out = {}
    for name, period in (("hour", _DAY), ("weekday", _WEEK)):
        if bars.timeframe.minutes >= period:
            continue
        angle = np.ascontiguousarray(2 * np.pi * (minute % period) / period)
        out[(f"{name}_sin",)], out[(f"{name}_cos",)] = np.sin(angle), np.cos(angle)
    return {**out, ("week_left",): minutes_to_week_close(bars.known_at) / _WEEK}


@feature("session", group="time", source="SPEC 2, trading session", windowed=True, warm_up=lambda p: 0, version=2)
def sessions(bars: Bars) -> Columns:
    """Whether Sydney, Tokyo, London or New York is at work in the bar's last minute (they overlap); below 1d."""
    if bars.timeframe.minutes >= _DAY:
        return {}
    at_work = sessions_at(bars.known_at - np.timedelta64(1, "m"))
    return {(name,): flags.astype(np.float64) for name, flags in at_work.items()}


@feature("session_overlap", group="time", source="SPEC 2, trading session", windowed=True, warm_up=lambda p: 0)
def session_overlap(bars: Bars) -> Columns:
    """Whether two neighbouring centres are at work at once in the bar's last minute: 0 or 1; below 4h only."""
    if bars.timeframe.minutes >= _COARSE:
        return {}
    at_work = sessions_at(bars.known_at - np.timedelta64(1, "m"))
    return {(f"{a.name}_{b.name}",): (at_work[a.name] & at_work[b.name]) * 1.0 for a, b in pairwise(SESSIONS)}


@feature(
    "session_phase",
    group="time",
    source="own: each centre's working day by its wall clock",
    windowed=True,
    warm_up=lambda p: 0,
)
def session_phase(bars: Bars) -> Columns:
    """Where the bar's close lies in each centre's working day; below 4h only, 0 outside it if not said otherwise.

    `…_passed`: share of the working day that is over; `…_to_open`: minutes to the next opening / 1440, at most 1, 0 at
    work; up to 1h also `…_opening`, `…_closing`: exp(-minutes since the opening / 60) and exp(-minutes to the close /
    60). A centre opens on its Monday to Friday; its holidays are not modelled.
    """
    out: dict[tuple[str], Floats] = {}
    if bars.timeframe.minutes >= _COARSE:
        return out
    for session in SESSIONS:
        since, ahead = _session_minutes(bars.known_at, session)
        length = 60.0 * (session.closes - session.opens)
        at_work = (since >= 0) & (since < length)
        out[(f"{session.name}_passed",)] = np.where(at_work, since / length, 0.0)
        out[(f"{session.name}_to_open",)] = np.where(at_work, 0.0, np.minimum(ahead / _DAY, 1.0))
        if bars.timeframe.minutes <= 60:
            out[(f"{session.name}_opening",)] = np.where(at_work, np.exp(-np.maximum(since, 0.0) / 60), 0.0)
            left = np.maximum(length - since, 0.0)
            out[(f"{session.name}_closing",)] = np.where(at_work, np.exp(-left / 60), 0.0)
    return out


def _session_minutes(times: Times, session: Session) -> tuple[Floats, Floats]:
    """Return the minutes since the centre's opening of the same day, -1 before it and on days off, and the minutes to
    its next opening, (times,) each."""
    local = to_local(times, session.zone)
    day = local.astype("datetime64[D]")
    minute = (local - day) / np.timedelta64(1, "m")
    opens = 60.0 * session.opens
    works = np.is_busday(day)
    today = works & (minute < opens)
    following = np.busday_offset(day + 1, 0, roll="forward")
    days = np.where(today, 0, (following - day).astype(np.int64))
    since: Floats = np.where(works & (minute >= opens), minute - opens, -1.0)
    return since, days * _DAY + opens - minute


@feature("minute", group="time", source="SPEC 2, time as sine and cosine", windowed=True, warm_up=lambda p: 0)
def minute_of_hour(bars: Bars) -> Columns:
    """Sine and cosine of the minute of the hour at which the bar closes; at 30m the cosine, from 1h on nothing."""
    length = bars.timeframe.minutes
    angle = 2 * np.pi * ((bars.known_at - bars.known_at.astype("datetime64[h]")) / np.timedelta64(60, "m"))
    out = {} if length >= 60 else {("minute_cos",): np.cos(angle)}
    return out if length >= 30 else {("minute_sin",): np.sin(angle), **out}


@feature("month", group="time", source="own: turn-of-month flows", windowed=True, warm_up=lambda p: 0)
def month_phase(bars: Bars) -> Columns:
    """Share of the month that is over, by trading days that turn at 17:00 New York, and nearness of its turn.

    `month_passed`: 0..1; `month_turn`: exp(-days to the nearer of the month's start and end / 2).
    """
    local = to_local(bars.known_at, NEW_YORK) + np.timedelta64(7, "h")
    month = local.astype("datetime64[M]")
    since = (local - month) / np.timedelta64(1, "D")
    length = ((month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")) / np.timedelta64(1, "D")
    return {("month_passed",): since / length, ("month_turn",): np.exp(-np.minimum(since, length - since) / 2)}


@feature(
    "market_moments",
    group="time",
    source="own: week's open and close, rollover, London fixing",
    windowed=True,
    warm_up=lambda p: 0,
)
def market_moments(bars: Bars) -> Columns:
    """Nearness of moments at which the market is unlike itself, exp(-minutes / scale), 1 at the moment.

    `week_opening`, `week_closing`: since the week's open, to its close, scale 240 minutes; up to 1h also `rollover`:
    either way from 17:00 New York, and `london_fix`: either way from 16:00 London, scale 30. `clock_gap`: hours by
    which London is ahead of New York - 5: -1 in the weeks when only one of the two has changed its clocks.
    """
    at = bars.known_at
    since = np.minimum((at - week_open(at)) / np.timedelta64(1, "m"), _WEEK)
    gap = (to_local(at, _LONDON) - to_local(at, NEW_YORK)) / np.timedelta64(1, "h") - 5.0
    out: dict[tuple[str], Floats] = {("clock_gap",): gap}
    if bars.timeframe.minutes < _COARSE:
        out[("week_opening",)] = np.exp(-since / 240)
        out[("week_closing",)] = np.exp(-minutes_to_week_close(at) / 240)
    if bars.timeframe.minutes <= 60:
        out[("rollover",)] = np.exp(-_minutes_from(at, NEW_YORK, 17) / 30)
        out[("london_fix",)] = np.exp(-_minutes_from(at, _LONDON, 16) / 30)
    return out


def _minutes_from(times: Times, zone: str, hour: int) -> Floats:
    """Return the minutes between each time and the nearest full `hour` by the clock of `zone`: (times,)."""
    local = to_local(times, zone)
    minute = (local - local.astype("datetime64[D]")) / np.timedelta64(1, "m")
    away = np.abs(minute - 60.0 * hour)
    return np.asarray(np.minimum(away, _DAY - away))
