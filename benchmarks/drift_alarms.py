"""How often calm markets raise a drift alarm, and how soon a broken one does.

    nice -n 15 python benchmarks/drift_alarms.py --markets 40 --broken 16 --out DIR > table.md
    nice -n 15 python benchmarks/drift_alarms.py BARS/EURUSD_1h.parquet BARS/GBPUSD_1h.parquet --out DIR > table.md

Without files: simulated hourly markets, GARCH(1,1) with Student shocks and the day's rhythm, stationary, so that every
alarm before a break is false. With files (SYMBOL_TIMEFRAME.parquet: ts_utc, OHLC, volume): real bars, where an alarm
before a break may well be right. Each market is judged once a day and watched bar by bar by what the product
uses, against a reference of a year of bars (`--reference` days), with forecasts of a seasonal EWMA walk that learnt its
shape from the bars before that year. Breaks begin in the middle of what is judged; delays are counted from there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2

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
from fxgpt_core.lifecycle.drift.statistics import ks_distances, ks_p_value
from fxgpt_core.lifecycle.drift.verdict import DriftVerdict, judge
from fxgpt_core.lifecycle.drift.volatility import volatility_table
from fxgpt_core.lifecycle.drift.watch import OnlineWatch
from fxgpt_core.market import calendar
from fxgpt_core.market.candles import Candles
from fxgpt_core.models.forecaster import Forecaster, Provenance
from fxgpt_core.models.registry import family
from fxgpt_core.training.plan import plan_training

DAY, HOUR = np.timedelta64(1, "D"), np.timedelta64(1, "h")
MONTH = 30.44
FIT_DAYS, JUDGED_DAYS, AFTER_DAYS = 112, 182, 14
STEPS = 8
RHYTHM = 0.5 + np.array([0, 1, 2, 3, 3, 2, 2, 2, 3, 5, 7, 8, 7, 6, 6, 9, 11, 11, 10, 8, 6, 4, 3, 1]) / 10
THINNED = (1, 4, 12, 24)
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
WITHIN = {"dead feed": 1.0}
"""Days within which a break should be found; 7 where not named."""


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


@dataclass(frozen=True)
class Seen:
    """One market as it is looked at: daily verdicts, and what is seen bar by bar."""

    looks: list[DriftVerdict]
    bar_alarms: list[tuple[np.datetime64, str]]


def watched(
    market: Market,
    dataset: Dataset,
    table: DriftTable,
    start: np.datetime64,
    end: np.datetime64,
    begun: OnlineWatch | None = None,
) -> Seen:
    """Judge every day from `start` to `end`, watch every bar; no further than where both raise an alarm with `begun`.

    `begun`: what has seen the bars up to `start` already.
    """
    since = market.reference.end - 10 * DAY
    said = said_tables(forecasts(market.forecaster, dataset, since), Outcomes.from_dataset(dataset))
    size = volatility_table(dataset.candles)
    watch, pulse = deepcopy(begun) or caught_up(market, table, start), Pulse.of(dataset.candles)
    looks: list[DriftVerdict] = []
    alarms: list[tuple[np.datetime64, str]] = []
    for now in np.arange(start, end, DAY):
        for at in table.between(now - DAY, now).known_at if now > start else ():
            alarms += [(at, name) for name in watch.observe(table.between(at - HOUR, at)).onsets]
        online = watch.observe(table.between(now - DAY, now))
        known = {name: part.between(since, now) for name, part in said.items()} | {VOLATILITY: size}
        looks.append(judge(market.reference, table, now, CONFIG, looks[-1] if looks else None, known, online, pulse))
        if begun is not None and alarms and looks[-1].drifted:
            break
    return Seen(looks, alarms)


def caught_up(market: Market, table: DriftTable, until: np.datetime64) -> OnlineWatch:
    """Return a watch that has seen the bars up to `until`."""
    watch = OnlineWatch(market.reference, CONFIG, None)
    watch.observe(table.between(market.reference.end, until))
    return watch


def false_alarms(markets: Iterator[Market], days: int, out: Path) -> dict[str, Any]:
    """Onsets of calm markets, all together and by part, and how often p-values of independent rows would have fired."""
    count: dict[str, int] = {"any": 0, "dead feed": 0}
    calm: dict[str, Any] = {}
    looks, seconds, weeks = 0, 0.0, 0
    fired = dict.fromkeys(THINNED, 0)
    for number, market in enumerate(markets):
        table, began = drift_table(market.dataset, CONFIG), time.process_time()
        seen = watched(market, market.dataset, table, market.begin, market.begin + days * DAY)
        seconds, looks = seconds + time.process_time() - began, looks + len(seen.looks)
        count["any"] += sum(look.onset for look in seen.looks)
        count["dead feed"] += sum(look.dead_feed for look in seen.looks)
        for part in (*market.reference.parts, *market.reference.online):
            above = [(found := look.part(part)) is not None and found.drifted for look in seen.looks]
            count[part] = count.get(part, 0) + _onsets(above)
        for now in np.arange(market.begin + 7 * DAY, market.begin + days * DAY, 7 * DAY):
            weeks += 1
            for thin in THINNED:
                fired[thin] += _independent(market, table, now, thin) < 0.05
        calm = _rates(count, looks / MONTH) | {"weeks": weeks, "fired": {thin: n / weeks for thin, n in fired.items()}}
        (out / "calm.json").write_text(json.dumps(calm))
        print(f"calm {number}: {count}, {seconds / looks:.3f} s a look", file=sys.stderr, flush=True)
    return calm


def _onsets(above: list[bool]) -> int:
    """Return how often an alarm begins: windows that overlap one in alarm belong to it."""
    week = CONFIG.window_days
    return sum(now and not any(above[max(day - week + 1, 0) : day]) for day, now in enumerate(above))


def _rates(count: Mapping[str, int], months: float) -> dict[str, Any]:
    return {"months": months, "rates": {name: (n, n / months, *poisson(n, months)) for name, n in count.items()}}


def _independent(market: Market, table: DriftTable, now: np.datetime64, thin: int) -> float:
    """Return the Bonferroni p-value of KS tests on every `thin`-th bar of the last week and of the training span."""
    names = market.reference.features.names
    window = table.between(now - 7 * DAY, now).select(names).complete().values[::thin]
    span = table.between(market.reference.start, market.reference.end).select(names).complete().values[::thin]
    largest = float(ks_distances(span, window).max())
    return min(1.0, ks_p_value(largest, len(span), len(window)) * len(names))


def poisson(count: int, months: float) -> tuple[float, float]:
    """Return the exact 95 % interval of a rate (Garwood 1936)."""
    low = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    return low / months, chi2.ppf(0.975, 2 * count + 2) / 2 / months


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


def delays(markets: Iterator[Market], offsets: list[int], out: Path) -> dict[str, dict[str, list[float | None]]]:
    """Days from a break to the first daily verdict, and the first bar, that raises an alarm; None: not in 14 days."""
    found: dict[str, dict[str, list[float | None]]] = {}
    for number, market in enumerate(markets):
        table = drift_table(market.dataset, CONFIG)
        for offset in offsets:
            since = market.begin + offset * DAY
            watch = caught_up(market, table, since)
            calm = watched(market, market.dataset, table, since, since + DAY, watch)
            if calm.looks[0].drifted:
                continue  # an alarm is on already: whether the break raises one cannot be seen
            for name, broken in breaks().items():
                dataset, changed = broken(market, table, since)
                daily, bar = _delay(market, dataset, changed, since, None if name.startswith("dead feed") else watch)
                own = found.setdefault(name, {"daily": [], "bar": []})
                own["daily"].append(daily)
                own["bar"].append(bar)
        (out / "broken.json").write_text(json.dumps(found))
        print(f"broken {number}", file=sys.stderr, flush=True)
    return found


def _delay(
    market: Market, dataset: Dataset, table: DriftTable, since: np.datetime64, watch: OnlineWatch | None
) -> tuple[float | None, float | None]:
    if watch is None:  # looked at every hour, as the live loop does; in trading hours, told in days of 24 of them
        pulse, end = Pulse.of(dataset.candles), since + AFTER_DAYS * DAY
        for now in np.arange(since, end, HOUR):
            look = judge(market.reference, table, now, CONFIG, pulse=pulse)
            if look.dead_feed:
                hours = float(calendar.trading_minutes_between(since, now)) / 60
                return hours / 24, hours / 24
        return None, None
    seen = watched(market, dataset, table, since, since + AFTER_DAYS * DAY, watch)
    first = next((look for look in seen.looks[1:] if look.drifted), None)
    daily = None if first is None else _days(np.datetime64(first.window_end.removesuffix("Z")) - since)
    return daily, _days(seen.bar_alarms[0][0] - since) if seen.bar_alarms else None


def _days(span: Any) -> float:
    return float(span / np.timedelta64(1, "h")) / 24


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


def table_of(calm: Mapping[str, Any], broken: dict[str, dict[str, list[float | None]]]) -> str:
    """Return the results as Markdown."""
    lines = []
    if calm:
        lines += [f"{calm['months']:.0f} months of daily verdicts.", "", "| alarms | n | a month | 95 % interval |"]
        lines += ["|---|---|---|---|"]
        lines += [
            f"| {name} | {n} | {rate:.3f} | {a:.3f} to {b:.3f} |" for name, (n, rate, a, b) in calm["rates"].items()
        ]
        lines += ["", f"| p-values of independent rows, {calm['weeks']} weeks | weeks that fire |", "|---|---|"]
        lines += [f"| every {thin}. bar | {share:.0%} |" for thin, share in calm["fired"].items()]
    head = "| break | n | daily verdict: in time | median, 90 % (days) | bar by bar: in 7 days | median (days) |"
    lines += ["", head, "|---|---|---|---|---|---|"]
    for name, both in broken.items():
        within = next((days for start, days in WITHIN.items() if name.startswith(start)), 7.0)
        daily, bar = (np.array([np.inf if d is None else d for d in both[key]]) for key in ("daily", "bar"))
        lines.append(
            f"| {name} | {len(daily)} | {(daily <= within).mean():.0%} in {within:g} d "
            f"| {_quantile(daily, 0.5)}, {_quantile(daily, 0.9)} | {(bar <= 7).mean():.0%} | {_quantile(bar, 0.5)} |"
        )
    return "\n".join(lines)


def _quantile(values: NDArray[np.float64], level: float) -> str:
    if not len(values):
        return "-"
    found = float(np.quantile(values, level, method="higher"))
    return f"{found:.1f}" if np.isfinite(found) else "> 14"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bars", nargs="*", type=Path)
    parser.add_argument("--markets", type=int, default=40, help="Markets that are judged as they are.")
    parser.add_argument("--broken", type=int, default=16, help="Markets that are broken.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the first simulated market.")
    parser.add_argument("--reference", type=int, default=364, help="Days of the reference.")
    parser.add_argument("--stretches", type=int, default=3, help="Stretches of history, of each file.")
    parser.add_argument("--out", type=Path, required=True, help="Folder for the figures as JSON.")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)

    def source() -> Iterator[Market]:
        if given.bars:
            return real(given.bars, given.reference, given.stretches)
        return simulated(max(given.markets, given.broken), given.reference, given.seed)

    calm = false_alarms(islice(source(), given.markets), JUDGED_DAYS, given.out)
    broken = delays(islice(source(), given.broken), [63], given.out)
    print(table_of(calm, broken))


if __name__ == "__main__":
    main()
