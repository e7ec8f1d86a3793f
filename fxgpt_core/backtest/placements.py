"""The compiled placement of random trades; numba loads slowly, so that this module is imported where it is used."""

from __future__ import annotations

from typing import Any

from numba import njit
from numpy.typing import NDArray

_AHEAD = 64
Array = NDArray[Any]


@njit(cache=True)
def lay(starts: Array, holds: Array, sides: Array, sizes: Array, limits: Array, signal: Array, size: Array) -> int:
    """Lay trades one after another on a line of bars; returns how many of their bars found no room.

    `starts`: (trades,) earliest place of each, ascending; `holds`, `sizes`: bars held and wanted size, reordered where
    a shorter trade fits what is left before a limit; `sides`: 1 or -1; `limits`: (bars,) one past the end of the
    stretch that each bar belongs to, which no trade crosses; `signal`, `size`: (bars,) filled: a trade is as many
    signals in a row as it lasts bars, and two of one side never touch.
    """
    count, bars = len(holds), len(limits)
    at, lost = 0, 0
    for i in range(count):
        if i > 0 and sides[i] == sides[i - 1]:
            at += 1
        at = max(at, starts[i])
        while at < bars and at + holds[i] > limits[at]:
            room, best = limits[at] - at, i
            for j in range(i + 1, min(count, i + _AHEAD)):
                if holds[j] <= room and (best == i or holds[j] > holds[best]):
                    best = j
            if best == i:
                at = limits[at]
            else:
                holds[i], holds[best] = holds[best], holds[i]
                sizes[i], sizes[best] = sizes[best], sizes[i]
        for _ in range(holds[i]):
            if at < bars:
                signal[at] = sides[i]
                size[at] = sizes[i]
                at += 1
            else:
                lost += 1
    return lost
