"""What of a schedule is known at each bar: a release counts from the moment on at which its date was public."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Whole = NDArray[np.int64]


@njit(cache=True)
def around(at: Whole, times: Whole, public: Whole, spans: Whole, reach: int) -> tuple[Whole, Whole, Whole, Whole]:
    """Return the time to the next release, the time since the last, how many share the moment of the next, and how
    many lie less than each span ahead: (bars,), (bars,), (bars,), (bars, spans).

    `at`: rising moments (bars,); `times`: rising moments of the releases and `public` since when each was known,
    (releases,). The moment itself lies ahead. Nothing further than `reach` is looked at: gaps are then `reach` + 1.
    """
    rows, count = len(at), len(times)
    ahead, behind = np.full(rows, reach + 1), np.full(rows, reach + 1)
    together, within = np.zeros(rows, dtype=np.int64), np.zeros((rows, len(spans)), dtype=np.int64)
    following = 0
    for row in range(rows):
        now = at[row]
        while following < count and times[following] < now:
            following += 1
        for index in range(following - 1, -1, -1):
            if now - times[index] > reach:
                break
            if public[index] <= now:
                behind[row] = now - times[index]
                break
        for index in range(following, count):
            gap = times[index] - now
            if gap > reach:
                break
            if public[index] > now:
                continue
            ahead[row] = min(ahead[row], gap)
            together[row] += gap == ahead[row]
            for span in range(len(spans)):
                within[row, span] += gap < spans[span]
    return ahead, behind, together, within
