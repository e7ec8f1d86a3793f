"""Where the weeks of a file stop fitting one clock, or a venue changes its hours: the cheapest cut into segments.

Dynamic programming over the weeks (Viterbi). A state is a clock and which of its edges are on time; it costs every edge
that does not fit, and changing the state costs as much as several such edges.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.market.clocks.week_fit import Fit

_SWITCH_CLOCK, _SWITCH_HOURS = 5.0, 4.0
_LATE_VENUE = 0.75  # an edge that is never on time costs this much a week: less than a misfit, more than a fit


def segments(fit: Fit) -> list[tuple[int, int]]:
    """Return the weeks [first, last) of each stretch of one clock and one habit of the venue, in order."""
    cost = _costs(fit)  # (weeks, zones, habits)
    weeks = len(cost)
    total, came = cost[0].copy(), np.zeros((weeks, *cost.shape[1:]), dtype=np.int64)
    flat = total.size
    own = np.arange(flat).reshape(total.shape)
    for week in range(1, weeks):
        cheapest = int(np.argmin(total))
        habit = np.argmin(total, axis=1)  # the cheapest habit of each clock
        of_clock = total[np.arange(len(total)), habit]
        options = np.stack(
            [
                total,
                np.broadcast_to((of_clock + _SWITCH_HOURS)[:, None], total.shape),
                np.full(total.shape, total.flat[cheapest] + _SWITCH_CLOCK),
            ]
        )
        sources = np.stack(
            [
                own,
                np.broadcast_to((np.arange(len(total)) * total.shape[1] + habit)[:, None], total.shape),
                np.full(total.shape, cheapest),
            ]
        )
        choice = np.argmin(options, axis=0)
        came[week] = np.take_along_axis(sources, choice[None], axis=0)[0]
        total = np.take_along_axis(options, choice[None], axis=0)[0] + cost[week]
    return _runs(_path(came, int(np.argmin(total))))


def _costs(fit: Fit) -> NDArray[np.float64]:
    """Return what each week costs by clock and habit (both edges on time, only closes, only opens)."""
    missed_open, missed_close = fit.open_misfit.T, fit.close_misfit.T
    no_open, no_close = (~np.isnan(fit.late)).T * _LATE_VENUE, (~np.isnan(fit.early)).T * _LATE_VENUE
    return np.stack([missed_open + missed_close, missed_close + no_open, missed_open + no_close], axis=2)


def _path(came: NDArray[np.int64], last: int) -> list[int]:
    states = [last]
    for week in range(len(came) - 1, 0, -1):
        states.append(int(came[week].flat[states[-1]]))
    return states[::-1]


def _runs(states: list[int]) -> list[tuple[int, int]]:
    cuts = [0, *(i for i in range(1, len(states)) if states[i] != states[i - 1]), len(states)]
    return list(pairwise(cuts))
