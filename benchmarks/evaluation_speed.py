"""Evaluation of one model on a pair-year: 75 000 decisions, four horizons, beside `scoringrules` in the same process.

    python benchmarks/evaluation_speed.py                 # prints JSON; the goal is less than 5 s on two cores
    python benchmarks/evaluation_speed.py --profile       # and where the time goes

One model is what it costs to have one more family in the table: the difference between the evaluation of all
baselines with it and without. The peer computes the CRPS alone, from quantiles and from as many normal forecasts.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scoringrules
from scipy.stats import norm

from fxgpt_core.common.forecast import LEVELS, Forecast, from_standardised
from fxgpt_core.evaluation import scores
from fxgpt_core.evaluation.evaluation import evaluate
from fxgpt_core.features.outcomes import Outcomes

ROWS, HORIZONS = 75_000, (5, 15, 60, 240)
BARS = np.array(HORIZONS) // 5
UNIT = 1e-4 * np.sqrt(BARS)
TIMES = np.datetime64("2020-01-06", "ns") + np.arange(ROWS) * np.timedelta64(300, "s")


def market(seed: int = 0) -> tuple[Outcomes, np.ndarray[Any, np.dtype[np.float64]]]:
    """Return outcomes of a walk with clustering volatility, and that volatility: (rows, horizons)."""
    rng = np.random.default_rng(seed)
    level = np.exp(0.3 * np.convolve(rng.normal(size=ROWS + 348), np.ones(300) / np.sqrt(300), mode="valid"))
    price = np.concatenate([[0.0], np.cumsum(1e-4 * level[: ROWS + BARS[-1]] * rng.standard_t(5, ROWS + BARS[-1]))])
    returns = np.column_stack([price[n : n + ROWS] - price[:ROWS] for n in BARS])
    ends = TIMES[:, None] + np.array(HORIZONS) * np.timedelta64(60, "s")
    return Outcomes("EURUSD", TIMES, HORIZONS, returns, ends), level[:ROWS, None] * UNIT


def made(name: str, volatility: Any, scale: float, lean: float = 0.0, seed: int = 1) -> Forecast:
    mean = lean * np.random.default_rng(seed).normal(size=(ROWS, len(HORIZONS)))
    return from_standardised(
        symbol="EURUSD", family=name, horizons=HORIZONS, decided_at=TIMES, made_at=TIMES[-1], trained_until=TIMES[0],
        model_version="v1", yardstick=volatility, mean=mean, std=np.full(mean.shape, scale),
        quantiles=mean[..., None] + scale * norm.ppf(LEVELS),
    )  # fmt: skip


def seconds(call: Callable[[], Any], repeat: int) -> tuple[float, float]:
    """Return wall and CPU seconds, the medians of so many calls."""
    wall, cpu = [], []
    for _ in range(repeat):
        begun, worked = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - worked)
    return statistics.median(wall), statistics.median(cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    truth, volatility = market()
    baselines = {f"baseline_{i}": made(f"baseline_{i}", volatility, 1.25 + 0.05 * i) for i in range(6)}
    model = made("model", volatility, 1.3, lean=0.02)
    every = {**baselines, "model": model}

    def run(families: dict[str, Forecast]) -> Any:
        return evaluate("EURUSD", families, families, truth, tuple(name for name in families if name != "model"))

    alone = {"baseline_0": baselines["baseline_0"], "model": model}
    figures = {
        "six baselines": seconds(lambda: run(baselines), options.repeat),
        "six baselines and the model": seconds(lambda: run(every), options.repeat),
        "one baseline and the model": seconds(lambda: run(alone), options.repeat),
        "CRPS of the model": seconds(lambda: scores.crps(truth.returns, model.quantiles), options.repeat),
        "CRPS by scoringrules, same quantiles": seconds(lambda: peer(truth, model), options.repeat),
        "CRPS by scoringrules, normal in closed form": seconds(
            lambda: scoringrules.crps_normal(truth.returns, model.mean, model.std), options.repeat
        ),
    }
    weighted = (2 * peer(truth, model) * scores.crps_weights()).sum(axis=-1)
    report = {
        "rows": ROWS,
        "horizons": HORIZONS,
        "seconds": {name: {"wall": round(w, 3), "cpu": round(c, 3)} for name, (w, c) in figures.items()},
        "one model more, wall seconds": round(
            figures["six baselines and the model"][0] - figures["six baselines"][0], 3
        ),
        "largest difference to scoringrules": float(
            np.abs(weighted - scores.crps(truth.returns, model.quantiles)).max()
        ),
    }
    print(json.dumps(report, indent=1))
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(run, every)
        pstats.Stats(profile).sort_stats("cumulative").print_stats(25)


def peer(truth: Outcomes, model: Forecast) -> Any:
    """Return the pinball losses of `scoringrules`, (rows, horizons, levels), whose weighted sum is our CRPS."""
    return scoringrules.quantile_score(truth.returns[..., None], model.quantiles, np.asarray(LEVELS))


if __name__ == "__main__":
    main()
