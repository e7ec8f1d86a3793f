"""Markets on which drift is measured, calm ones and broken ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.dataset import Dataset, Split
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.lifecycle.drift.assess import said_tables
from fxgpt_core.lifecycle.drift.columns import DriftTable, drift_table, online_rows
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.drift.feed import Pulse
from fxgpt_core.lifecycle.drift.reference import VOLATILITY, DriftReference, build_reference
from fxgpt_core.lifecycle.drift.volatility import volatility_table
from fxgpt_core.market import calendar
from fxgpt_core.market.candles import Candles
from fxgpt_core.models.forecaster import Forecaster, Provenance
from fxgpt_core.models.registry import family
from fxgpt_core.training.plan import plan_training

DAY, HOUR = np.timedelta64(1, "D"), np.timedelta64(1, "h")
FIT_DAYS, JUDGED_DAYS, AFTER_DAYS = 112, 182, 14
STEPS = 8
RHYTHM = 0.5 + np.array([0, 1, 2, 3, 3, 2, 2, 2, 3, 5, 7, 8, 7, 6, 6, 9, 11, 11, 10, 8, 6, 4, 3, 1]) / 10
COLUMNS: tuple[tuple[str, str, Callable[[NDArray[np.float32]], Any]], ...] = (
    ("atr_{tf}_14", "x 10", lambda values: values * 10),
    ("atr_{tf}_14", "x -1", lambda values: -values),
    ("rsi_{tf}_14", "missing", lambda values: np.nan),
    ("ret_lag_{tf}_1", "x 10", lambda values: values * 10),
    ("ret_lag_{tf}_1", "x -1", lambda values: -values),
)
CONFIG = DriftConfig()
GROUPS = ("ohlc", "volatility", "returns", "oscillators", "trend", "channels", "volume", "seasonal")
"""Of the default groups those that hold a judged column: the others cost time and change nothing here."""


def garch(seed: int, bars: int) -> Candles:
    """Hourly candles of a stationary GARCH(1,1) market, persistence 0.97, Student shocks with 6 degrees of freedom."""
    rng = np.random.default_rng(seed)
    start = np.datetime64("2020-01-05", "ns")
    opens = calendar.bar_opens(start, start + np.timedelta64(bars * 168 // 120 + 20, "h"), "1h")[:bars]
    rhythm = RHYTHM[calendar.hour_of_week(opens) % 24]
    rhythm = rhythm / np.sqrt((rhythm**2).mean())
    usual, variance = (0.08 / np.sqrt(52 * 120)) ** 2, 0.0
    mixing = np.sqrt(4 / rng.chisquare(6, bars))  # scale mixture: Student shocks of variance 1
    normal = rng.standard_normal((bars, STEPS)) / np.sqrt(STEPS)
    shocks, sigma = normal.sum(axis=1) * mixing, np.empty(bars)
    variance = usual
    for i in range(bars):
        sigma[i] = np.sqrt(variance)
        variance = 0.03 * usual + variance * (0.06 * shocks[i] ** 2 + 0.91)
    moves = normal * (mixing * sigma * rhythm)[:, None]
    path = np.log(1.1) + np.cumsum(moves.ravel()).reshape(bars, STEPS)
    first = np.concatenate([[np.log(1.1)], path[:-1, -1]])
    prices = np.round(np.exp(np.column_stack([first, path])), 6)
    volume = rng.poisson(np.maximum(sigma * rhythm / np.sqrt(usual), 0.05) * 1200).astype(np.float64) + 1
    return Candles(
        symbol="EURUSD", timeframe=timeframe("1h"), side="mid", ts_utc=opens, open=prices[:, 0],
        high=prices.max(axis=1), low=prices.min(axis=1), close=prices[:, -1], volume=volume,
        spread=np.full(bars, np.nan),
    )  # fmt: skip


def bars_of(path: Path) -> Candles:
    """Candles of a file named SYMBOL_TIMEFRAME.parquet."""
    symbol, frame = path.stem.split("_")[:2]
    return Candles.from_frame(pd.read_parquet(path), symbol, frame, "bid")


@dataclass(frozen=True)
class Market:
    """A market with what it is judged by; `begin`: end of the reference and of what a model would have learnt."""

    dataset: Dataset
    forecaster: Forecaster
    reference: DriftReference
    begin: np.datetime64

    @classmethod
    def of(cls, candles: Candles, start: np.datetime64, days: int) -> Market:
        """Fit on the bars before `start`, take the `days` after as reference."""
        dataset = built(candles)
        forecaster = family("seasonal_ewma").create(family("seasonal_ewma").config({}))
        early = dataset.mask & (dataset.label_end <= start)
        nothing = np.zeros_like(early)
        forecaster.fit(dataset.with_split(Split("first", early, nothing, nothing[:, 0], start)), plan_training(0))
        begin = start + days * DAY
        end = begin - CONFIG.window_days * DAY
        table = drift_table(dataset, CONFIG)
        said = said_tables(forecasts(forecaster, dataset, start), Outcomes.from_dataset(dataset).known_at(begin))
        said[VOLATILITY] = volatility_table(dataset.candles)
        silence = Pulse.of(dataset.candles).longest(start, end)
        window = online_rows(dataset, CONFIG)
        reference = build_reference(table, start, end, CONFIG, 0, said, "EURUSD/1", (), window, silence, levels=True)
        return cls(dataset, forecaster, reference, begin)


def built(candles: Candles) -> Dataset:
    """Features and targets as the product makes them."""
    return build_dataset(candles, [candles.timeframe], [60, 240], FeatureSpec(groups=GROUPS))


def forecasts(forecaster: Forecaster, dataset: Dataset, since: np.datetime64) -> Forecast:
    """Out of sample: the shape was learnt before `since`."""
    rows = np.flatnonzero(dataset.usable & (dataset.known_at > since))
    return forecaster.forecast(dataset, rows, Provenance("benchmark", dataset.known_at[-1]))


def simulated(markets: int, days: int, seed: int) -> Iterator[Market]:
    """Markets that are calm for good, by seeds from `seed` on."""
    first = np.datetime64("2020-01-05", "ns") + FIT_DAYS * DAY
    for number in range(seed, seed + markets):
        bars = (FIT_DAYS + days + JUDGED_DAYS + AFTER_DAYS) * 120 // 7
        yield Market.of(garch(number, bars), first, days)


def real(files: list[Path], days: int, years: int) -> Iterator[Market]:
    """Markets from files, one for each stretch of history; stretches do not overlap."""
    for path in files:
        candles = bars_of(path)
        length = FIT_DAYS + days + JUDGED_DAYS + AFTER_DAYS
        for stretch in range(years):
            start = candles.ts_utc[0] + stretch * length * DAY
            inside = (candles.ts_utc >= start) & (candles.ts_utc < start + length * DAY)
            if candles.ts_utc[-1] < start + length * DAY:
                break
            yield Market.of(candles.take(inside), start + FIT_DAYS * DAY, days)


Break = Callable[[Market, DriftTable, np.datetime64], tuple[Dataset, DriftTable]]


def _prices(change: Callable[[NDArray[np.float64], float], NDArray[np.float64]]) -> Break:
    """A break of the prices: log prices relative to the last calm close are changed, features made anew."""

    def broken(market: Market, _: DriftTable, since: np.datetime64) -> tuple[Dataset, DriftTable]:
        candles = market.dataset.candles
        at = int(np.searchsorted(candles.known_at, since, side="right"))
        path = np.log(np.column_stack([candles.open, candles.high, candles.low, candles.close]))
        usual = float(np.diff(path[:at, 3]).std())
        path[at:] = path[at - 1, 3] + change(path[at:] - path[at - 1, 3], usual)
        prices = dict(zip(("open", "high", "low", "close"), np.exp(path).T.copy(), strict=True))
        dataset = built(replace(candles, **prices))
        return dataset, drift_table(dataset, CONFIG)

    return broken


def _shifted(share: float) -> Callable[[NDArray[np.float64], float], NDArray[np.float64]]:
    def change(path: NDArray[np.float64], usual: float) -> NDArray[np.float64]:
        bars = np.arange(1, len(path) + 1)[:, None] - np.array([1.0, 0.5, 0.5, 0.0])  # high and low somewhere between
        moved: NDArray[np.float64] = path + share * usual * bars
        moved[:, 1], moved[:, 2] = moved.max(axis=1), moved.min(axis=1)
        return moved

    return change


def _column(pattern: str, change: Callable[[NDArray[np.float32]], Any]) -> Break:
    def broken(market: Market, table: DriftTable, since: np.datetime64) -> tuple[Dataset, DriftTable]:
        name = pattern.format(tf=market.dataset.base.code)
        values, late = table.values.copy(), table.known_at > since
        column = table.names.index(name)
        values[late, column] = change(values[late, column])
        return market.dataset, replace(table, values=values)

    return broken


def _stuck(market: Market, _: DriftTable, since: np.datetime64) -> tuple[Dataset, DriftTable]:
    candles = market.dataset.candles
    at = int(np.searchsorted(candles.known_at, since, side="right"))
    prices = {name: getattr(candles, name).copy() for name in ("open", "high", "low", "close")}
    for values in prices.values():
        values[at:] = candles.close[at - 1]
    dataset = replace(market.dataset, candles=replace(candles, **prices))
    return dataset, drift_table(dataset, CONFIG)


def _silent(market: Market, table: DriftTable, since: np.datetime64) -> tuple[Dataset, DriftTable]:
    bars = int(np.searchsorted(market.dataset.known_at, since, side="right"))
    return market.dataset.head(bars), table.between(table.known_at[0] - DAY, since)


def breaks() -> dict[str, Break]:
    """Every break, by name; 'dead feed' ones are found by the pulse, the others by any statistic."""
    made: dict[str, Break] = {
        "volatility x 2": _prices(lambda path, _: 2 * path),
        "mean + 0.5 sd a bar": _prices(_shifted(0.5)),
        "mean + 0.25 sd a bar": _prices(_shifted(0.25)),
    }
    for pattern, what, change in COLUMNS:
        made[f"feature break: {pattern.format(tf='tf')} {what}"] = _column(pattern, change)
    return made | {"dead feed: constant bars": _stuck, "dead feed: no bars": _silent}
