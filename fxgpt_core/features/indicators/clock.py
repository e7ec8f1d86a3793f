"""Where in the trading day and week a bar closes; New York time, so that clock changes do not shift it."""

from __future__ import annotations

import numpy as np

from fxgpt_core.features.bars import Bars
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.market.calendar import minutes_to_week_close, week_open
from fxgpt_core.market.sessions import sessions_at

_DAY, _WEEK = 1440.0, 7200.0


@feature("clock", group="time", source="SPEC 2, time as sine and cosine", warm_up=lambda p: 0)
def clock(bars: Bars) -> Columns:
    """Sine and cosine of the time of the trading day (from 17:00 New York) and of the trading week; to the close.

    `week_left` is the share of the trading week that is left at the bar's close.
    """
    minute = np.minimum((bars.known_at - week_open(bars.known_at)) / np.timedelta64(1, "m"), _WEEK)
    out = {}
    for name, period in (("hour", _DAY), ("weekday", _WEEK)):
        angle = np.ascontiguousarray(2 * np.pi * (minute % period) / period)
        out[(f"{name}_sin",)], out[(f"{name}_cos",)] = np.sin(angle), np.cos(angle)
    return {**out, ("week_left",): minutes_to_week_close(bars.known_at) / _WEEK}


@feature("session", group="time", source="SPEC 2, trading session", warm_up=lambda p: 0)
def sessions(bars: Bars) -> Columns:
    """Whether Sydney, Tokyo, London or New York is at work in the bar's last minute; sessions overlap."""
    at_work = sessions_at(bars.known_at - np.timedelta64(1, "m"))
    return {(name,): flags.astype(np.float64) for name, flags in at_work.items()}
