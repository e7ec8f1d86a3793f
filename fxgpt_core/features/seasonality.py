"""The time-of-week shape of volatility, learned from the past only.

A week of trading is 7200 minutes from Sunday to Friday 17:00 New York. The shape says how fast variance accrues at
each of them, relative to an average minute, and how much the weekend gap adds, in the same minutes. Measured on
absolute returns (less noisy than squares under fat tails: Andersen & Bollerslev 1997).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.features.spec import YardstickConfig
from fxgpt_core.market.calendar import WEEK_MINUTES, trading_minutes_between

WEEK = WEEK_MINUTES
_DAY = 1440
_EPOCH = np.datetime64("1990-01-07T22:00", "ns")  # a Sunday, 17:00 in New York

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]


def trading_position(times: Times) -> Floats:
    """Return the minutes of trading since a fixed week open; multiples of 7200 are week closes: (n,)."""
    return np.asarray(trading_minutes_between(_EPOCH, times), dtype=np.float64)


@dataclass(frozen=True)
class Shape:
    """`rate`: (buckets,) variance per minute, mean 1 over the week; `gap`: the weekend gap, in average minutes."""

    rate: Floats
    gap: float

    def clock(self, position: Floats) -> Floats:
        """Return variance time at trading positions: differences are the share of variance between two moments: (n,).

        The gap lies just after the week close, so that a moment at the close has not passed it.
        """
        week = np.ceil(position / WEEK) - 1.0
        minute = position - week * WEEK  # (0, 7200]
        width = WEEK / len(self.rate)
        edges = np.concatenate([[0.0], np.cumsum(self.rate * width)])
        inside = np.interp(minute, np.arange(len(self.rate) + 1) * width, edges)
        return np.asarray(week * (edges[-1] + self.gap) + inside)


def flat_shape(gap: float = 0.0) -> Shape:
    """Return the shape of a market that knows no time of day."""
    return Shape(np.ones(1), gap)


@dataclass(frozen=True)
class ShapeSums:
    """Sums of standardised absolute returns per bucket, of a span or of several added up; `opens` are week openers."""

    total: Floats  # (buckets,)
    count: Floats  # (buckets,)
    opens: float
    weeks: float

    def plus(self, other: ShapeSums, fade: float) -> ShapeSums:
        """Return these sums, faded, with `other` added."""
        return ShapeSums(
            self.total * fade + other.total,
            self.count * fade + other.count,
            self.opens * fade + other.opens,
            self.weeks * fade + other.weeks,
        )


def bucket_count(config: YardstickConfig, bar_minutes: int) -> int:
    """Return the number of time-of-week buckets: as wide as configured, at least one bar, dividing a day evenly."""
    width = max(config.bucket_minutes, bar_minutes)
    while _DAY % width and width < _DAY:
        width += 1
    return WEEK // min(width, _DAY)


def measure(moves: Floats, previous: Floats, position: Floats, bar_minutes: int, buckets: int) -> ShapeSums:
    """Sum standardised absolute moves per bucket.

    `moves`: (n,) |return| per root minute over a causal scale, NaN where unknown; `previous`, `position`: trading
    positions of the closes between which each return lies. Returns over missing bars are left out; the week's first
    bar counts as opener only.
    """
    week, week_before = np.ceil(position / WEEK), np.ceil(previous / WEEK)
    adjacent = np.isfinite(moves) & (np.abs(position - previous - bar_minutes) < 0.5)
    opener = adjacent & (week != week_before)
    inside = adjacent & ~opener
    slot = (((position - bar_minutes / 2) % WEEK) * buckets / WEEK).astype(np.int64)[inside]
    return ShapeSums(
        np.bincount(slot, moves[inside], buckets).astype(np.float64),
        np.bincount(slot, minlength=buckets).astype(np.float64),
        float(moves[opener].sum()),
        float(opener.sum()),
    )


def learn_shape(sums: ShapeSums, config: YardstickConfig, bar_minutes: int) -> Shape:
    """Return the shape of the sums: each bucket shrunk to its time of day, that to the overall mean, by counts."""
    weight = config.shrink_weeks * max(WEEK / len(sums.total) / bar_minutes, 1.0)  # in bars of a bucket
    overall = sums.total.sum() / max(sums.count.sum(), 1.0)
    per_day = len(sums.total) * _DAY // WEEK
    total, count = sums.total.reshape(-1, per_day), sums.count.reshape(-1, per_day)  # (days, times of day)
    daily = (total.sum(axis=0) + weight * overall) / (count.sum(axis=0) + weight)  # (times of day,)
    mean = (total + weight * daily) / (count + weight)
    variance = np.square(mean).ravel()
    average = variance.mean()
    if not average > 0.0:
        return flat_shape(config.weekend_minutes)
    rate = variance / average
    opener = (sums.opens / sums.weeks) ** 2 / average * bar_minutes if sums.weeks else 0.0
    seen = max(opener - rate[0] * bar_minutes, 0.0)
    weeks = sums.weeks + config.weekend_weeks
    gap = (sums.weeks * seen + config.weekend_weeks * config.weekend_minutes) / weeks if weeks else 0.0
    return Shape(rate, float(gap))
