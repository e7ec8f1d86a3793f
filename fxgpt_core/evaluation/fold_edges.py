"""Where test folds begin and end: edges that stay where they are when new bars arrive."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.evaluation.split_config import WalkForwardConfig

Times = NDArray[np.datetime64]

_RUNGS = 4
"""Rungs per doubling of history: between two of them, less than 19 % apart, no edge moves."""


@dataclass(frozen=True)
class Fold:
    """Positions among the usable bars: tested are [begin, end), training starts at `first` at the earliest."""

    name: str
    first: int
    begin: int
    end: int


def rung(bars: int) -> int:
    """Return the largest length on the ladder (four rungs per doubling) that `bars` reach; 0 without bars."""
    if bars < 1:
        return 0
    return min(math.ceil(2 ** (math.floor(math.log2(bars) * _RUNGS) / _RUNGS)), bars)


def folds_by_share(bars: int, config: WalkForwardConfig) -> list[Fold]:
    """Return the folds of `bars` usable bars, none where they are too few.

    Shares are taken of the history's length rounded down to a rung, so that a new bar moves no edge: it lengthens the
    last fold, and opens another one of the same length when that is full. When the history reaches the next rung
    every edge moves, and all folds are made anew, once.
    """
    length = rung(bars)
    window = int(length * config.first_train)
    if length - window < config.folds:
        return []
    step = (length - window) / config.folds
    count = math.ceil((bars - window) / step)
    edges = [window + round(step * i) for i in range(count)] + [bars]
    edges = [edge for edge in edges[:-1] if edge < bars] + [bars]
    return [
        Fold(f"fold{i}", begin - window if config.mode == "rolling" else 0, begin, edges[i + 1])
        for i, begin in enumerate(edges[:-1])
    ]


def folds_by_month(decided_at: Times, config: WalkForwardConfig) -> list[Fold]:
    """Return the folds of usable bars decided at `decided_at` (bars,), none where fewer than `least_folds` fit.

    The first test span begins with the first month (UTC) that has the months of training before it. The months are
    counted from the start of history, so only older bars move an edge. The last span may still be growing; spans
    without bars are left out; the latest `last_folds` stay. A fold is named after its first month: `2019-11`.
    """
    if not len(decided_at):
        return []
    train, test = config.months
    at = decided_at[0].astype("datetime64[M]")
    whole = at.astype(decided_at.dtype) == decided_at[0]
    month = at + train + (0 if whole else 1)
    folds = []
    while month.astype(decided_at.dtype) <= decided_at[-1]:
        edges = np.array([month - train, month, month + test]).astype(decided_at.dtype)
        first, begin, end = (int(i) for i in np.searchsorted(decided_at, edges))
        if begin < end:
            folds.append(Fold(str(month), first if config.mode == "rolling" else 0, begin, end))
        month = month + test
    return folds[-config.last_folds :] if len(folds) >= config.least_folds else []


def choose_folds(decided_at: Times, config: WalkForwardConfig) -> list[Fold]:
    """Return the folds that the configuration asks for; shares stand in where a history is too short for months."""
    by_month = folds_by_month(decided_at, config) if config.spans == "calendar" else []
    return by_month or folds_by_share(len(decided_at), config)


def newest_window(decided_at: Times, config: WalkForwardConfig) -> int:
    """Return the position at which a rolling training window begins that ends with the last usable bar."""
    if not (config.spans == "calendar" and folds_by_month(decided_at, config)):
        return len(decided_at) - int(rung(len(decided_at)) * config.first_train)
    month = decided_at[-1].astype("datetime64[M]")
    into = decided_at[-1] - month.astype(decided_at.dtype)
    return int(np.searchsorted(decided_at, (month - config.months[0]).astype(decided_at.dtype) + into))
