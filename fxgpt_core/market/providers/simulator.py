"""A seeded market for tests and scale runs: stochastic volatility, a daily rhythm, jumps and weekend gaps (SPEC 1).

It is not a model of any real pair: it has the features that code must survive (fat tails, clustering, a daily rhythm,
gaps over weekends), and no direction that could be forecast.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fxgpt_core.common.config import Config as _Config
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.common.timeframes import timeframe as parse_timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.instruments import Instrument, instrument
from fxgpt_core.market.providers.provider import Chunk, Pace, ProviderError, month_turns, pieces, whole_bars
from fxgpt_core.store.clock import to_datetime64

_MINUTES_PER_YEAR = 52 * calendar.WEEK_MINUTES
_STEPS = 8  # price steps inside a bar, from which its high and low are read
# Relative activity by hour since 17:00 New York: quiet rollover, Asia, London's morning, the overlap, the fade.
_RHYTHM = np.array(
    [0.4, 0.5, 0.7, 0.8, 0.8, 0.7, 0.6, 0.6, 0.7, 1.0, 1.3, 1.4, 1.3, 1.1, 1.1, 1.5, 1.8, 1.8, 1.6, 1.3, 1.0, 0.8,
     0.7, 0.5]
)  # fmt: skip


def simulate(
    symbol: str = "EURUSD",
    timeframe: str | Timeframe = "1h",
    *,
    start: np.datetime64,
    bars: int,
    seed: int,
    volatility: float = 0.08,
    clustering: float = 0.6,
    jumps_per_week: float = 0.5,
    jump_scale: float = 0.004,
    weekend_gap: float = 0.001,
    price: float | None = None,
    turns: Sequence[Turn] = (),
) -> Candles:
    """Return `bars` mid candles from the first market-hour bar at or after `start` (UTC).

    `volatility`: yearly standard deviation of the log price; `clustering`: standard deviation of log volatility, which
    reverts within about two days; `jump_scale` and `weekend_gap`: standard deviations of single log jumps; `price`:
    the first price, by default 1.1 (110 for quotes in yen); `turns`: from when on the market is another, which changes
    no bar before. Same arguments, same bars, on every machine.
    """
    frame, pair = parse_timeframe(timeframe), instrument(symbol)
    rng = np.random.default_rng(seed)
    opens = _opens(start, bars, frame)
    first_of_week = np.r_[False, calendar.week_open(opens[1:]) != calendar.week_open(opens[:-1])]

    sigma = volatility * np.sqrt(frame.minutes / _MINUTES_PER_YEAR)
    sigma = (
        sigma
        * _turned(_rhythm(opens, frame), opens, frame, turns)
        * np.exp(_log_volatility(rng, bars, frame, clustering))
    )  # (bars,)
    steps = rng.standard_normal((bars, _STEPS)) * sigma[:, None] / np.sqrt(_STEPS)  # (bars, steps)
    jumps = rng.random(bars) < jumps_per_week * frame.minutes / calendar.WEEK_MINUTES
    steps[np.arange(bars), rng.integers(0, _STEPS, bars)] += jumps * rng.standard_normal(bars) * jump_scale
    gaps = first_of_week * rng.standard_normal(bars) * weekend_gap

    total = steps.sum(axis=1)
    start_price = price if price is not None else (110.0 if pair.quote == "JPY" else 1.1)
    open_log = np.log(start_price) + np.cumsum(total + gaps) - total  # (bars,)
    path = open_log[:, None] + np.concatenate([np.zeros((bars, 1)), np.cumsum(steps, axis=1)], axis=1)
    prices = np.round(np.exp(path), pair.digits)  # rounding keeps order, so highs and lows still enclose
    volume = rng.poisson(np.maximum(sigma / sigma.mean(), 0.05) * 20 * frame.minutes).astype(np.float64) + 1
    return Candles(
        symbol=pair.symbol,
        timeframe=frame,
        side="mid",
        ts_utc=opens,
        open=prices[:, 0],
        high=prices.max(axis=1),
        low=prices.min(axis=1),
        close=prices[:, -1],
        volume=volume,
        spread=_spread(opens, frame, pair),
    )


def _turned(
    rhythm: NDArray[np.float64], opens: NDArray[np.datetime64], frame: Timeframe, turns: Sequence[Turn]
) -> NDArray[np.float64]:
    """Return the seasonal factor (bars,) with what the last turn before each bar makes of it."""
    out = rhythm.copy()
    for turn in sorted(turns, key=lambda one: one.since):
        later = opens >= np.datetime64(turn.since, "ns")
        moved = _rhythm(opens[later] + np.timedelta64(turn.rhythm_hours, "h"), frame)
        out[later] = moved * turn.volatility
    return out


def _opens(start: np.datetime64, bars: int, frame: Timeframe) -> NDArray[np.datetime64]:
    span = np.timedelta64((bars * frame.minutes * 168 // 120 + 2 * 10080) * 60, "s")
    first = np.datetime64(start, "ns")
    return calendar.bar_opens(first, first + span, frame)[:bars]


def _rhythm(opens: NDArray[np.datetime64], frame: Timeframe) -> NDArray[np.float64]:
    """Return the seasonal factor of each bar, 1 on average over a day: (bars,)."""
    if frame.minutes >= 1440:
        return np.ones(len(opens))
    hour = np.arange(-(-frame.minutes // 60)) + calendar.hour_of_week(opens)[:, None]
    factor = np.sqrt(np.mean(_RHYTHM[hour % 24] ** 2, axis=1))
    return np.asarray(factor / np.sqrt(np.mean(_RHYTHM**2)))


def _log_volatility(rng: np.random.Generator, bars: int, frame: Timeframe, clustering: float) -> NDArray[np.float64]:
    """Return a first-order autoregression with standard deviation `clustering` and mean variance factor 1: (bars,)."""
    from scipy.signal import lfilter

    keep = float(np.exp(-frame.minutes / 2880))
    shocks = rng.standard_normal(bars) * clustering * np.sqrt(1 - keep**2)
    first = rng.standard_normal() * clustering
    values, _ = lfilter([1.0], [1.0, -keep], shocks, zi=np.array([keep * first]))
    return np.asarray(values - clustering**2)


def _spread(opens: NDArray[np.datetime64], frame: Timeframe, pair: Instrument) -> NDArray[np.float64]:
    """Return a spread of half a pip that widens where the market is quiet: (bars,) price units."""
    return np.asarray(np.round(0.5 * pair.pip / np.clip(_rhythm(opens, frame), 0.4, 1.5), pair.digits + 1))


class Turn(_Config):
    """A day from which on the market is another one, until the next turn."""

    since: date = Field(description="First day of it (UTC).")
    volatility: float = Field(1.0, gt=0, le=100, description="Times the volatility of the market.")
    rhythm_hours: int = Field(0, ge=-23, le=23, description="Hours by which its daily rhythm comes earlier.")


class Outage(_Config):
    """A span in which the provider cannot be reached; its bars can be had afterwards."""

    since: datetime = Field(description="Begin, with a time zone.")
    until: datetime = Field(description="End, with a time zone.")


class Config(_Config):
    """Options of the simulated market; it begins and ends, because its length decides its bars."""

    seed: int = Field(0, ge=0, description="Decides every bar.")
    since: date = Field(date(2024, 1, 1), description="Day on which the market begins (UTC).")
    days: int = Field(366, ge=7, le=20_000, description="How long the market lasts.")
    volatility: float = Field(0.08, gt=0, le=5, description="Yearly standard deviation of the log price.")
    clustering: float = Field(0.6, ge=0, le=3, description="Standard deviation of log volatility.")
    turns: tuple[Turn, ...] = Field((), description="From when on the market is another.")
    outages: tuple[Outage, ...] = Field((), description="When the provider cannot be reached.")


def create(config: Config, pace: Pace) -> SimulatedMarket:
    """Return the simulated market as a provider."""
    return SimulatedMarket(config, pace)


class SimulatedMarket:
    """The simulator behind the seam of every provider: a span has the same bars however it is asked for.

    Each timeframe is a market of its own, not the faster one made slower.
    """

    side = "mid"

    def __init__(self, config: Config | None = None, pace: Pace | None = None) -> None:
        self._config, self._clock = config or Config(), (pace or Pace()).clock
        config = self._config  # outages change no bar, and what is as ever leaves the name as it was
        said = config.model_dump(mode="json", include={"seed", "since", "days", "volatility"})
        said |= config.model_dump(mode="json", include={"clustering", "turns"}, exclude_defaults=True)
        self.name = f"simulator_{stable_hash(said, 8)}"
        self._market: dict[tuple[str, str], Candles] = {}

    def fetch(self, symbol: str, timeframe: Timeframe, start: np.datetime64, end: np.datetime64) -> Iterator[Chunk]:
        """Yield one chunk per month (UTC), of bars that are over; raises ProviderError within an outage."""
        for outage in self._config.outages:
            if outage.since <= self._clock.now() < outage.until:
                raise ProviderError(f"The simulated provider of {symbol} cannot be reached until {outage.until}.")
        first, last = whole_bars(start, end, timeframe, to_datetime64(self._clock.now()))
        market = self._of(symbol, timeframe)
        for opened, closed in pieces(first, last, month_turns(first, last, timeframe)):
            yield Chunk(opened, closed, market.take((market.ts_utc >= opened) & (market.ts_utc < closed)))

    def _of(self, symbol: str, timeframe: Timeframe) -> Candles:
        if (symbol, timeframe.code) not in self._market:
            config, begin = self._config, np.datetime64(self._config.since, "ns")
            bars = len(calendar.bar_opens(begin, begin + np.timedelta64(config.days, "D"), timeframe))
            self._market[symbol, timeframe.code] = simulate(
                symbol,
                timeframe,
                start=begin,
                bars=bars,
                seed=config.seed,
                volatility=config.volatility,
                clustering=config.clustering,
                turns=config.turns,
            )
        return self._market[symbol, timeframe.code]
