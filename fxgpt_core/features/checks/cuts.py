"""Moments at which history is cut off: at random, and where look-ahead likes to hide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.market.calendar import NEW_YORK, trading_minutes_between, week_open
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.zones import offsets

LONDON = "Europe/London"
_LAST_BARS = 6
_LARGE = 0.005  # share of all returns that count as large
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Cut:
    """`moment`: the close (UTC) of the last bar that is left; `kind`: in words, what kind of point that is."""

    moment: np.datetime64
    kind: str

    def __str__(self) -> str:
        return f"{str(self.moment)[:16]}Z ({self.kind})"


def cut_points(candles: Candles, count: int, seed: int, first: int = 0, slower: Iterable[Candles] = ()) -> list[Cut]:
    """Return `count` different cuts of base `candles` in order of time, fewer where there are not that many bars.

    The kinds of `_adversarial` and random bars take turns, so that a handful of cuts has one of most kinds. None lies
    before row `first` or in the first tenth of history, where little is defined, and none at the very last bar.
    `slower`: the bars of slower timeframes, which are cut just before they close.
    """
    rng = np.random.default_rng(seed)
    low, high = max(first, len(candles) // 10), len(candles) - 2
    kinds = {"a random bar": np.arange(low, high + 1), **_adversarial(candles), **_unfinished(candles, slower)}
    waiting = {kind: list(rng.permutation(rows[(rows >= low) & (rows <= high)])) for kind, rows in kinds.items()}
    chosen: dict[int, str] = {}
    while len(chosen) < count and any(waiting.values()):
        for kind, rows in waiting.items():
            while rows and int(rows[-1]) in chosen:
                rows.pop()
            if rows and len(chosen) < count:
                chosen[int(rows.pop())] = kind
    known_at = candles.known_at
    return [Cut(known_at[row], chosen[row]) for row in sorted(chosen)]


def _adversarial(candles: Candles) -> Mapping[str, Rows]:
    """Return the rows of each kind: where state is frozen, clocks change, bars are longest underway, or the price has
    just done what only the future could confirm."""
    opened, known_at = candles.ts_utc, candles.known_at
    month = known_at.astype("datetime64[M]")
    turn = np.flatnonzero(month[1:] != month[:-1])  # the last bar of each month
    weekend = np.flatnonzero(week_open(opened[1:]) != week_open(opened[:-1]))
    missing = trading_minutes_between(opened[:-1], opened[1:]) > candles.timeframe.minutes
    gap = np.flatnonzero(missing)
    new_york, london = (_clock_changes(candles, zone) for zone in (NEW_YORK, LONDON))
    return {
        "the end of a month": turn,
        "a turning point of the price": _turning_points(candles),
        "the last bar before a weekend": weekend,
        "beside a clock change in New York": np.concatenate([new_york, new_york + 1]),
        "the last bar before a holiday or gap": gap,
        "the last bars": np.arange(len(candles) - 2 - _LAST_BARS, len(candles) - 1),
        "the first bars of a month": np.concatenate([turn + 1, turn + 2, turn + 4]),
        "the first bars after a weekend": np.concatenate([weekend + 1, weekend + 2]),
        "beside a clock change in London": np.concatenate([london, london + 1]),
        "the first bar after a holiday or gap": gap + 1,
        "the last bars but one of a month": np.concatenate([turn - 1, turn - 3]),
        "the last bars but one of a week": np.concatenate([weekend - 1, weekend - 2]),
        "a large move of the price": _large_moves(candles),
    }


def _unfinished(candles: Candles, slower: Iterable[Candles]) -> Mapping[str, Rows]:
    """Return for each slower timeframe the last base bars before one of its bars closes."""
    known_at = candles.known_at
    return {
        f"the last bar but one of a {bars.timeframe} bar": np.searchsorted(known_at, bars.known_at) - 1
        for bars in slower
    }


def _large_moves(candles: Candles) -> Rows:
    """Return the bars whose return is among the largest."""
    moves = np.abs(np.diff(np.log(candles.close)))
    return np.argsort(-moves, kind="stable")[: max(int(_LARGE * len(moves)), 1)] + 1


def _clock_changes(candles: Candles, zone: str) -> Rows:
    """Return the last bar before each change of a zone's clocks."""
    offset = offsets(zone).at(candles.ts_utc)
    return np.flatnonzero(offset[1:] != offset[:-1])


def _turning_points(candles: Candles) -> Rows:
    """Return the bars whose high is the highest, or low the lowest, of the two bars before and after."""
    around = np.arange(2, len(candles) - 2)[:, None] + np.arange(-2, 3)  # (bars, 5)
    top = candles.high[around[:, 2]] == candles.high[around].max(axis=1)
    bottom = candles.low[around[:, 2]] == candles.low[around].min(axis=1)
    return np.asarray(around[top | bottom, 2])
