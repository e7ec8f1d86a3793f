"""Scheduled releases of the pair's two currencies: how near, how many, how heavy.

What is read is the schedule, which is published weeks ahead; the figures released do not occur.
"""

from __future__ import annotations

import math

import numpy as np

from fxgpt_core.features.bars import Bars, Floats, Releases, Times
from fxgpt_core.features.parameters import periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.market.events.files import IMPACTS

WEEK = 10_080.0
"""Minutes beyond which a release is not looked at; `blocks.RELEASES_REACH` lies far beyond."""

NEAR = np.timedelta64(30, "m")
LEVELS = ("high", "medium")
"""Least impact of the releases that are counted: high, and medium or above."""

_Found = dict[tuple[object, ...], Floats]


@feature(
    "economic_calendar",
    group="calendar",
    source="SPEC 20, scheduled releases of both currencies",
    warm_up=lambda p: 0,
    reads=("releases",),
    spans=periods(60, 240, 1440, low=1, high=10_080),
)
def economic_calendar(bars: Bars, spans: tuple[int, ...]) -> Columns:
    """Releases of base and quote currency around the bar's close, of high impact and of medium or above; ahead includes
    the moment of the close itself.

    `…_next`, `…_last`: log(1 + minutes) / log(1 + 10 080) to the next and since the last one, 1 from a week on;
    `…_count`: log(1 + releases less than `span` minutes ahead), spans below one bar left out; `cal_asym_…`: (base -
    quote) / both of those within the longest span, 0 where there are none; `…_cluster`: log(1 + releases at the moment
    of the next high one), 0 if that is more than a week ahead; up to 1h `…_near`: 1 within 30 minutes of a high one,
    before or after. All NaN where the economic calendar is not known.
    """
    found = bars.releases
    if found is None:
        nothing = Releases(bars.ts_utc[:0], np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.int8))
        names = _columns(bars, nothing, spans)
        return {name: np.full(len(bars), np.nan) for name in names}
    return _columns(bars, found, spans)


def _columns(bars: Bars, releases: Releases, spans: tuple[int, ...]) -> _Found:
    length, at = bars.timeframe.minutes, bars.known_at
    out: _Found = {}
    for level in LEVELS:
        counts = []
        for side, ours in (("base", releases.of_base), ("quote", ~releases.of_base)):
            times = releases.ts_utc[ours & (releases.impact >= IMPACTS.index(level))]
            stem = f"cal_{side}_{level}"
            out[f"{stem}_next",], out[f"{stem}_last",] = _nearness(at, times)
            for span in spans:
                if span >= length:
                    out[f"{stem}_count", span] = np.log1p(_ahead(at, times, span))
            counts.append(_ahead(at, times, max(*spans, length)))
            if level == LEVELS[0]:
                out[f"{stem}_cluster",] = np.log1p(_cluster(at, times))
                if length <= 60:
                    out[f"{stem}_near",] = _near(at, times)
        both = counts[0] + counts[1]
        out[f"cal_asym_{level}",] = (counts[0] - counts[1]) / np.maximum(both, 1.0)
    return out


def _nearness(at: Times, times: Times) -> tuple[Floats, Floats]:
    """Return the scaled logs of the minutes to the next of `times`, `at` included, and since the last: (bars,) each."""
    following = np.searchsorted(times, at, side="left")
    edged = np.concatenate([times[:1] - np.timedelta64(365, "D"), times, times[-1:] + np.timedelta64(365, "D")])
    if not len(times):
        return np.ones(len(at)), np.ones(len(at))
    minute = np.timedelta64(1, "m")
    gaps = (edged[following + 1] - at) / minute, (at - edged[following]) / minute
    ahead, behind = (np.log1p(np.minimum(gap, WEEK)) / math.log1p(WEEK) for gap in gaps)
    return ahead, behind


def _ahead(at: Times, times: Times, span: int) -> Floats:
    """Return how many of `times` lie in [at, at + span minutes): (bars,)."""
    first, stop = (np.searchsorted(times, moment, side="left") for moment in (at, at + np.timedelta64(span, "m")))
    return (stop - first).astype(np.float64)


def _cluster(at: Times, times: Times) -> Floats:
    """Return how many of `times` share the moment of the next one, 0 if that is more than a week ahead: (bars,)."""
    if not len(times):
        return np.zeros(len(at))
    moments, sizes = np.unique(times, return_counts=True)
    following = np.searchsorted(moments, at, side="left")
    soon = np.minimum(following, len(moments) - 1)
    reached = (following < len(moments)) & (moments[soon] - at <= np.timedelta64(int(WEEK), "m"))
    return np.where(reached, sizes[soon], 0).astype(np.float64)


def _near(at: Times, times: Times) -> Floats:
    """Return 1 where one of `times` lies at most `NEAR` away, 0 elsewhere: (bars,)."""
    first, stop = np.searchsorted(times, at - NEAR, side="left"), np.searchsorted(times, at + NEAR, side="right")
    return (stop > first).astype(np.float64)
