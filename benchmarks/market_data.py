"""Market data at full size: import, resampling, reading the newest bars, and twenty pairs over fifteen years.

    python benchmarks/market_data.py   # all but the large lake, about two minutes
    python benchmarks/market_data.py --pairs 20 --years 15 --lake large_lake   # builds it first

Every figure stands beside a peer's for the same work in the same run: plain pandas for one year, DuckDB for the lake.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from fxgpt_core.common.timeframes import TIMEFRAMES, timeframe
from fxgpt_core.market.bars import Source, store_given
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.files.importing import import_file
from fxgpt_core.market.history import load_candles, recent_candles, update_candles
from fxgpt_core.market.lake import Lake
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_core.market.quality.assessment import assess
from fxgpt_core.market.resampling import resample

PAIRS = [
    *("EURUSD", "GBPUSD", "USDJPY", "AUDUSD", "USDCAD", "EURGBP", "EURJPY", "NZDUSD", "USDCHF", "GBPJPY"),
    *("EURCHF", "AUDJPY", "EURAUD", "CADJPY", "CHFJPY", "GBPCHF", "AUDNZD", "EURCAD", "GBPAUD", "NZDJPY"),
]
SLOWER = [bar for bar in sorted(TIMEFRAMES.values()) if bar.code != "1m"]
BARS_PER_YEAR = 52 * 7200
QUALITY = QualityConfig()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=0, help="Pairs of the large lake; 0 leaves it out.")
    parser.add_argument("--years", type=int, default=15)
    parser.add_argument("--lake", type=Path, help="Folder of the large lake; kept, and used again.")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = one_year(Path(folder), options.repeat)
    if options.pairs:
        figures["large lake"] = large_lake(options.lake or Path(tempfile.mkdtemp()), options.pairs, options.years)
    print(json.dumps(figures, indent=1))


def one_year(folder: Path, repeat: int) -> dict[str, Any]:
    """Import, resampling and reading of one year of 1m bars; ratios above 1 say how much faster fxgpt is."""
    year = simulate("EURUSD", "1m", start=np.datetime64("2023-01-02"), bars=BARS_PER_YEAR, seed=1)
    path = folder / "EURUSD_mid_1m.csv"
    frame = year.to_frame().drop(columns="spread").reset_index()
    frame["ts_utc"] = frame["ts_utc"].dt.strftime("%Y-%m-%d %H:%M:%S")
    frame.rename(columns={"ts_utc": "time"}).to_csv(path, index=False)

    lake = Lake(folder / "lake")

    def ours() -> None:
        shutil.rmtree(lake.root, ignore_errors=True)
        import_file(lake, path, tz="UTC")
        update_candles(lake, "EURUSD", [timeframe("1m"), *SLOWER], "import", QUALITY)

    def only_import() -> None:
        shutil.rmtree(lake.root, ignore_errors=True)
        import_file(lake, path, tz="UTC")

    def read_by_pandas() -> pd.DataFrame:
        table = pd.read_csv(path)
        table["time"] = pd.to_datetime(table["time"])
        return table.set_index("time")

    def whole_by_pandas() -> None:
        resample_by_pandas(read_by_pandas())

    plain = read_by_pandas()
    result: dict[str, Any] = {"rows": len(year)}
    result["import"] = compared(only_import, read_by_pandas, repeat)
    result["resample 1m to ten timeframes"] = compared(
        lambda: [resample(year, bar) for bar in SLOWER], lambda: resample_by_pandas(plain), repeat
    )
    result["import, judge, derive and store ten timeframes"] = compared(ours, whole_by_pandas, repeat)
    four = [timeframe(code) for code in ("1m", "15m", "1h", "4h")]
    result["last 500 bars of four timeframes"] = compared(
        lambda: [recent_candles(lake, "EURUSD", bar, 500) for bar in four],
        lambda: [load_candles(lake, "EURUSD", bar).take(slice(-500, None)) for bar in four],
        10 * repeat,
    )
    return result


def resample_by_pandas(table: pd.DataFrame) -> None:
    """What one writes without us: UTC grids, no New York alignment, no partial-bar rule."""
    rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    for bar in SLOWER:
        table.resample(f"{bar.minutes}min").agg(rules).dropna()


def compared(ours: Callable[[], Any], peer: Callable[[], Any], repeat: int) -> dict[str, float]:
    """Return median seconds of both, taken in turns, and the peer's over ours."""
    taken: dict[str, list[float]] = {"seconds": [], "peer_seconds": []}
    for _ in range(repeat):
        for name, call in (("seconds", ours), ("peer_seconds", peer)):
            started = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    return {**{name: round(value, 4) for name, value in medians.items()},
            "ratio": round(medians["peer_seconds"] / medians["seconds"], 2)}  # fmt: skip


def large_lake(root: Path, pairs: int, years: int) -> dict[str, Any]:
    """Resample every pair's 1m bars to 5m, two processes side by side; DuckDB does the same sum as the peer."""
    symbols = PAIRS[:pairs]
    with multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=1) as pool:
        rows = sum(pool.starmap(build, [(root, symbol, years, seed) for seed, symbol in enumerate(symbols)]))
        lake_bytes = size(root, "1m")
        forget_five_minutes(root, symbols)
        started = time.perf_counter()
        peaks = pool.starmap(derive, [(root, symbol) for symbol in symbols], chunksize=1)
        seconds = time.perf_counter() - started
    peer_seconds, peer_peak = by_duckdb(root, symbols)
    return {
        "pairs": pairs,
        "rows_1m": rows,
        "bytes_1m": lake_bytes,
        "bytes_per_bar": round(lake_bytes / rows, 2),
        "seconds_to_5m": round(seconds, 1),
        "peak_gib": round(2 * max(peaks) / 2**20, 2),
        "peer_seconds": round(peer_seconds, 1),
        "peer_peak_gib": round(peer_peak / 2**20, 2),
    }


def build(root: Path, symbol: str, years: int, seed: int) -> int:
    """Store a pair's simulated 1m bars, a year at a time, unless they are there; returns the rows."""
    lake = Lake(root)
    stored = lake.read_manifest("candles", {"symbol": symbol, "timeframe": "1m"})
    if stored is not None and len(stored.extra["files"]) == years:
        return stored.rows
    price = None
    for year in range(years):
        start = np.datetime64(f"{2009 + year}-01-05")
        bars = simulate(symbol, "1m", start=start, bars=BARS_PER_YEAR, seed=100 * seed + year, price=price)
        price = float(bars.close[-1])
        judged = assess(bars.to_frame().reset_index(), symbol, "1m", QUALITY)
        clean = Candles.from_frame(judged.clean, symbol, "1m", "mid")
        store_given(lake, clean, judged, Source(f"simulated {2009 + year}", f"{symbol}{year}", {"layout": "simulator"}))
    stored = lake.read_manifest("candles", {"symbol": symbol, "timeframe": "1m"})
    assert stored is not None
    return stored.rows


def forget_five_minutes(root: Path, symbols: list[str]) -> None:
    for symbol in symbols:
        shutil.rmtree(root / "candles" / f"symbol={symbol}" / "timeframe=5m", ignore_errors=True)


def derive(root: Path, symbol: str) -> int:
    """Derive and store 5m bars with their quality report; returns the process's peak memory in KiB."""
    update_candles(Lake(root), symbol, [timeframe("5m")], "import", QUALITY)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def by_duckdb(root: Path, symbols: list[str]) -> tuple[float, int]:
    """Return DuckDB's seconds and peak KiB for the same aggregation, pair by pair on two threads, into Parquet."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_by_duckdb, (root, symbols))


def _by_duckdb(root: Path, symbols: list[str]) -> tuple[float, int]:
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        for symbol in symbols:
            files = root / "candles" / f"symbol={symbol}" / "timeframe=1m" / "*" / "part.parquet"
            connection.execute(
                f"""COPY (SELECT time_bucket(INTERVAL 5 MINUTE, ts_utc) AS bar, arg_min(open, ts_utc), max(high),
                min(low), arg_max(close, ts_utc), sum(volume), avg(spread) FROM read_parquet('{files}')
                GROUP BY bar ORDER BY bar) TO '{folder}/{symbol}.parquet' (FORMAT parquet, COMPRESSION zstd)"""
            )
    return time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def size(root: Path, bar: str) -> int:
    return sum(file.stat().st_size for file in root.glob(f"candles/*/timeframe={bar}/*/part.parquet"))


if __name__ == "__main__":
    main()
