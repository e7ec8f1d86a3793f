"""`VolatilityPart`: whether the level of volatility has shifted, told apart from volatility that clusters as it does.

A lively week is no news in a market whose lively weeks come in clusters, so how large moves are says little by itself:
the log of weekly volatility has a standard deviation of 0.2 in a GARCH market, with heavy tails. What a shift changes
is the level that volatility returns to. The part learns from the training span how the variance of the next hour
follows from the past, as a mixture of its long-run level and of exponential averages (a GARCH(1,1) is one of each;
Bollerslev 1986; Corsi 2009), and how far an hour's range lies from it. For every hour of the window at which a shift
may have begun, the likelihood of the ranges since then under "everything is `SHIFT` times as large", the recursion
included, is held against that under "as ever"; the largest log likelihood ratio is the statistic (Page 1954; Lai 1995).

Ranges, because one says as much of an hour's volatility as five returns do (Parkinson 1980; Garman and Klass 1980).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.lifecycle.drift.columns import DriftTable
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.drift.windows import sampled, threshold_of, training_windows, usual_rows, weeks_of
from fxgpt_core.market import calendar
from fxgpt_core.market.candles import Candles

Floats = NDArray[np.float64]

RANGE, RETURN = "range", "return"
UPWARDS, DOWNWARDS = "ranges, upwards", "ranges, downwards"
SHIFT = 1.8
"""Factor that is held against none, a little less than the doubling to be found: what is larger shows, too."""
_HALF_LIVES = (4.0, 16.0, 64.0)  # hours; with more of them the weights follow the noise of one year
_HOURS_A_WEEK = 168
_SHRINK = 8  # weeks by which the usual size of an hour of the week is drawn towards that of the hour of the day
_STARTS = 20  # hours in a window at which a shift may have begun
_CLIP = 4.0  # standard deviations; one wild hour must not decide about a window
_STEPS = 300  # of the fit
_SETTLED = 8  # of the longest half-lives of rows before a window, after which how the averages began is forgotten
_FLOOR = 0.1  # of the median range, for hours in which nothing moved


def volatility_table(bars: Candles) -> DriftTable:
    """Return range and return of every hour, or bar where these are longer, that is over: log-return units.

    `range`: root of the mean squared log(high / low) of its bars; hours without a bar have no row.
    """
    known_at, minutes = bars.known_at, max(60, bars.timeframe.minutes)
    if bars.timeframe.minutes < 60:
        length = np.timedelta64(minutes, "m")
        known_at = bars.ts_utc - (bars.ts_utc - np.datetime64(0, "ns")) % length + length
    first = np.flatnonzero(np.diff(known_at, prepend=np.datetime64(0, "ns")) != np.timedelta64(0, "ns"))
    if not len(first):
        return DriftTable(bars.symbol, (RANGE, RETURN), known_at, np.empty((0, 2), dtype=np.float32))
    last = np.r_[first[1:], len(known_at)] - 1
    size = np.sqrt(np.add.reduceat(np.log(bars.high / bars.low) ** 2, first) / (last - first + 1))
    values = np.column_stack([size, np.log(bars.close[last] / bars.open[first])]).astype(np.float32)
    return DriftTable(bars.symbol, (RANGE, RETURN), known_at[first], values).rows(known_at[first] <= bars.known_at[-1])


@dataclass(frozen=True)
class VolatilityPart:
    """`usual`: (168,) log of the usual range by hour of the week; `levels`: (2,) mean squares of range and return.

    `weights`: (1 + 2 · half-lives,) of the long-run level and of the averages of squared ranges, then returns, in the
    variance of the next hour; `half_lives`: in rows. `floor`: what is added to a range; `centre`, `noise`: of half the
    log of squared range over variance. `threshold`, `weeks`, `window_rows` as in `KsPart`.
    """

    kind: ClassVar[str] = "shift"
    names: tuple[str, ...]
    usual: Floats
    levels: Floats
    weights: Floats
    half_lives: Floats
    floor: float
    centre: float
    noise: float
    threshold: float
    weeks: int
    window_rows: int

    @classmethod
    def build(cls, span: DriftTable, config: DriftConfig, monthly: float, rng: np.random.Generator) -> VolatilityPart:
        """Return the part of a span of `volatility_table`."""
        span = span.complete()
        windows = training_windows(span.known_at, config)
        week, minutes = usual_rows(windows), _minutes(span)
        size = span.values[:, 0].astype(np.float64)
        floor = max(float(_FLOOR * np.median(size)), 1e-12)
        usual = _usual(np.log(size + floor), calendar.hour_of_week(span.known_at))
        half_lives = np.maximum(np.array(_HALF_LIVES) * 60 / max(minutes, 60), 0.5)
        draft = cls(
            names=span.names, usual=usual, levels=np.ones(2), weights=np.empty(0), half_lives=half_lives, floor=floor,
            centre=0.0, noise=1.0, threshold=0.0, weeks=weeks_of(windows, config), window_rows=week,
        )  # fmt: skip
        squares = draft._squares(span)
        levels = squares.mean(axis=0)
        past = _averages(squares, levels, half_lives)
        learnt = week + sampled(len(span) - week, config.reference_rows, rng)
        weights = _weights(past[learnt], squares[learnt, 0])
        apart = 0.5 * np.log(squares[week:, 0] / (past[week:] @ weights))
        centre = float(np.median(apart))
        reach = _CLIP * float(apart.std())
        noise = float(np.sqrt((np.clip(apart - centre, -reach, reach) ** 2).mean()))
        values = {**vars(draft), "levels": levels, "weights": weights, "centre": centre, "noise": noise}
        fitted = cls(**values)
        found = np.array([fitted._evidence(squares, past, a, b)[0] for _, a, b in windows])
        return cls(**{**values, "threshold": threshold_of(found, windows, config, monthly)})

    def compare(self, table: DriftTable, start: np.datetime64, now: np.datetime64) -> tuple[float, str, int]:
        """Return the largest log likelihood ratio of a shift in (`start`, `now`], its way, and the rows there.

        `table`: as much of what came before as there is.
        """
        known = table.between(table.known_at[0] - np.timedelta64(1, "D"), now).complete() if len(table) else table
        first = int(np.searchsorted(known.known_at, start, side="right"))
        rows = len(known) - first
        if rows < 2:
            return 0.0, "", rows
        begin = max(0, first - round(_SETTLED * float(self.half_lives[-1])))
        squares = self._squares(known.rows(slice(begin, None)))
        past = _averages(squares, self.levels, self.half_lives)
        statistic, way = self._evidence(squares, past, first - begin, len(squares))
        return statistic, way, rows

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is stored as arrays."""
        return {name: getattr(self, name) for name in ("usual", "levels", "weights", "half_lives")}

    def scalars(self) -> dict[str, float]:
        """Return what else of it is stored."""
        return {name: getattr(self, name) for name in ("floor", "centre", "noise")}

    def _squares(self, table: DriftTable) -> Floats:
        """Return squared ranges and returns in units of what is usual at their hour of the week: (rows, 2)."""
        usual = np.exp(self.usual[calendar.hour_of_week(table.known_at)])
        size, moved = table.values.T.astype(np.float64)
        return np.column_stack([((size + self.floor) / usual) ** 2, (moved / usual) ** 2])

    def _evidence(self, squares: Floats, past: Floats, first: int, last: int) -> tuple[float, str]:
        """Return the largest log likelihood ratio of a shift that began in the rows [first, last), and its way."""
        size = 0.5 * np.log(squares[first:last, 0]) - self.centre  # (rows,)
        variance = past[first:last] @ self.weights
        fewest = max(2, (last - first) // 10)
        starts = np.unique(np.linspace(0, last - first - fewest, _STARTS).astype(np.int64))
        since = np.arange(last - first)[None, :] - starts[:, None]  # (starts, rows)
        decay = np.r_[1.0, np.tile(0.5 ** (1 / self.half_lives), 2)]
        # What of each variance is older than the start; the rest has the shift in it already.
        older = np.zeros(since.shape)
        for weight, keeps, known in zip(self.weights, decay, past[first + starts].T, strict=True):
            older += weight * known[:, None] * keeps ** np.maximum(since, 0)
        plain = self._misfit(size, variance)
        found = {}
        for way, factor in ((UPWARDS, SHIFT), (DOWNWARDS, 1 / SHIFT)):
            shifted = np.maximum(variance[None, :] + (factor**2 - 1) * older, 1e-12)
            gain = np.where(since >= 0, plain[None, :] - self._misfit(size[None, :], shifted), 0.0)
            found[way] = float(gain.sum(axis=1).max())
        way = max(found, key=lambda name: found[name])
        return found[way], way

    def _misfit(self, size: Floats, variance: Floats) -> Floats:
        """Return minus the log density of ranges, but for a constant."""
        apart = np.clip((size - 0.5 * np.log(variance)) / self.noise, -_CLIP, _CLIP)
        return np.asarray(apart**2 / 2)


def _minutes(span: DriftTable) -> float:
    steps = np.diff(span.known_at) / np.timedelta64(1, "m")
    return float(np.median(steps)) if len(steps) else 60.0


def _usual(values: Floats, hours: NDArray[np.int64]) -> Floats:
    """Return the mean by hour of the week, shrunk towards that of its hour of the day: (168,)."""
    total = np.bincount(hours, values, _HOURS_A_WEEK).reshape(-1, 24)  # (days, hours of the day)
    seen = np.bincount(hours, minlength=_HOURS_A_WEEK).reshape(-1, 24)
    daily = (total.sum(axis=0) + _SHRINK * values.mean()) / (seen.sum(axis=0) + _SHRINK)
    return np.asarray(((total + _SHRINK * daily) / (seen + _SHRINK)).ravel())


def _averages(squares: Floats, levels: Floats, half_lives: Floats) -> Floats:
    """Return what a row's variance is mixed from, known before it: (rows, 1 + 2 · half-lives); ones first."""
    from scipy.signal import lfilter

    columns = [np.ones(len(squares))]
    for values, level in zip(squares.T, levels, strict=True):
        for keeps in 0.5 ** (1 / half_lives):
            after, _ = lfilter([1 - keeps], [1, -keeps], values, zi=[keeps * level])
            columns.append(np.r_[level, after[:-1]])
    return np.column_stack(columns)


def _weights(past: Floats, squares: Floats) -> Floats:
    """Return the weights, none negative, with the least quasi-likelihood loss log h + v / h.

    Multiplicative steps, each of which lowers the loss (Févotte, Bertin and Durrieu 2009, Neural Computation 21).
    """
    weights = np.full(past.shape[1], squares.mean() / past.mean(axis=0).sum())
    for _ in range(_STEPS):
        variance = past @ weights
        weights = weights * np.sqrt((past.T @ (squares / variance**2)) / (past.T @ (1 / variance)))
    return weights
