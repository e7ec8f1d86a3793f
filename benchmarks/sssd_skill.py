"""What SSSD gains on real 5m bars in walk-forward, against the yardstick's own baselines and ridge.

    python benchmarks/sssd_skill.py --data FOLDER --pairs GBPUSD --seeds 1 2 3 --out FOLDER

What each fit of SSSD reports is appended to `folds.jsonl` in the output folder, tables to `tables.md`; forecasts of
each fold lie there, too, so that a run that was stopped goes on where it was. After a change take another folder. A
call is a look at test spans: it is to be counted in docs/results/sssd.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from evaluation_runs import HORIZONS, find_series, make_dataset, read_candles
from numpy.typing import NDArray

from fxgpt_core.calibration.walk_forward import walk_forward_calibration
from fxgpt_core.common.forecast import Forecast, concat
from fxgpt_core.evaluation.archive import read_part, write_part
from fxgpt_core.evaluation.scores import crps
from fxgpt_core.evaluation.significance import compare
from fxgpt_core.evaluation.split_config import WalkForwardConfig
from fxgpt_core.evaluation.splits import walk_forward
from fxgpt_core.features.dataset import Dataset, Split
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.market.lake import Lake
from fxgpt_core.models.fold_inputs import last_bar
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.registry import family
from fxgpt_core.training.plan import TrainingPlan

FAMILIES = ("ewma", "seasonal_ewma", "har", "ridge", "sssd")
BASELINES = ("ewma", "seasonal_ewma", "har")
_EWMAS = BASELINES[:2]
_RIVALS = {"best EWMA": _EWMAS, "HAR": ("har",), "best baseline": BASELINES, "ridge": ("ridge",)}
_NOW = np.datetime64("2030-01-01", "ns")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="Folder of bar files.")
    parser.add_argument("--pairs", nargs="+", required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--preset", default="small")
    parser.add_argument("--out", type=Path, default=Path(".fxgpt/benchmarks/sssd_skill"))
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    asked.out.mkdir(parents=True, exist_ok=True)
    datasets: dict[str, Dataset] = {}
    for seed in asked.seeds:
        for pair in asked.pairs:
            if pair not in datasets:
                series = next(one for one in find_series(asked.data, "5m", [pair]) if one.stored == "5m")
                datasets[pair] = make_dataset(read_candles(series, asked.out))
            lines = "\n".join(table(pair, seed, datasets[pair], asked.preset, asked.out))
            print(lines, flush=True)
            with (asked.out / "tables.md").open("a", encoding="utf-8") as file:
                file.write(lines + "\n")


def table(pair: str, seed: int, dataset: Dataset, preset: str, out: Path) -> list[str]:
    """Return the rows of one pair and seed: skill in percent with p-values, coverage of 90 % raw and calibrated."""
    splits = tuple(walk_forward(dataset, WalkForwardConfig()))
    parts: dict[str, list[Forecast]] = {}
    for name in FAMILIES:
        config = {"preset": preset} if name == "sssd" else {}
        parts[name] = [_forecast(dataset, split, name, seed if config else 0, config, out) for split in splits]
    fold = np.concatenate([np.full(len(part), i) for i, part in enumerate(parts["sssd"])])
    outcomes = Outcomes.from_dataset(dataset)
    raw = {name: concat(several) for name, several in parts.items()}
    truth = outcomes.aligned(raw["sssd"].decided_at, dataset.horizons).returns
    _keep_losses(out / f"raw_{pair}_{seed}.npz", raw, truth)
    calibrated = {name: walk_forward_calibration(one, outcomes, fold)[0] for name, one in raw.items()}
    rows = np.isin(raw["sssd"].decided_at, calibrated["sssd"].decided_at)  # the first fold has nothing to calibrate on
    raw, truth = {name: one.take(rows) for name, one in raw.items()}, truth[rows]
    _keep_losses(out / f"calibrated_{pair}_{seed}.npz", calibrated, truth)
    before, after = _losses(raw, truth), _losses(calibrated, truth)
    lines = [f"{pair}, seed {seed}"]
    for column, horizon in enumerate(HORIZONS["5m"]):
        overlap = horizon // dataset.base.minutes
        cells = []
        for name, rivals in _RIVALS.items():
            rival = min(rivals, key=lambda one: float(np.nanmean(after[one][:, column])))
            cells.append(f"{name} {_skill(after['sssd'][:, column], after[rival][:, column], overlap)}")
        raw_rival = min(_EWMAS, key=lambda one: float(np.nanmean(before[one][:, column])))
        cells.append(f"raw, best EWMA {_skill(before['sssd'][:, column], before[raw_rival][:, column], overlap)}")
        covered = [_coverage(one["sssd"], truth, column) for one in (raw, calibrated)]
        lines.append(f"| {horizon} | " + " | ".join(cells) + f" | {covered[0]:.1f} -> {covered[1]:.1f} |")
    return lines


def _forecast(dataset: Dataset, split: Split, name: str, seed: int, config: dict[str, Any], out: Path) -> Forecast:
    """Return a family's forecast of one fold's test rows: that of the output folder, or a new one that goes there."""
    lake, kept, part = Lake(str(out / "forecasts")), f"seed_{seed}", f"fold={split.name}"
    if part in lake.parts(kept, {"symbol": dataset.symbol, "family": name}):
        return read_part(lake, kept, dataset.symbol, name, part)
    seen = dataset.with_split(split).head(last_bar(split))
    entry = family(name)
    model: Any = entry.create(entry.config(config))
    began = time.perf_counter()
    report = model.fit(seen, TrainingPlan(seed))
    facts = {"pair": dataset.symbol, "fold": split.name, "seed": seed, "seconds": time.perf_counter() - began}
    made: Forecast = model.forecast(seen, np.flatnonzero(split.test), Provenance("benchmark", _NOW), seed)
    write_part(lake, kept, dataset.symbol, name, part, made)
    if name == "sssd":
        with (out / "folds.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts | report.metrics) + "\n")
    return made


def _keep_losses(path: Path, forecasts: dict[str, Forecast], truth: NDArray[np.float64]) -> None:
    """Write the losses of all families, so that a summary needs no fit and a run that is stopped loses little."""
    np.savez_compressed(path, decided_at=forecasts["sssd"].decided_at, **_losses(forecasts, truth))


def _losses(forecasts: dict[str, Forecast], truth: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    return {name: crps(truth, one.quantiles, one.levels) for name, one in forecasts.items()}


def _skill(ours: NDArray[np.float64], theirs: NDArray[np.float64], overlap: int) -> str:
    known = np.isfinite(ours) & np.isfinite(theirs)
    found = compare(ours[known], theirs[known], overlap)
    return f"{100 * found.value:+.2f} (p {found.p_value:.3f})"


def _coverage(forecast: Forecast, truth: NDArray[np.float64], column: int) -> float:
    levels: Sequence[float] = list(forecast.levels)
    low, high = (forecast.quantiles[:, column, levels.index(level)] for level in (0.05, 0.95))
    known = np.isfinite(truth[:, column])
    return 100 * float(np.mean((truth[known, column] >= low[known]) & (truth[known, column] <= high[known])))


if __name__ == "__main__":
    main()
