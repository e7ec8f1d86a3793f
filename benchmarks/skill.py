"""What a family that learns by gradients gains on real 5m bars in walk-forward, against the yardstick's own baselines
and ridge.

    python benchmarks/skill.py --family sssd --data FOLDER --pairs GBPUSD --seeds 1 2 3 --out FOLDER
    python benchmarks/skill.py --family ldm4ts --data FOLDER --pairs EURUSD --out FOLDER --beside sssd \\
        --label "ldm4ts without text" --config '{"conditions": {"text": false}}'

What each fit reports is appended to `folds.jsonl` in the output folder, tables to `tables.md`; forecasts of each fold
lie there, too, under the label, so that a run that was stopped goes on where it was, and labels share their rivals.
After a change take another folder. A call is a look at test spans: it is to be counted in docs/results/<family>.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from evaluation_runs import HORIZONS, find_series, make_dataset, read_candles
from numpy.typing import NDArray
from scipy import stats

from fxgpt_core.calibration.walk_forward import walk_forward_calibration
from fxgpt_core.common.forecast import Forecast, concat
from fxgpt_core.evaluation.archive import read_part, write_part
from fxgpt_core.evaluation.scores import crps, pit
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

BASELINES = ("ewma", "seasonal_ewma", "har")
_EWMAS = BASELINES[:2]
_RIVALS = {"best EWMA": _EWMAS, "HAR": ("har",), "best baseline": BASELINES, "ridge": ("ridge",)}
_NOW = np.datetime64("2030-01-01", "ns")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="Folder of bar files.")
    parser.add_argument("--pairs", nargs="+", required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--family", default="sssd")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--config", type=json.loads, default={}, help="JSON laid over the preset.")
    parser.add_argument("--label", help="What to call it; default the family's name.")
    parser.add_argument("--beside", nargs="*", default=[], help="Labels of the output folder to compare with as well.")
    parser.add_argument("--folds", type=int, help="Use the first so many folds; default all.")
    parser.add_argument("--out", type=Path, default=Path(".fxgpt/benchmarks/skill"))
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    asked.out.mkdir(parents=True, exist_ok=True)
    ours = Ours(
        asked.label or asked.family,
        asked.family,
        {"preset": asked.preset, **asked.config},
        tuple(asked.beside),
        asked.folds,
    )
    datasets: dict[str, Dataset] = {}
    for seed in asked.seeds:
        for pair in asked.pairs:
            if pair not in datasets:
                series = next(one for one in find_series(asked.data, "5m", [pair]) if one.stored == "5m")
                datasets[pair] = make_dataset(read_candles(series, asked.out))
            lines = "\n".join(table(pair, seed, datasets[pair], ours, asked.out))
            print(lines, flush=True)
            with (asked.out / "tables.md").open("a", encoding="utf-8") as file:
                file.write(lines + "\n")


@dataclass(frozen=True)
class Ours:
    """What is judged: its label, family and configuration, the labels beside which it is shown, on how many folds."""

    label: str
    family: str
    config: dict[str, Any]
    beside: tuple[str, ...]
    folds: int | None


def table(pair: str, seed: int, dataset: Dataset, ours: Ours, out: Path) -> list[str]:
    """Return the rows of one pair and seed: skill in percent with p-values, coverage of 90 % and uniformity of the PIT
    raw and calibrated, and how many signs were right."""
    splits = tuple(walk_forward(dataset, WalkForwardConfig()))[: ours.folds]
    rivals = _RIVALS | {name: (name,) for name in ours.beside}
    parts: dict[str, list[Forecast]] = {}
    for name in (*BASELINES, "ridge", *ours.beside, ours.label):
        learned = name == ours.label or name in ours.beside
        parts[name] = [_forecast(dataset, split, name, seed if learned else 0, ours, out) for split in splits]
    label = ours.label
    fold = np.concatenate([np.full(len(part), i) for i, part in enumerate(parts[label])])
    outcomes = Outcomes.from_dataset(dataset)
    raw = {name: concat(several) for name, several in parts.items()}
    truth = outcomes.aligned(raw[label].decided_at, dataset.horizons).returns
    _keep_losses(out / f"raw_{_file(label)}_{pair}_{seed}.npz", raw, label, truth)
    calibrated = {name: walk_forward_calibration(one, outcomes, fold)[0] for name, one in raw.items()}
    rows = np.isin(raw[label].decided_at, calibrated[label].decided_at)  # nothing calibrates the first fold
    raw, truth = {name: one.take(rows) for name, one in raw.items()}, truth[rows]
    _keep_losses(out / f"calibrated_{_file(label)}_{pair}_{seed}.npz", calibrated, label, truth)
    before, after = _losses(raw, truth), _losses(calibrated, truth)
    lines = [f"{pair}, seed {seed}, {label}"]
    for column, horizon in enumerate(HORIZONS["5m"]):
        overlap = horizon // dataset.base.minutes
        cells = []
        for name, several in rivals.items():
            rival = min(several, key=lambda one: float(np.nanmean(after[one][:, column])))
            cells.append(f"{name} {_skill(after[label][:, column], after[rival][:, column], overlap)}")
        raw_rival = min(_EWMAS, key=lambda one: float(np.nanmean(before[one][:, column])))
        cells.append(f"raw, best EWMA {_skill(before[label][:, column], before[raw_rival][:, column], overlap)}")
        covered = [_coverage(one[label], truth, column) for one in (raw, calibrated)]
        uniform = [_uniformity(one[label], truth, column, overlap) for one in (raw, calibrated)]
        cells += [f"{covered[0]:.1f} -> {covered[1]:.1f}", f"PIT p {uniform[0]:.3f} -> {uniform[1]:.3f}"]
        right = _right_signs(calibrated[label], truth, column)
        lines.append(f"| {horizon} | " + " | ".join(cells) + f" | signs {right:.1f} |")
    return lines


def _uniformity(forecast: Forecast, truth: NDArray[np.float64], column: int, overlap: int) -> float:
    """Return the Kolmogorov-Smirnov p-value of the PIT's uniformity on rows whose labels do not overlap."""
    known = np.flatnonzero(np.isfinite(truth[:, column]))
    value = pit(truth[known, column], forecast.quantiles[known, column], forecast.levels)
    return float(stats.kstest(value[:: max(overlap, 1)], "uniform").pvalue)


def _right_signs(forecast: Forecast, truth: NDArray[np.float64], column: int) -> float:
    """Return the share of outcomes, in percent, whose sign the mean told; a mean of zero counts half."""
    known = np.isfinite(truth[:, column])
    return 100 * float(np.mean(0.5 + 0.5 * np.sign(forecast.mean[known, column]) * np.sign(truth[known, column])))


def _file(label: str) -> str:
    return label.replace(" ", "_")


def _forecast(dataset: Dataset, split: Split, name: str, seed: int, ours: Ours, out: Path) -> Forecast:
    """Return a forecast of one fold's test rows: that of the output folder, or a new one that goes there."""
    lake, kept, part = Lake(str(out / "forecasts")), f"seed_{seed}", f"fold={split.name}"
    if part in lake.parts(kept, {"symbol": dataset.symbol, "family": _file(name)}):
        return read_part(lake, kept, dataset.symbol, _file(name), part)
    seen = dataset.with_split(split).head(last_bar(split))
    own = name == ours.label
    # What stands beside and is not there yet is a family of that name with its small preset.
    config = ours.config if own else {"preset": "small"} if name in ours.beside else {}
    entry = family(ours.family if own else name)
    model: Any = entry.create(entry.config(config))
    began = time.perf_counter()
    report = model.fit(seen, TrainingPlan(seed))
    spent = time.perf_counter()
    made: Forecast = model.forecast(seen, np.flatnonzero(split.test), Provenance("benchmark", _NOW), seed)
    facts = {"label": name, "pair": dataset.symbol, "fold": split.name, "seed": seed, "seconds": spent - began}
    facts |= {"milliseconds_a_row": 1000 * (time.perf_counter() - spent) / len(made)}
    write_part(lake, kept, dataset.symbol, _file(name), part, made)
    if config:
        with (out / "folds.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts | dict(report.metrics)) + "\n")
    return made


def _keep_losses(path: Path, forecasts: dict[str, Forecast], label: str, truth: NDArray[np.float64]) -> None:
    """Write the losses of all families, so that a summary needs no fit and a run that is stopped loses little."""
    np.savez_compressed(path, decided_at=forecasts[label].decided_at, **_losses(forecasts, truth))


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
