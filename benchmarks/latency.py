"""What a forecast takes, family by family: milliseconds from a closed bar to an answer, and a row in bulk.

    OMP_NUM_THREADS=1 python benchmarks/latency.py --data FOLDER --pair EURUSD

Every family learns from the training part of the first fold of real 5m bars and then goes through the last `--steps`
bars one by one, as the live loop does: all families the same bar, one after the other, so that other work on the
machine falls on all of them alike. An update (features, labels, yardstick, and the state of families that keep one)
and a forecast are told apart. CPU milliseconds are what the process spent, wall milliseconds what a caller waits.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evaluation_runs import HORIZONS, LAYOUTS, find_series, make_dataset, read_candles

from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.evaluation.split_config import WalkForwardConfig
from fxgpt_core.evaluation.splits import walk_forward
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.feed import Feed
from fxgpt_core.market.candles import Candles
from fxgpt_core.models.fold_inputs import last_bar
from fxgpt_core.models.forecaster import Forecaster, Provenance
from fxgpt_core.models.registry import family
from fxgpt_core.models.session import Session
from fxgpt_core.training.plan import TrainingPlan

FAMILIES = ("ewma", "seasonal_ewma", "har", "ridge", "lightgbm", "sssd", "ldm4ts")
_MADE = Provenance("benchmark", np.datetime64("2040-01-01", "ns"), "live")
_CODES = LAYOUTS["5m"]


@dataclass
class Spent:
    """Wall and CPU milliseconds of the calls of one kind."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def time(self, work: Callable[..., object], *given: object) -> None:
        """Call `work` and note what it took."""
        began, cpu = time.perf_counter(), time.process_time()
        work(*given)
        self.wall.append(1000 * (time.perf_counter() - began))
        self.cpu.append(1000 * (time.process_time() - cpu))

    def to_dict(self) -> dict[str, float]:
        """Return median and 95th percentile of both."""
        return {
            f"{name}_p{level}": float(np.percentile(values, level))
            for name, values in (("wall", self.wall), ("cpu", self.cpu))
            for level in (50, 95)
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="Folder of bar files.")
    parser.add_argument("--pair", default="EURUSD")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--config", type=json.loads, default={}, help="JSON: what is laid over `small`, by family.")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rows", type=int, default=2000, help="Rows in bulk.")
    parser.add_argument("--out", type=Path, default=Path(".fxgpt/benchmarks/latency"))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    series = next(one for one in find_series(asked.data, "5m", [asked.pair]) if one.stored == "5m")
    candles = read_candles(series, asked.out)
    dataset = make_dataset(candles)
    models = {name: _fitted(name, asked.config.get(name, {}), dataset) for name in asked.families}
    results = {"threads": torch.get_num_threads(), "families": _live(models, candles, asked.steps)}
    for name, model in models.items():
        results["families"][name]["bulk"] = _bulk(model, dataset, asked.rows)
    print(json.dumps(results) if asked.json else "\n".join(_table(results)))


def _fitted(name: str, config: dict[str, Any], dataset: Dataset) -> Forecaster:
    split = next(iter(walk_forward(dataset, WalkForwardConfig())))
    entry = family(name)
    learned = {"preset": "small"} if name in ("sssd", "ldm4ts") else {}
    model: Forecaster = entry.create(entry.config(learned | config))
    model.fit(dataset.with_split(split).head(last_bar(split)), TrainingPlan(1))
    return model


def _live(models: dict[str, Forecaster], candles: Candles, steps: int) -> dict[str, Any]:
    layout, horizons = [timeframe(code) for code in _CODES], HORIZONS["5m"]
    before = candles.take(slice(0, len(candles) - steps))
    known = make_dataset(before)
    sessions: dict[str, Session] = {
        name: model.open(Feed(before, layout, horizons, known=known)) for name, model in models.items()
    }
    found = {name: {"update": Spent(), "forecast": Spent()} for name in models}
    for at in range(len(before), len(candles)):
        if at == len(before) + 1:  # the first bar finds nothing begun
            found = {name: {"update": Spent(), "forecast": Spent()} for name in models}
        bar = candles.take(slice(at, at + 1))
        for name, session in sessions.items():
            found[name]["update"].time(session.update, bar)
            found[name]["forecast"].time(session.forecast, _MADE)
    return {name: {kind: spent.to_dict() for kind, spent in kinds.items()} for name, kinds in found.items()}


def _bulk(model: Forecaster, dataset: Dataset, rows: int) -> dict[str, float]:
    usable = np.flatnonzero(dataset.usable)[-rows:]
    began, cpu = time.perf_counter(), time.process_time()
    made = model.forecast(dataset, usable, _MADE)
    return {
        "wall": 1000 * (time.perf_counter() - began) / len(made),
        "cpu": 1000 * (time.process_time() - cpu) / len(made),
    }


def _table(results: dict[str, Any]) -> list[str]:
    lines = [
        f"Threads: {results['threads']}. Milliseconds.",
        "",
        "| family | forecast p50 | p95 | CPU p50 | update p50 | p95 | CPU p50 | a row in bulk | CPU |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in results["families"].items():
        one, two, bulk = found["forecast"], found["update"], found["bulk"]
        cells = [one["wall_p50"], one["wall_p95"], one["cpu_p50"], two["wall_p50"], two["wall_p95"], two["cpu_p50"]]
        told = " | ".join(f"{value:.1f}" for value in cells)
        lines.append(f"| {name} | {told} | {bulk['wall']:.2f} | {bulk['cpu']:.2f} |")
    return lines


if __name__ == "__main__":
    main()
