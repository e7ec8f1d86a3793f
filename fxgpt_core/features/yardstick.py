"""`Yardstick`: the causal volatility forecast that standardises targets and is the baseline to beat.

Variance over a horizon = variance time ahead (`seasonality.Shape`) x current level x scale. The level mixes a fast and
a slow EWMA of squared deseasonalised returns; half-life, mixture and scale are chosen per horizon by their likelihood
on labels known so far. All of it is frozen at the end of the previous month of `known_at`, so a forecast at t depends
on nothing after t, and a month's forecasts can be computed again bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.features.har import components, har_variance, har_weights
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
from fxgpt_core.features.yardstick_bars import SURPRISE, Averages, YardstickBars, average
from fxgpt_core.market.candles import Candles

_DAY = 1440
FLOOR = 1e-6
"""Least volatility forecast, log-return units: a hundredth of a pip at par, for stretches of stale prices."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Choice:
    """What is in force for one horizon during a month: number of the half-life, weight of the fast level, scale, and
    weights of the autoregression where there is one."""

    life: int
    fast: float
    scale: float
    weights: Floats | None = None


@dataclass(frozen=True)
class Progress:
    """Where a yardstick stands after its last bar: all that later bars of the same month depend on.

    `unit`: (bars,) squared returns per average minute, at least as many as the autoregression looks at.
    """

    shape: Shape
    choices: tuple[_Choice, ...]
    averages: Averages
    unit: Floats
    bars: int


class Yardstick:
    """Volatility forecasts for one base timeframe; `config.seasonal = False` gives the plain EWMA."""

    def __init__(self, config: YardstickConfig) -> None:
        self.config = config

    def forecast(self, candles: Candles, labels: Labels) -> Floats:
        """Return the volatility forecast of every base bar and horizon, log-return units: (bars, horizons).

        NaN during the first `first_days` of trading. `labels` of the same candles give the horizons' ends, and teach
        the choice of half-lives once they are known.
        """
        return self.begin(candles, labels)[0]

    def begin(self, candles: Candles, labels: Labels) -> tuple[Floats, Progress | None]:
        """Return `forecast`, and what to go on from with `follow`; None where there are less than two bars."""
        out = np.full(labels.label_end.shape, np.nan)
        if len(candles) < 2:
            return out, None
        bars = YardstickBars.of(candles)
        shapes = self._shapes(bars)
        unit, levels, averages = average(bars, shapes, self._lives(bars.minutes), None)
        parts, last = self._parts(unit, bars.minutes), []
        for column in range(out.shape[1]):
            ahead = bars.variance_time(shapes, bars.position, trading_position(labels.label_end[:, column]))
            choices = self._choices(bars, levels, ahead, labels, column)
            if parts is not None:
                choices = self._autoregression(bars, parts, levels, ahead, choices, labels, column)
            for choice, rows in zip(choices, bars.blocks, strict=True):
                seen = None if parts is None else parts[rows]
                out[rows, column] = _spread(choice, levels[:, rows], ahead[rows], seen)
            last.append(choices[-1])
        out[bars.days < self.config.first_days] = np.nan
        return out, Progress(shapes[-1], tuple(last), averages, self._kept(unit, bars.minutes), len(candles))

    def follow(
        self, candles: Candles, label_end: NDArray[np.datetime64], since: Progress
    ) -> tuple[Floats, Progress] | None:
        """Return the forecasts of the bars behind those of `since`, (new bars, horizons), and where that leads.

        `candles`: the last bar of before and the new ones; `label_end` (new bars, horizons). The bits are those of
        `forecast` over all bars. None where a new month has begun: then there is something to learn, by `begin`.
        """
        bars = YardstickBars.of(candles, since.bars - 1)
        if len(bars.months) > 1:
            return None
        fresh, levels, averages = average(bars, [since.shape], self._lives(bars.minutes), since.averages)
        unit, out = np.concatenate([since.unit, fresh[1:]]), np.empty(label_end.shape)
        parts = self._parts(unit, bars.minutes)
        seen = None if parts is None else parts[len(since.unit) :]
        for column, choice in enumerate(since.choices):
            stop = trading_position(label_end[:, column])
            ahead = since.shape.clock(stop) - since.shape.clock(bars.position[1:])
            out[:, column] = _spread(choice, levels[:, 1:], ahead, seen)
        out[bars.days[1:] < self.config.first_days] = np.nan
        count = since.bars + len(out)
        return out, Progress(since.shape, since.choices, averages, self._kept(unit, bars.minutes), count)

    def _shapes(self, bars: YardstickBars) -> list[Shape]:
        """Return the shape in force in each month, learned from the months before it."""
        config = self.config
        flat = flat_shape(config.weekend_minutes if config.seasonal else 0.0)
        if not config.seasonal:
            return [flat] * len(bars.blocks)
        per_minute = bars.squares / np.maximum(bars.position - bars.previous, bars.minutes)
        usual = np.full(len(per_minute), np.nan)  # up to the bar before, the first bar left out
        usual[2:] = ewma(per_minute[1:], config.slow_half_life / bars.minutes)[:-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            moves = np.sqrt(per_minute / usual)
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

    def _fade(self, bars: YardstickBars, block: slice) -> float:
        """Return the factor by which what was learned before fades over a month."""
        days = bars.days[block.stop - 1] - bars.days[block.start]
        return float(0.5 ** (days / self.config.memory_days))

    def _lives(self, bar_minutes: int) -> tuple[float, ...]:
        """Return the half-lives of all levels, the slow one first."""
        fast = tuple(h for h in self.config.half_lives if h >= bar_minutes) or (float(bar_minutes),)
        return self.config.slow_half_life, *fast

    def _choices(
        self, bars: YardstickBars, levels: Floats, ahead: Floats, labels: Labels, column: int
    ) -> list[_Choice]:
        """Return the candidate that was the likeliest before each month.

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
        candidates = [(life, w) for life in range(lives) for w in weights]
        for life, fast in candidates:
            spread = np.maximum(np.sqrt(_mixed(_Choice(life, fast, 1.0), levels, ahead)[usable]), FLOOR)
            size = np.minimum(np.abs(returns[usable]) / spread, SURPRISE)
            sums.append([np.bincount(end, x, len(bars.blocks)) for x in (np.log(spread), size, size * size)])
        gained = np.asarray(sums)  # (candidates, 3, months)
        count = np.bincount(end, minlength=len(bars.blocks)).astype(np.float64)
        prior = config.learning_days * _DAY / bars.minutes
        out = []
        past, known = np.zeros(gained.shape[:2]), 0.0
        for month in range(len(bars.blocks)):
            best, scale = default, 1.0
            if known * bars.minutes >= config.learning_days * _DAY:
                loss = past[:, 0] / known + np.log(past[:, 1] / known)
                best = int(np.argmin(loss))
            if known:
                scale = (past[best, 2] + prior) / (known + prior)
            out.append(_Choice(*candidates[best], float(scale)))
            past, known = past * fades[month] + gained[:, :, month], known * fades[month] + count[month]
        return out

    def _autoregression(
        self,
        bars: YardstickBars,
        parts: Floats,
        levels: Floats,
        ahead: Floats,
        choices: list[_Choice],
        labels: Labels,
        column: int,
    ) -> list[_Choice]:
        """Return the choices with the weights of the heterogeneous autoregression on top of the EWMA's forecast."""
        usable = labels.mask[:, column] & (bars.days >= self.config.first_days)
        end_of = labels.label_end[:, column]
        last = np.searchsorted(bars.known_at, end_of, side="right") - 1
        total = np.cumsum(bars.squares)
        realised = np.where(usable, total[last] - total, np.nan)
        month = np.searchsorted(bars.months, end_of.astype("datetime64[M]"), side="right") - 1
        horizon = float(trading_position(end_of[:1])[0] - bars.position[0])  # the same at every bar
        expected = np.empty(len(ahead))
        for choice, rows in zip(choices, bars.blocks, strict=True):
            expected[rows] = _mixed(choice, levels[:, rows], ahead[rows])
        weights = har_weights(
            expected,
            expected / ahead,
            parts,
            realised,
            np.where(usable, month, -1),
            bars.blocks,
            [self._fade(bars, block) for block in bars.blocks],
            prior=self.config.learning_days * _DAY / bars.minutes * max(1.0, horizon / bars.minutes),
        )
        return [replace(choice, weights=row) for choice, row in zip(choices, weights, strict=True)]

    def _windows(self, bar_minutes: int) -> list[int]:
        return sorted({max(1, round(minutes / bar_minutes)) for minutes in self.config.har_minutes})

    def _parts(self, unit: Floats, bar_minutes: int) -> Floats | None:
        """Return what the autoregression looks at, (bars, components), None where there is none."""
        return components(unit, self._windows(bar_minutes)) if self.config.level == "har" else None

    def _kept(self, unit: Floats, bar_minutes: int) -> Floats:
        """Return the last of `unit`, as far as later bars look back at them."""
        return unit[-max(self._windows(bar_minutes)) :].copy() if self.config.level == "har" else unit[:0]


def _mixed(choice: _Choice, levels: Floats, ahead: Floats) -> Floats:
    """Return the EWMA's variance forecast of bars over `ahead` units of variance time: (bars,)."""
    level = choice.fast * levels[1 + choice.life] + (1 - choice.fast) * levels[0]
    return np.asarray(ahead * level * choice.scale)


def _spread(choice: _Choice, levels: Floats, ahead: Floats, parts: Floats | None) -> Floats:
    """Return the forecast of one horizon for bars of one month: (bars,)."""
    variance = _mixed(choice, levels, ahead)
    if choice.weights is not None and parts is not None:
        variance = har_variance(variance, variance / ahead, parts, choice.weights)
    return np.asarray(np.maximum(np.sqrt(variance), FLOOR))
