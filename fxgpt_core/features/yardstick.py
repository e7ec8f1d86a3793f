"""`Yardstick`: the causal volatility forecast that standardises targets and is the baseline to beat.

Variance over a horizon = variance time ahead (`seasonality.Shape`) x current level x scale. The level mixes a fast and
a slow EWMA of squared deseasonalised returns; half-life, mixture and scale are chosen per horizon by their likelihood
on labels known so far. All of it is frozen at the end of the previous month of `known_at`, so a forecast at t depends
on nothing after t, and a month's forecasts can be computed again bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.features.blocks import months
from fxgpt_core.features.har import components, har_forecast
from fxgpt_core.features.rolling import ewma
from fxgpt_core.features.seasonality import (
    Shape,
    ShapeSums,
    bucket_count,
    flat_shape,
    learn_shape,
    measure,
    trading_position,
)
from fxgpt_core.features.spec import YardstickConfig
from fxgpt_core.features.targets import Labels
from fxgpt_core.market.candles import Candles

_DAY = 1440
FLOOR = 1e-6
"""Least volatility forecast, log-return units: a hundredth of a pip at par, for stretches of stale prices."""

SURPRISE = 10.0
"""Deviations from which on a move teaches no more: a peg that breaks, or prices that come back after stale weeks, would
rule shape, level and scale for a year. On ordinary days it changes nothing, and news cost it nothing: without it the
forecasts of real pairs are a little worse."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Bars:
    """Base bars as the yardstick sees them, (bars,): closes in UTC and trading minutes, squared returns, days so far.

    `months` and `blocks`: each month of `known_at` that has bars, and its bars.
    """

    minutes: int
    known_at: NDArray[np.datetime64]
    position: Floats
    previous: Floats
    squares: Floats
    days: Floats
    months: NDArray[np.datetime64]
    blocks: tuple[slice, ...]


class Yardstick:
    """Volatility forecasts for one base timeframe; `config.seasonal = False` gives the plain EWMA."""

    def __init__(self, config: YardstickConfig) -> None:
        self.config = config

    def forecast(self, candles: Candles, labels: Labels) -> Floats:
        """Return the volatility forecast of every base bar and horizon, log-return units: (bars, horizons).

        NaN during the first `first_days` of trading. `labels` of the same candles give the horizons' ends, and teach
        the choice of half-lives once they are known.
        """
        out = np.full(labels.label_end.shape, np.nan)
        if len(candles) < 2:
            return out
        bars = _bars(candles)
        shapes = self._shapes(bars)
        levels = self._levels(bars, shapes)  # (1 + half-lives, bars), the slow one first
        for column in range(out.shape[1]):
            ahead = _variance_time(shapes, bars, bars.position, trading_position(labels.label_end[:, column]))
            variance = self._choose(bars, levels, ahead, labels, column)
            if self.config.level == "har":
                variance = self._autoregression(bars, shapes, variance, ahead, labels, column)
            out[:, column] = np.maximum(np.sqrt(variance), FLOOR)
        out[bars.days < self.config.first_days] = np.nan
        return out

    def _shapes(self, bars: _Bars) -> list[Shape]:
        """Return the shape in force in each month, learned from the months before it."""
        config = self.config
        flat = flat_shape(config.weekend_minutes if config.seasonal else 0.0)
        if not config.seasonal:
            return [flat] * len(bars.blocks)
        per_minute = bars.squares / np.maximum(bars.position - bars.previous, bars.minutes)
        with np.errstate(divide="ignore", invalid="ignore"):
            moves = np.sqrt(per_minute / self._usual_before(per_minute, bars.minutes))
        moves = np.where(np.isfinite(moves), np.minimum(moves, SURPRISE), np.nan)
        buckets = bucket_count(config, bars.minutes)
        sums = ShapeSums(np.zeros(buckets), np.zeros(buckets), 0.0, 0.0)
        shapes = []
        for block in bars.blocks:
            ready = bars.days[block.start] > config.seasonal_days
            shapes.append(learn_shape(sums, config, bars.minutes) if ready else flat)
            seen = measure(moves[block], bars.previous[block], bars.position[block], bars.minutes, buckets)
            sums = sums.plus(seen, self._fade(bars, block))
        return shapes

    def _fade(self, bars: _Bars, block: slice) -> float:
        """Return the factor by which what was learned before fades over a month."""
        days = bars.days[block.stop - 1] - bars.days[block.start]
        return float(0.5 ** (days / self.config.memory_days))

    def _levels(self, bars: _Bars, shapes: list[Shape]) -> Floats:
        """Return EWMAs of squared deseasonalised returns, variance per average minute, the slow one first."""
        unit = self._unit(bars, shapes)
        lives = [self.config.slow_half_life, *self._half_lives(bars.minutes)]
        out = np.full((len(lives), len(unit)), np.nan)
        for row, half_life in enumerate(lives):
            out[row, 1:] = ewma(unit[1:], half_life / bars.minutes)
        return out

    def _unit(self, bars: _Bars, shapes: list[Shape]) -> Floats:
        """Return each bar's squared return per average minute, the rhythm of day and week taken out: (bars,).

        It counts as at most `SURPRISE` deviations of what was usual before.
        """
        spent = _variance_time(shapes, bars, bars.previous, bars.position)
        stands = bars.position <= bars.previous  # bars after the week's close, while the calendar's clock stands
        unit = bars.squares / np.where(stands, float(bars.minutes), np.maximum(spent, 1e-3 * bars.minutes))
        return np.asarray(np.fmin(unit, SURPRISE**2 * self._usual_before(unit, bars.minutes)))

    def _usual_before(self, squares: Floats, bar_minutes: int) -> Floats:
        """Return the slow average of squared returns up to the bar before, the first bar left out: (bars,), NaN twice.

        What comes back here is whole, so that it is as large as it was: a cap of what is capped would never rise again.
        """
        out = np.full(len(squares), np.nan)
        out[2:] = ewma(squares[1:], self.config.slow_half_life / bar_minutes)[:-1]
        return out

    def _half_lives(self, bar_minutes: int) -> tuple[float, ...]:
        return tuple(h for h in self.config.half_lives if h >= bar_minutes) or (float(bar_minutes),)

    def _choose(self, bars: _Bars, levels: Floats, ahead: Floats, labels: Labels, column: int) -> Floats:
        """Return the variance forecast by the candidate that was the likeliest before each month: (bars,).

        Candidates are compared by the profile likelihood of a Laplace distribution, mean log s + log mean |r|/s, which
        a few outliers cannot turn; the scale comes from squares, shrunk to one with the weight of `learning_days`. A
        move counts as at most `SURPRISE` deviations.
        """
        config, weights = self.config, self.config.fast_weights
        lives = len(levels) - 1
        default = (lives // 2) * len(weights) + len(weights) // 2
        returns = labels.log_return[:, column]
        usable = labels.mask[:, column] & (bars.days >= config.first_days)
        end = np.searchsorted(bars.months, labels.label_end[usable, column].astype("datetime64[M]"), side="right") - 1
        sums, fades = [], [self._fade(bars, b) for b in bars.blocks]
        candidates = [
            ahead * (w * levels[1 + life] + (1 - w) * levels[0]) for life in range(lives) for w in weights
        ]  # each (bars,)
        for variance in candidates:
            spread = np.maximum(np.sqrt(variance[usable]), FLOOR)
            size = np.minimum(np.abs(returns[usable]) / spread, SURPRISE)
            sums.append([np.bincount(end, x, len(bars.blocks)) for x in (np.log(spread), size, size * size)])
        gained = np.asarray(sums)  # (candidates, 3, months)
        count = np.bincount(end, minlength=len(bars.blocks)).astype(np.float64)
        prior = config.learning_days * _DAY / bars.minutes
        out = np.full(len(returns), np.nan)
        past, known = np.zeros(gained.shape[:2]), 0.0
        for month, rows in enumerate(bars.blocks):
            best, scale = default, 1.0
            if known * bars.minutes >= config.learning_days * _DAY:
                loss = past[:, 0] / known + np.log(past[:, 1] / known)
                best = int(np.argmin(loss))
            if known:
                scale = (past[best, 2] + prior) / (known + prior)
            out[rows] = candidates[best][rows] * scale
            past, known = past * fades[month] + gained[:, :, month], known * fades[month] + count[month]
        return out

    def _autoregression(
        self, bars: _Bars, shapes: list[Shape], expected: Floats, ahead: Floats, labels: Labels, column: int
    ) -> Floats:
        """Return the variance forecast of the heterogeneous autoregression on top of the EWMA's: (bars,)."""
        windows = sorted({max(1, round(minutes / bars.minutes)) for minutes in self.config.har_minutes})
        usable = labels.mask[:, column] & (bars.days >= self.config.first_days)
        end_of = labels.label_end[:, column]
        last = np.searchsorted(bars.known_at, end_of, side="right") - 1
        total = np.cumsum(bars.squares)
        realised = np.where(usable, total[last] - total, np.nan)
        month = np.searchsorted(bars.months, end_of.astype("datetime64[M]"), side="right") - 1
        horizon = float(trading_position(end_of[:1])[0] - bars.position[0])  # the same at every bar
        return har_forecast(
            expected,
            expected / ahead,
            components(self._unit(bars, shapes), windows),
            realised,
            np.where(usable, month, -1),
            bars.blocks,
            [self._fade(bars, block) for block in bars.blocks],
            prior=self.config.learning_days * _DAY / bars.minutes * max(1.0, horizon / bars.minutes),
        )


def plain(config: YardstickConfig) -> Yardstick:
    """Return the yardstick without seasonality: the weaker baseline."""
    return Yardstick(config.model_copy(update={"seasonal": False}))


def _bars(candles: Candles) -> _Bars:
    position = trading_position(candles.known_at)
    previous = np.concatenate([position[:1], position[:-1]])
    log_return = np.concatenate([[0.0], np.diff(np.log(candles.close))])
    days = np.arange(len(candles)) * candles.timeframe.minutes / _DAY
    names, blocks = zip(*months(candles), strict=True)
    squares = log_return * log_return
    return _Bars(
        candles.timeframe.minutes, candles.known_at, position, previous, squares, days, np.array(names), tuple(blocks)
    )


def _variance_time(shapes: list[Shape], bars: _Bars, start: Floats, stop: Floats) -> Floats:
    """Return the variance time between two positions of each bar, by the shape of the bar's month: (bars,)."""
    out = np.empty(len(start))
    for shape, rows in zip(shapes, bars.blocks, strict=True):
        out[rows] = shape.clock(stop[rows]) - shape.clock(start[rows])
    return out
