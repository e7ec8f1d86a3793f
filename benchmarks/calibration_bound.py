"""What the bound on adaptive intervals (`stretch`) is worth: CRPS and coverage with it, without it, and of `split`.

    python benchmarks/calibration_bound.py --data FOLDER --cache CACHE > bound.md

Bars, splits and settings are those of `benchmarks/evaluation.py`, which shares the cache; families without
features, and ridge on a dozen columns. The bound was chosen on the pairs named by `--chosen-on`, which are told apart.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from calibration import COVERAGES, Span, measure
from evaluation_runs import ENTRIES, LAYOUTS, NARROW, Series, find_series, forecast_folds, make_dataset, read_candles

from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.market.lake import Lake

FAMILIES = ("climatology", "ewma", "har", "ridge_narrow")
CHOSEN_ON = ("AUDUSD m5_mt4_2019_2020", "EURGBP m5_mt4_2019_2020", "EURUSD m5_mt4_2019_2020")
METHODS: dict[str, dict[str, Any]] = {
    "none": {"method": "none"},
    "split": {"method": "split"},
    "without": {"method": "dtaci", "stretch": 1e6},
    "bounded": {"method": "dtaci"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="Folder of bar files.")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--pairs", nargs="*", default=(), help="Symbols; all where none is named.")
    parser.add_argument("--timeframes", nargs="+", choices=sorted(LAYOUTS), default=("5m", "1h"))
    parser.add_argument("--chosen-on", nargs="*", default=CHOSEN_ON, help="`SYMBOL folder` of series seen before.")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    rows: list[dict[str, Any]] = []
    for bar in options.timeframes:
        for series in find_series(options.data, bar, options.pairs):
            rows += figures(series, options.cache)
    print("\n".join(tables(rows, options.chosen_on)))


def figures(series: Series, cache: Path) -> Iterator[dict[str, Any]]:
    """Yield a row per family, horizon and method of one series."""
    candles = read_candles(series, cache)
    dataset = make_dataset(candles, NARROW)
    lake = Lake(cache / "folds" / series.name.replace(" ", "_") / series.bar)
    outcomes = Outcomes.from_dataset(dataset)
    nowhere = np.full(len(dataset), "", dtype=np.str_)
    for name in FAMILIES:
        made = forecast_folds(dataset, ENTRIES[name], lake)
        span = Span(made.forecast, made.fold, nowhere[: len(made.forecast)], outcomes)
        yield from measure(f"{series.name} {series.bar}", name, span, METHODS)


def tables(rows: Sequence[Mapping[str, Any]], chosen_on: Sequence[str]) -> Iterator[str]:
    """Yield a summary of series seen and not seen before, then every cell's CRPS against `split`."""
    cells = {(row["bars"], row["family"], row["horizon"], row["method"]): row for row in rows}
    keys = sorted({key[:3] for key in cells})
    seen = {key for key in keys if any(key[0].startswith(name) for name in chosen_on)}
    yield "| series | family | method | CRPS vs none | worst | vs split | worst | off, points | by month, points |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for title, chosen in (
        ("chosen on", [k for k in keys if k in seen]),
        ("untouched", [k for k in keys if k not in seen]),
    ):
        for family in FAMILIES:
            mine = [key for key in chosen if key[1] == family]
            for method in METHODS if mine else ():
                yield _line(f"{title} ({len(mine)} cells)", family, method, mine, cells)
    yield "\n| series | horizon | family | split | without | bounded |\n|---|---|---|---|---|---|"
    for bars, family, horizon in keys:
        crps = {method: cells[bars, family, horizon, method]["crps"] for method in METHODS}
        shown = " | ".join(f"{crps[method] / crps['none'] - 1:+.2%}" for method in ("split", "without", "bounded"))
        yield f"| {bars} | {horizon_name(horizon)} | {family} | {shown} |"


def _line(title: str, family: str, method: str, keys: Sequence[Any], cells: Mapping[Any, Mapping[str, Any]]) -> str:
    found = [cells[*key, method] for key in keys]
    against = []
    for peer in ("none", "split"):
        loss = np.array([a["crps"] / cells[*key, peer]["crps"] - 1 for key, a in zip(keys, found, strict=True)])
        against.append(f"{loss.mean():+.3%} | {loss.max():+.3%}")
    off = np.mean([abs(row[f"c{c:g}"] - c) for row in found for c in COVERAGES]) * 100
    local = np.mean([row["local"] for row in found]) * 100
    return f"| {title} | {family} | {method} | {' | '.join(against)} | {off:.2f} | {local:.2f} |"


if __name__ == "__main__":
    main()
