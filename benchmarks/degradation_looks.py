"""How often a model as good as ever is called worse when somebody keeps looking, and how soon a worse one is.

    nice -n 15 python benchmarks/degradation_looks.py --versions 60 > table.md

Simulated scores of one version at work for nine weeks, at 5-minute bars and horizons of 5 minutes, one hour and four:
Student returns (6 degrees of freedom) whose volatility the model misjudges by `--misjudged`, with a half-life of two
days, so that CRPS and coverage come in clusters; 20 weeks out of sample and the first week are its reference. A good
one covers 90 %, a worse one 85 %. The product's own watch and rule decide.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.stats import norm

from fxgpt_core.evaluation.performance import ScoredRows
from fxgpt_core.lifecycle.replay.judging import PerformanceWatch
from fxgpt_core.policy.config import DegradationConfig
from fxgpt_core.policy.degradation import degradations

Floats = NDArray[np.float64]

MINUTES, HORIZONS = 5, (5, 60, 240)
WEEK = 7 * 1440 // MINUTES  # rows; every hour of the week is open here
REFERENCE_WEEKS, JUDGED_WEEKS = 20, 8
HALF_LIFE = 2 * 1440 // MINUTES
START = np.datetime64("2024-01-01", "ns")
ROW, DAY = np.timedelta64(MINUTES, "m"), np.timedelta64(1, "D")
MONTH = 30.44
BEFORE = DegradationConfig(false_alarm=0.02, look_days=MONTH)
"""The level of one look as it was: 2 % at each."""


@dataclass(frozen=True)
class Model:
    """How far its central interval reaches, by horizon, and by how much it misjudges volatility."""

    reach: dict[int, float]
    misjudged: float


def standardised(rng: np.random.Generator, rows: int, misjudged: float) -> dict[int, Floats]:
    """Returns by horizon in units of what the model takes for their volatility: (rows,) each."""
    steps = rows + max(HORIZONS) // MINUTES
    keeps = 0.5 ** (1 / HALF_LIFE)
    noise = lfilter([np.sqrt(1 - keeps**2)], [1, -keeps], rng.standard_normal(steps + 6 * HALF_LIFE))[6 * HALF_LIFE :]
    moves = rng.standard_normal(steps) * np.sqrt(4 / rng.chisquare(6, steps)) * np.exp(misjudged * noise)
    path = np.r_[0.0, np.cumsum(moves)]
    spans = {horizon: horizon // MINUTES for horizon in HORIZONS}
    return {horizon: (path[k : k + rows] - path[:rows]) / np.sqrt(k) for horizon, k in spans.items()}


def scored(rng: np.random.Generator, start: np.datetime64, weeks: int, model: Model) -> ScoredRows:
    """Scores of a model; its directions are guessed."""
    rows = weeks * WEEK
    known = start + np.arange(1, rows + 1) * ROW
    values: dict[str, list[Floats]] = {"crps": [], "accuracy": [], "coverage": []}
    for horizon, moved in standardised(rng, rows, model.misjudged).items():
        width = model.reach[horizon] / norm.ppf(0.95)
        z = moved / width
        values["crps"].append(width * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi)))
        values["coverage"].append((np.abs(moved) <= model.reach[horizon]).astype(np.float64))
        values["accuracy"].append(rng.integers(0, 2, rows).astype(np.float64))
    ends = np.column_stack([known + np.timedelta64(horizon, "m") for horizon in HORIZONS])
    columns = {name: np.column_stack(found) for name, found in values.items()}
    return ScoredRows(known, ends, columns, tuple(horizon // MINUTES for horizon in HORIZONS))


def looks(
    rng: np.random.Generator, model: Model, usual: Model, config: DegradationConfig
) -> Iterator[tuple[float, Callable[[DegradationConfig], bool]]]:
    """Yield the days since judging began and the verdict at each look of one version's life."""
    before = scored(rng, START - REFERENCE_WEEKS * 7 * DAY, REFERENCE_WEEKS, usual)
    first = scored(rng, START, 1, usual)
    later = scored(rng, START + 7 * DAY, JUDGED_WEEKS, model)
    parts = (first, later)
    own = ScoredRows(
        np.concatenate([part.decided_at for part in parts]),
        np.concatenate([part.label_end for part in parts]),
        {name: np.concatenate([part.values[name] for part in parts]) for name in first.values},
        first.overlaps,
    )
    watch = PerformanceWatch("m/1", HORIZONS, START, [before], config)
    step = np.timedelta64(round(config.look_days * 86_400), "s")
    for number in range(1, int((JUDGED_WEEKS * 7 * DAY) // step) + 1):
        news = watch.news(own, START + 7 * DAY + number * step)
        if news is not None:
            yield number * config.look_days, lambda level, news=news: bool(degradations(news, level))


def model_of(share: float, misjudged: float) -> Model:
    """Return a model whose interval covers so much."""
    moved = standardised(np.random.default_rng(1), 60 * WEEK, misjudged)
    return Model({horizon: float(np.quantile(np.abs(values), share)) for horizon, values in moved.items()}, misjudged)


def first_alarms(
    versions: int, model: Model, usual: Model, config: DegradationConfig, level: DegradationConfig
) -> Floats:
    """Day of the first alarm of each version, infinite without one."""
    found = []
    for seed in range(versions):
        seen = looks(np.random.default_rng([7, seed]), model, usual, config)
        found.append(next((day for day, judged in seen if judged(level)), np.inf))
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=60)
    parser.add_argument("--misjudged", type=float, default=0.15, help="By how much volatility is misjudged.")
    given = parser.parse_args()
    usual, narrow = (model_of(share, given.misjudged) for share in (0.9, 0.85))
    rules = {"2 % at every look, one every four hours": (DegradationConfig(look_days=1 / 6), BEFORE)}
    for days in (1.0, 3.5, 7.0):
        config = DegradationConfig(look_days=days)
        rules[f"5 % a month over looks every {days:g} days"] = (config, config)
    print("| rule | false alarms a month | 85 %: found in 7 d | in 30 d | in 8 weeks |\n|---|---|---|---|---|")
    for name, (config, level) in rules.items():
        calm = first_alarms(given.versions, usual, usual, config, level)
        worse = first_alarms(given.versions, narrow, usual, config, level)
        months = float(np.minimum(calm, JUDGED_WEEKS * 7).sum()) / MONTH
        found = " | ".join(f"{(worse <= days).mean():.0%}" for days in (7, 30, 56))
        print(f"| {name} | {np.isfinite(calm).sum() / months:.3f} | {found} |", flush=True)


if __name__ == "__main__":
    main()
