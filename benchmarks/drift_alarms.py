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
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from drift_markets import AFTER_DAYS, CONFIG, DAY, HOUR, JUDGED_DAYS, Market, breaks, forecasts, real, simulated
from numpy.typing import NDArray
from scipy.stats import chi2

from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.lifecycle.drift.assess import said_tables
from fxgpt_core.lifecycle.drift.columns import DriftTable, drift_table
from fxgpt_core.lifecycle.drift.feed import Pulse
from fxgpt_core.lifecycle.drift.reference import VOLATILITY
from fxgpt_core.lifecycle.drift.statistics import ks_distances, ks_p_value
from fxgpt_core.lifecycle.drift.verdict import DriftVerdict, judge
from fxgpt_core.lifecycle.drift.volatility import volatility_table
from fxgpt_core.lifecycle.drift.watch import OnlineWatch
from fxgpt_core.market import calendar

MONTH = 30.44
THINNED = (1, 4, 12, 24)
WITHIN = {"dead feed": 1.0}
"""Days within which a break should be found; 7 where not named."""


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
