"""Level breaks: prices on another scale, or stretches of another pair's prices pasted into a history.

A crisis moves a price far, and the move stays or fades through wild bars. Wrong prices betray themselves otherwise: by
a factor that no pair moves in one bar, or by a stretch that begins and ends with opposite steps of one size out of a
calm market into a calm market. A large step that stays is a fact of the market and no break.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Times = NDArray[np.datetime64]
Floats = NDArray[np.float64]
_YEAR = np.timedelta64(365, "D")
_LONGEST_HOLE = np.timedelta64(10, "D")  # over a longer one a step says little
_SHORTEST = np.timedelta64(1, "h")  # of a stretch; shorter ones are spikes and bursts, counted as outliers
_AROUND = 12  # bars before and after a step that show how lively the market is; no stretch is shorter
_CALM = 10.0  # a step this many times the usual range of the bars on both sides comes out of the blue
_ALIKE = 0.35  # by how much of the larger one the steps into and out of a stretch may differ: both prices drift


@dataclass(frozen=True)
class LevelBreaks:
    """Bars at which the level breaks, ascending: `rows` (breaks,), `steps` (breaks,) log steps from the bar before, or
    within the bar where that is larger, and `kinds` (breaks,): `factor`, or `stretch` where it begins or ends one."""

    rows: NDArray[np.int64]
    steps: Floats
    kinds: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.rows)


def find_level_breaks(clean: pd.DataFrame, opens: Times, factor: float, step: float) -> LevelBreaks:
    """Return the level breaks of OHLC bars.

    `factor`: no pair moves by this factor from one close to the next, or within one bar; over a hole in the data it
    grows by once itself a year. `step`: relative size from which two opposite steps may enclose foreign prices.
    """
    if len(opens) < 2:
        return LevelBreaks(np.empty(0, np.int64), np.empty(0), np.empty(0, "U7"))
    high, low, close = (np.log(clean[name].to_numpy(dtype=np.float64)) for name in ("high", "low", "close"))
    move, reach = np.r_[0.0, np.diff(close)], high - low
    elapsed = np.r_[np.timedelta64(0, "ns"), np.diff(opens)]
    allowed = np.log(factor * (1 + elapsed / _YEAR))
    by_factor = (np.abs(move) > allowed) | (reach > np.log(factor))
    steps = np.where(reach > np.abs(move) + np.log(factor), reach, move)
    candidates = np.flatnonzero(~by_factor & (np.abs(move) > np.log1p(step)) & (elapsed <= _LONGEST_HOLE))
    enclosing = _enclosing(candidates, move, reach, opens)
    rows = np.union1d(np.flatnonzero(by_factor), enclosing).astype(np.int64)
    return LevelBreaks(rows, steps[rows], np.where(by_factor[rows], "factor", "stretch"))


def _enclosing(candidates: NDArray[np.int64], move: Floats, reach: Floats, opens: Times) -> NDArray[np.int64]:
    """Return the candidates that enclose stretches: each with the next one, if that takes the step back."""
    calm = [row for row in candidates.tolist() if _is_calm(row, move, reach)]
    out: list[int] = []
    for first, after in pairwise(calm):
        larger = max(abs(move[first]), abs(move[after]))
        long = after - first >= _AROUND and opens[after] - opens[first] >= _SHORTEST
        if long and abs(move[first] + move[after]) <= _ALIKE * larger:
            out += [first, after]
    return np.unique(np.asarray(out, dtype=np.int64))


def _is_calm(row: int, move: Floats, reach: Floats) -> bool:
    """Return whether the bars before and after a step are as quiet as those of an ordinary market."""
    before, after = reach[max(row - _AROUND, 0) : row], reach[row + 1 : row + 1 + _AROUND]
    sides = [float(np.median(side)) for side in (before, after) if len(side)]
    return all(abs(move[row]) > _CALM * side for side in sides)
