"""Features at full size: a pair-year of all columns, one new bar, and ten years in flat memory.

    python benchmarks/features.py                        # a pair-year and one new bar, about a minute
    python benchmarks/features.py --pairs 2 --years 10   # also stores ten years of so many pairs

The peers run in the same process on the same bars: bare TA-Lib calls for what TA-Lib has, pandas rolling windows for
means and deviations, and the `ta` package where it is installed (`pip install ta==0.11.0`).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.features.assemble import candles_by_timeframe
from fxgpt_core.features.bars import Bars
from fxgpt_core.features.blocks import compute_table
from fxgpt_core.features.registry import Indicator
from fxgpt_core.features.running import RunningTables
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.features.surroundings import surroundings
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate

LAYOUT = tuple(timeframe(code) for code in ("5m", "15m", "1h", "4h"))
YEAR = 52 * 1440
SPEC = FeatureSpec()
Call = Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=0, help="Pairs whose ten years are stored; 0 leaves it out.")
    parser.add_argument("--years", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    candles = candles_by_timeframe(simulated(1), LAYOUT)
    figures = {"pair-year": pair_year(candles, options.repeat), "one new bar": one_bar(candles)}
    if options.pairs:
        figures["stored years"] = stored(options.pairs, options.years)
    print(json.dumps(figures, indent=1))


def simulated(years: int, seed: int = 1) -> Candles:
    start = np.datetime64("2013-01-06T22:00", "ns")
    return simulate("EURUSD", "5m", start=start, bars=years * YEAR, seed=seed)


def pair_year(candles: dict[str, Candles], repeat: int) -> dict[str, Any]:
    """All columns of four timeframes, and the share of TA-Lib's columns against its bare calls."""

    def tables(spec: FeatureSpec = SPEC) -> list[Any]:
        return [compute_table(bars, spec, surroundings(candles, code, None)) for code, bars in candles.items()]

    made = tables()
    calls, indicators = recorded_calls(candles)
    own = FeatureSpec(groups=(), indicators=dict.fromkeys(indicators, "all"))
    tables(own)
    result: dict[str, Any] = {
        "bars": {code: len(bars) for code, bars in candles.items()},
        "columns": {table.timeframe.code: len(table.names) for table in made},
    }
    timed = in_turns(
        {
            "all columns": tables,
            "columns of TA-Lib, blocks of ours": lambda: tables(own),
            "the same by bare TA-Lib": lambda: [call() for call in calls],
            "pandas: rolling mean and deviation of 20 and 60": lambda: by_pandas(candles),
            **({"ta package: all of its features, 5m alone": lambda: by_ta(candles["5m"])} if has_ta() else {}),
        },
        repeat,
    )
    ratio = timed["columns of TA-Lib, blocks of ours"] / timed["the same by bare TA-Lib"]
    return {**result, "seconds": timed, "TA-Lib columns, ours / bare": round(ratio, 2), "peak_gib": peak_gib()}


def recorded_calls(candles: dict[str, Candles]) -> tuple[list[Call], list[str]]:
    """Return every TA-Lib call of one pass over all bars, ready to be made again, and the indicators that make them."""
    import talib

    calls: list[Call] = []
    real = {name: getattr(talib, name) for name in talib.get_functions()}

    def recording(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            calls.append(lambda: real[name](*arguments, **named))
            return real[name](*arguments, **named)

        return call

    users: dict[str, Indicator] = {}
    try:
        for name in real:
            setattr(talib, name, recording(name))
        for bars in candles.values():
            view = Bars.of(bars)
            for indicator, parameters in SPEC.chosen(bars.timeframe):
                before = len(calls)
                indicator.compute(view, parameters, indicator.learn(view, parameters))
                if len(calls) > before:
                    users[indicator.name] = indicator
    finally:
        for name, function in real.items():
            setattr(talib, name, function)
    return calls, list(users)


def by_pandas(candles: dict[str, Candles]) -> None:
    for bars in candles.values():
        close = pd.Series(bars.close)
        for window in (20, 60):
            close.rolling(window).mean()
            close.rolling(window).std()


def has_ta() -> bool:
    try:
        import ta  # noqa: F401
    except ImportError:
        return False
    return True


def by_ta(bars: Candles) -> None:
    import warnings

    import ta

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ta.add_all_ta_features(bars.to_frame(), "open", "high", "low", "close", "volume", fillna=False)


def one_bar(candles: dict[str, Candles]) -> dict[str, Any]:
    """Milliseconds until all tables have one more base bar: the last hundred of the year, late in a month."""
    tables, base = RunningTables(LAYOUT, SPEC), candles["5m"]
    month = base.known_at.astype("datetime64[M]")
    count = int(np.flatnonzero(month[1:] != month[:-1])[-1]) + 1  # up to the end of the last whole month
    tables.update(candles_by_timeframe(base.take(slice(0, count - 101)), LAYOUT))
    taken, only_base = [], []
    for known in range(count - 100, count):
        now = candles_by_timeframe(base.take(slice(0, known)), LAYOUT)
        started = time.perf_counter()
        tables.update(now)
        taken.append(1000 * (time.perf_counter() - started))
        if now["15m"].known_at[-1] != now["5m"].known_at[-1]:
            only_base.append(taken[-1])
    in_month = int((month == month[count - 1]).sum())
    return {
        "5m bars of the running month": in_month,
        "milliseconds": round(statistics.median(taken), 1),
        "milliseconds where only 5m closed": round(statistics.median(only_base), 1),
        "longest": round(max(taken), 1),
    }


def stored(pairs: int, years: int) -> dict[str, Any]:
    """Seconds and peak memory of storing the features of several pairs, one process a pair, two at a time."""
    with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=1) as p:
        short = p.starmap(store_pair, [(folder, "short", 1, 0)])[0]
        started = time.perf_counter()
        made = p.starmap(store_pair, [(folder, f"pair{n}", years, n) for n in range(pairs)], chunksize=1)
        wall = time.perf_counter() - started
        size = sum(file.stat().st_size for file in Path(folder).rglob("features/**/*.parquet"))
    return {
        "pairs": pairs,
        "years": years,
        "wall_seconds": round(wall, 1),
        "seconds_a_pair_year": round(statistics.median(seconds for seconds, _ in made) / years, 2),
        "peak_gib_a_process": round(max(peak for _, peak in made), 2),
        "peak_gib_one_year": round(short[1], 2),
        "gib_on_disk_a_pair_year": round(size / 2**30 / (pairs * years + 1), 3),
    }


def store_pair(folder: str, name: str, years: int, seed: int) -> tuple[float, float]:
    """Store candles and features of one pair in a lake of its own; returns seconds of the features and peak GiB."""
    from fxgpt_core.features.stored import update_tables
    from fxgpt_core.market.bars import Source, store_given
    from fxgpt_core.market.config import QualityConfig
    from fxgpt_core.market.history import update_candles
    from fxgpt_core.market.lake import Lake
    from fxgpt_core.market.quality.assessment import assess

    lake, candles = Lake(Path(folder) / name), simulated(years, seed)
    judged = assess(candles.to_frame().reset_index(), "EURUSD", "5m", QualityConfig())
    store_given(lake, candles, judged, Source("simulated", name, {"layout": "simulator"}))
    update_candles(lake, "EURUSD", list(LAYOUT), "import", QualityConfig())
    started = time.perf_counter()
    update_tables(lake, "EURUSD", LAYOUT, SPEC)
    return time.perf_counter() - started, peak_gib()


def in_turns(calls: dict[str, Call], repeat: int) -> dict[str, float]:
    """Return the median seconds of each call, made in turns after one of each that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeat + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if turn:
                taken[name].append(time.perf_counter() - started)
    return {name: round(statistics.median(values), 3) for name, values in taken.items()}


def peak_gib() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


if __name__ == "__main__":
    main()
