"""Scheduled releases of the pair's two currencies: how near, how many, how heavy.

What is read is the schedule; the figures released do not occur. A release counts from the moment on at which its date
was public, where the source says so: a meeting called at short notice is not known the day before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fxgpt_core.features.bars import Bars, Floats, Releases, Times
from fxgpt_core.features.parameters import periods
from fxgpt_core.features.registry import Columns, feature
from fxgpt_core.market.events.files import IMPACTS

WEEK = 10_080.0
"""Minutes beyond which a release is not looked at; `blocks.RELEASES_REACH` lies far beyond."""

NEAR = 30.0
"""Minutes within which a release is near."""

_MINUTE = 60_000_000_000  # nanoseconds
LEVELS = ("high", "medium")
"""Least impact of the releases that are counted: high, and medium or above."""

_Found = dict[tuple[object, ...], Floats]


@feature(
    "economic_calendar",
    group="calendar",
    source="SPEC 20, scheduled releases of both currencies",
    windowed=True,
    warm_up=lambda p: 0,
    version=2,
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
    before or after. Only what was public at the bar's close counts. All NaN where the economic calendar is not known.
    """
    found = bars.releases
    if found is None:
        never = np.empty(0, dtype="datetime64[ns]")
        nothing = Releases(never, np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.int8), never)
        return {name: np.full(len(bars), np.nan) for name in _columns(bars, nothing, spans)}
    return _columns(bars, found, spans)


def _columns(bars: Bars, releases: Releases, spans: tuple[int, ...]) -> _Found:
    length = bars.timeframe.minutes
    told, longest = [span for span in spans if span >= length], max(*spans, length)
    out: _Found = {}
    for level in LEVELS:
        both = []
        for side, ours in (("base", releases.of_base), ("quote", ~releases.of_base)):
            chosen = releases.take(ours & (releases.impact >= IMPACTS.index(level)))
            found = _around(bars.known_at, chosen, [*told, longest])
            stem = f"cal_{side}_{level}"
            out[f"{stem}_next",], out[f"{stem}_last",] = found.nearness(found.ahead), found.nearness(found.behind)
            for index, span in enumerate(told):
                out[f"{stem}_count", span] = np.log1p(found.within[:, index])
            both.append(found.within[:, -1])
            if level == LEVELS[0]:
                out[f"{stem}_cluster",] = np.log1p(found.together)
                if length <= 60:
                    out[f"{stem}_near",] = (np.minimum(found.ahead, found.behind) <= NEAR) * 1.0
        out[f"cal_asym_{level}",] = (both[0] - both[1]) / np.maximum(both[0] + both[1], 1.0)
    return out


@dataclass(frozen=True)
class _Around:
    """Minutes to the next release and since the last one, how many share the next one's moment, (bars,) each, and how
    many lie within each span, (bars, spans)."""

    ahead: Floats
    behind: Floats
    together: Floats
    within: Floats

    @staticmethod
    def nearness(minutes: Floats) -> Floats:
        """Return the logs of minutes as a share of a week's: (bars,), 0..1."""
        return np.asarray(np.log1p(np.minimum(minutes, WEEK)) / math.log1p(WEEK))


def _around(at: Times, releases: Releases, spans: list[int]) -> _Around:
    """Return what was public of the schedule at each of `at`."""
    from fxgpt_core.features.kernels.schedule import around

    always = np.iinfo(np.int64).min
    public = np.where(np.isnat(releases.known_at), always, releases.known_at.astype("datetime64[ns]").view(np.int64))
    moments = (np.ascontiguousarray(x, dtype="datetime64[ns]").view(np.int64) for x in (at, releases.ts_utc))
    found = around(*moments, public, np.array(spans, dtype=np.int64) * _MINUTE, int(WEEK) * _MINUTE)
    ahead, behind, together, within = (x.astype(np.float64) for x in found)
    return _Around(ahead / _MINUTE, behind / _MINUTE, together, within)
