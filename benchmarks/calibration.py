"""Calibration methods on walk-forward forecasts of real bars: coverage, width and CRPS, each with its effective rows.

    python benchmarks/calibration.py BARS/EURUSD_5m.parquet BARS/GBPUSD_1h.parquet --cache CACHE > table.md

Files are named SYMBOL_TIMEFRAME.parquet and hold ts_utc (UTC, the bar's open), open, high, low, close and, where there
is one, volume. `--first` and `--last` cut them. The first third of the usable bars only trains; what follows is cut
into folds, forecast by models of their past, and calibrated as it would have been live. `by month` is the root mean
square over calendar months of the distance of 90 % coverage from nominal: what a long-run average hides. `--judge`
compares methods with `split` by criteria that were fixed before these bars were looked at (see `judge`). `--cache`
keeps the raw forecasts, which take the time, and the figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fxgpt_core.calibration.config import CalibrationConfig
from fxgpt_core.calibration.walk_forward import walk_forward_calibration
from fxgpt_core.common.dependence import estimate_mean
from fxgpt_core.common.forecast import Forecast, concat
from fxgpt_core.common.timeframes import horizon_name, timeframe
from fxgpt_core.evaluation.scores import covered, crps, width
from fxgpt_core.evaluation.split_config import WalkForwardConfig
from fxgpt_core.evaluation.splits import walk_forward
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.market.candles import Candles
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.registry import family
from fxgpt_core.training.plan import plan_training

LAYOUTS = {
    "5m": (("5m", "15m", "1h", "4h"), (5, 15, 60, 240)),
    "1h": (("1h", "4h", "1d"), (60, 240, 1440)),
}
SPLITS = WalkForwardConfig(first_train=1 / 3, folds=8)
SPEC = FeatureSpec(groups=("ohlc", "time", "volatility", "returns", "regime"))
FAMILIES = ("seasonal_ewma", "ridge")
COVERAGES = (0.5, 0.8, 0.9, 0.95)
METHODS: dict[str, dict[str, Any]] = {
    "raw": {"method": "none"},
    "split": {"method": "split"},
    "split, in full": {"method": "split", "raw_weight": 0.0},
    "split, spread score": {"method": "split", "score": "spread"},
    "mondrian, session": {"method": "mondrian", "groups": "session"},
    "mondrian, volatility": {"method": "mondrian", "groups": "volatility"},
    "mondrian, regime": {"method": "mondrian", "groups": "regime"},
    "aci": {"method": "aci"},
    "dtaci": {"method": "dtaci"},
}


@dataclass(frozen=True)
class Span:
    """Walk-forward forecasts of one family over one file of bars, with outcomes and the regime of each row."""

    forecast: Forecast
    fold: np.ndarray[Any, np.dtype[np.int64]]
    regimes: np.ndarray[Any, np.dtype[np.str_]]
    outcomes: Outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bars", nargs="+", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--first", default="1900-01-01", help="First day of bars used.")
    parser.add_argument("--last", default="2200-01-01", help="Day before which the bars end.")
    parser.add_argument("--only-forecast", action="store_true", help="Fill the cache and stop.")
    parser.add_argument("--judge", action="store_true", help="Compare with split in place of the tables.")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for path in options.bars:
        spans = load(path, options.cache, options.first, options.last)
        if not options.only_forecast:
            rows += [row for name, span in spans.items() for row in measure(f"{path.stem}", name, span)]
    if options.only_forecast:
        return
    (options.cache / "figures.json").write_text(json.dumps(rows, indent=1))
    print("\n".join(judge(rows) if options.judge else table(rows)))


def read(path: Path, first: str, last: str) -> Candles:
    symbol, code = path.stem.split("_")[:2]
    frame = pd.read_parquet(path)
    frame["ts_utc"] = pd.to_datetime(frame["ts_utc"], utc=True)
    frame = frame[(frame["ts_utc"] >= pd.Timestamp(first, tz="UTC")) & (frame["ts_utc"] < pd.Timestamp(last, tz="UTC"))]
    return Candles.from_frame(frame, symbol, code, "bid")


def load(path: Path, cache: Path, first: str, last: str) -> dict[str, Span]:
    """Return the spans of every family, from the cache where they are there."""
    stem = f"{path.stem}_{first}_{last}"
    folder = cache / stem
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        timeframes, horizons = LAYOUTS[path.stem.split("_")[1]]
        dataset = build_dataset(read(path, first, last), tuple(timeframe(t) for t in timeframes), horizons, SPEC)
        store_outcomes(dataset, folder)
        for name in FAMILIES:
            made, fold = forecast(dataset, name)
            made.to_frame().to_parquet(folder / f"{name}.parquet")
            np.save(folder / f"{name}_fold.npy", fold)
        (folder / "done").write_text(f"{time.perf_counter() - started:.0f} s\n")
    outcomes, regimes = load_outcomes(folder, path.stem.split("_")[0])
    spans = {}
    for name in FAMILIES:
        made = Forecast.from_frame(pd.read_parquet(folder / f"{name}.parquet"))
        here = regimes[np.searchsorted(outcomes.decided_at, made.decided_at)]
        spans[name] = Span(made, np.load(folder / f"{name}_fold.npy"), here, outcomes)
    return spans


def store_outcomes(dataset: Dataset, folder: Path) -> None:
    from fxgpt_core.calibration.labels import regime_of

    truth = Outcomes.from_dataset(dataset)
    np.savez(
        folder / "outcomes.npz",
        decided_at=truth.decided_at,
        horizons=truth.horizons,
        returns=truth.returns,
        label_end=truth.label_end,
        regimes=regime_of(dataset),
    )


def load_outcomes(folder: Path, symbol: str) -> tuple[Outcomes, np.ndarray[Any, Any]]:
    with np.load(folder / "outcomes.npz") as kept:
        horizons = tuple(int(h) for h in kept["horizons"])
        outcomes = Outcomes(symbol, kept["decided_at"], horizons, kept["returns"], kept["label_end"])
        return outcomes, kept["regimes"]


def forecast(dataset: Dataset, name: str) -> tuple[Forecast, np.ndarray[Any, np.dtype[np.int64]]]:
    """Fit and forecast every fold; returns the forecasts and the fold of each row."""
    entry = family(name)
    parts, folds = [], []
    for number, split in enumerate(walk_forward(dataset, SPLITS)):
        model = entry.create(entry.config({}))
        model.fit(dataset.with_split(split), plan_training(1, accelerated=False))
        rows = np.flatnonzero(split.test)
        parts.append(model.forecast(dataset, rows, Provenance(split.name, dataset.known_at[-1]), seed=1))
        folds.append(np.full(len(rows), number))
    return concat(parts), np.concatenate(folds)


def measure(
    bars: str, name: str, span: Span, methods: Mapping[str, dict[str, Any]] = METHODS
) -> Iterator[dict[str, Any]]:
    """Yield a row of figures per method and horizon, all on the folds after the first."""
    for method, values in methods.items():
        config = CalibrationConfig(**values)
        labels = span.regimes if config.grouping == "regime" else None
        made, _ = walk_forward_calibration(span.forecast, span.outcomes, span.fold, config, labels)
        truth = span.outcomes.aligned(made.decided_at, made.horizons)
        for column, horizon in enumerate(made.horizons):
            known = np.isfinite(truth.returns[:, column])
            y, quantiles = truth.returns[known, column], made.quantiles[known, column]
            overlap = truth.overlap(column)
            row: dict[str, Any] = {"bars": bars, "family": name, "horizon": horizon, "method": method}
            for coverage in COVERAGES:
                found = estimate_mean(covered(y, quantiles, coverage).astype(np.float64), overlap)
                row[f"c{coverage:g}"] = found.mean
                if coverage == 0.9:
                    row |= {"error": found.error, "effective": found.effective_rows, "rows": found.rows}
                    row["local"] = by_month(made.decided_at[known], covered(y, quantiles, coverage) - coverage)
            yield row | {"width": float(width(quantiles, 0.9).mean()), "crps": float(crps(y, quantiles).mean())}


def by_month(decided_at: np.ndarray[Any, Any], off: np.ndarray[Any, Any]) -> float:
    """Return the root mean square of the monthly means of (rows,) values, each month weighted by its rows."""
    month = decided_at.astype("datetime64[M]").astype(np.int64)
    _, where = np.unique(month, return_inverse=True)
    count = np.bincount(where)
    means = np.bincount(where, weights=off) / count
    return float(np.sqrt((means**2 * count).sum() / count.sum()))


def judge(rows: list[dict[str, Any]], peer: str = "split") -> Iterator[str]:
    """Yield how each method compares with `peer` over all files, families and horizons.

    A method would take the place of the default if the mean distance of coverage from nominal (50, 80, 90, 95 %) is at
    most three quarters of the peer's, 90 % coverage by month is no farther off on average and in three of four cells,
    and the CRPS is no worse on average and nowhere worse by more than 0.2 %.
    """
    cells = {(row["bars"], row["family"], row["horizon"], row["method"]): row for row in rows}
    keys = sorted({key[:3] for key in cells})
    yield f"| against {peer} | off, points | peer | by month, points | peer | better | CRPS | worst | takes over |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for method in METHODS:
        mine, other = ([cells[*key, name] for key in keys] for name in (method, peer))
        off = [np.mean([abs(r[f"c{c:g}"] - c) for r in side for c in COVERAGES]) * 100 for side in (mine, other)]
        local = np.array([[r["local"] for r in side] for side in (mine, other)]) * 100
        loss = np.array([a["crps"] / b["crps"] - 1 for a, b in zip(mine, other, strict=True)])
        better = float((local[0] <= local[1]).mean())
        passed = off[0] <= 0.75 * off[1] and local[0].mean() <= local[1].mean() and better >= 0.75
        passed = bool(passed and loss.mean() <= 0 and loss.max() <= 0.002)
        yield (
            f"| {method} | {off[0]:.2f} | {off[1]:.2f} | {local[0].mean():.2f} | {local[1].mean():.2f} | "
            f"{better:.0%} | {loss.mean():+.3%} | {loss.max():+.3%} | {'yes' if passed else 'no'} |"
        )


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a Markdown table, a section a file and family."""
    for bars, name in dict.fromkeys((row["bars"], row["family"]) for row in rows):
        here = [row for row in rows if (row["bars"], row["family"]) == (bars, name)]
        yield f"\n### {bars.replace('_', ' ')}, {name}\n"
        yield "| horizon | method | 50 % | 80 % | 90 % | ± | 95 % | by month | width, bp | CRPS e-4 | rows | eff. |"
        yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
        for row in sorted(here, key=lambda row: row["horizon"]):
            shares = " | ".join(f"{row[f'c{c:g}']:.1%}" for c in COVERAGES[:3])
            yield (
                f"| {horizon_name(row['horizon'])} | {row['method']} | {shares} | {row['error']:.1%} | "
                f"{row['c0.95']:.1%} | {row['local']:.1%} | {row['width'] * 1e4:.2f} | {row['crps'] * 1e4:.4f} | "
                f"{row['rows']} | {row['effective']:.0f} |"
            )


if __name__ == "__main__":
    main()
