"""What retraining along history is worth on real hourly bars: the replayed rule against fixed folds.

    python benchmarks/retraining.py --data FOLDER --pair GBPUSD [--families ridge lightgbm] [--months 36] [--every 14]

Both are calibrated, scored on the decisions that they share and traded with the same rules and costs. What is finished
stays in `--cache`, so that an interrupted run carries on; another rule (`--every`, `--no-drift`, ...) lies beside it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from evaluation_runs import HORIZONS, LAYOUTS, SEED, find_series, read_candles

from fxgpt_core.backtest.adapter import run_backtest
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.calibration.config import CalibrationConfig
from fxgpt_core.calibration.walk_forward import walk_forward_calibration
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.timeframes import horizon_name, timeframe
from fxgpt_core.evaluation.config import EvaluationConfig
from fxgpt_core.evaluation.evaluation import evaluate
from fxgpt_core.evaluation.split_config import WalkForwardConfig
from fxgpt_core.evaluation.splits import walk_forward
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.replay.history import History, ReplaySettings, configuration_hash
from fxgpt_core.lifecycle.replay.replay import replay_retraining
from fxgpt_core.lifecycle.replay.segments import Segment, SegmentStore, joined
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.lake import Lake
from fxgpt_core.models.fold_inputs import fold_fingerprints
from fxgpt_core.models.registry import FAMILIES
from fxgpt_core.models.walk_forward import FoldStore, run_walk_forward
from fxgpt_core.policy.config import RetrainingConfig
from fxgpt_core.store.asset_config import Costs
from fxgpt_core.store.clock import SystemClock
from fxgpt_core.training.plan import TrainingPlan

FOLDS = WalkForwardConfig()
COSTS = Costs(spread="sessions", commission_per_million=30)
YARDSTICK = "seasonal_ewma"


def main() -> None:
    asked = _arguments()
    (series, *_) = find_series(asked.data, "1h", [asked.pair])
    candles = read_candles(series, asked.cache)
    candles = candles.take(candles.ts_utc >= candles.ts_utc[-1] - np.timedelta64(round(asked.months * 30.44), "D"))
    spec = FeatureSpec(groups=tuple(asked.groups))
    dataset = build_dataset(candles, [timeframe(code) for code in LAYOUTS["1h"]], HORIZONS["1h"], spec)
    first, last = (str(moment)[:10] for moment in dataset.known_at[[0, -1]])
    columns = sum(len(table.names) for table in dataset.tables.values())
    print(f"{asked.pair}: {len(dataset)} hourly bars {first} to {last}, {columns} columns")
    lake = Lake(asked.cache / "retraining")
    yardstick = _folds(dataset, YARDSTICK, lake)
    for family in asked.families:
        fixed = _folds(dataset, family, lake)
        segments, seconds = _replay(dataset, family, lake, _rule(asked))
        _tell(family, segments, seconds)
        _compare(dataset, candles, {"retrained": joined(segments, dataset.symbol, family), "folds": fixed}, yardstick)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pair", default="GBPUSD")
    parser.add_argument("--families", nargs="+", default=["ridge", "lightgbm"], choices=list(FAMILIES))
    parser.add_argument("--groups", nargs="*", default=["volatility", "returns", "oscillators", "time"])
    parser.add_argument("--months", type=float, default=36.0)
    parser.add_argument("--every", type=float, default=14.0)
    parser.add_argument("--train-months", type=float, default=18.0, help="span that a retraining learns from")
    parser.add_argument("--no-drift", action="store_true")
    parser.add_argument("--no-degradation", action="store_true")
    parser.add_argument("--cache", type=Path, default=Path(".bench/retraining"))
    return parser.parse_args()


def _rule(asked: argparse.Namespace) -> RetrainingConfig:
    return RetrainingConfig(
        every_days=asked.every,
        train_months=asked.train_months,
        on_drift=not asked.no_drift,
        on_degradation=not asked.no_degradation,
    )


def _folds(dataset: Dataset, family: str, lake: Lake) -> tuple[Forecast, Forecast]:
    """Return raw and calibrated forecasts of the fixed folds."""
    entry, splits = FAMILIES[family], walk_forward(dataset, FOLDS)
    store = FoldStore(lake, dataset.symbol, family, "folds", fold_fingerprints(dataset, splits, entry.code_version))
    made = run_walk_forward(dataset, entry, entry.config({}), splits, store, TrainingPlan(SEED), SystemClock())
    calibrated, _ = walk_forward_calibration(made.forecast, Outcomes.from_dataset(dataset), made.fold)
    return made.forecast, calibrated


def _replay(dataset: Dataset, family: str, lake: Lake, rule: RetrainingConfig) -> tuple[list[Segment], float]:
    """Return the segments of the replay and the processor seconds that this run took."""
    entry, began = FAMILIES[family], time.process_time()
    config = entry.config({})
    begin = dataset.known_at[int(np.flatnonzero(walk_forward(dataset, FOLDS)[0].test)[0])] - np.timedelta64(1, "D")
    settings = ReplaySettings(begin, rule, FOLDS, CalibrationConfig(), DriftConfig(), SEED)
    store = SegmentStore(lake, dataset.symbol, family, configuration_hash(entry, config, settings))
    history = History(dataset, entry, config, settings)
    segments = replay_retraining(history, store, TrainingPlan(SEED), SystemClock(), started=_say)
    return segments, time.process_time() - began


def _say(trained_at: np.datetime64) -> None:
    print(f"  training {str(trained_at)[:16]}", file=sys.stderr, flush=True)


def _tell(family: str, segments: list[Segment], seconds: float) -> None:
    causes = Counter(s.record.cause.partition(":")[0] or "age" for s in segments[1:])
    looks = Counter(decision.what for segment in segments for decision in segment.decisions)
    fits = sum(segment.record.seconds for segment in segments)
    print(f"{family}: {len(segments)} versions by {dict(causes)}, looks {dict(looks)}, fits {fits:.0f} s, "
          f"replay {seconds:.0f} s of processor time")  # fmt: skip
    for segment in segments:
        if segment.record.cause:
            print(f"  {segment.record.trained_at[:16]} {' '.join(segment.record.reasons)}")


def _compare(
    dataset: Dataset, candles: Candles, both: dict[str, tuple[Forecast, Forecast]], yardstick: tuple[Forecast, Forecast]
) -> None:
    given: dict[str, tuple[Forecast, Forecast]] = {**both, YARDSTICK: yardstick}
    made = evaluate(
        dataset.symbol,
        {name: raw for name, (raw, _) in given.items()},
        {name: calibrated for name, (_, calibrated) in given.items()},
        Outcomes.from_dataset(dataset),
        ("folds", YARDSTICK),
        EvaluationConfig(groups=()),
        seed=SEED,
    )
    for horizon in made.horizons:
        mine, folds = made.of("retrained", horizon), made.of("folds", horizon)
        print(f"  {horizon_name(horizon)}: against folds {_skill(mine.against('folds'))}, against {YARDSTICK} "
              f"{_skill(mine.against(YARDSTICK))} (folds {_skill(folds.against(YARDSTICK))}), 90 % coverage "
              f"{mine.covered(0.9).calibrated.value:.1%} (folds {folds.covered(0.9).calibrated.value:.1%}), "
              f"{mine.rows} rows worth {mine.effective_rows:.0f}")  # fmt: skip
    shared = np.intersect1d(*(calibrated.decided_at for _, calibrated in both.values()))
    config = BacktestConfig(account_currency=dataset.symbol[3:])
    for name, (_, calibrated) in both.items():
        result = run_backtest(candles, calibrated.take(np.isin(calibrated.decided_at, shared)), config, COSTS)
        interval = result.intervals.get("sharpe")
        figures = {key: result.metrics.get(key) for key in ("gross_return", "return", "sharpe", "trades")}
        print(f"  traded {name}: {result.status} {figures} Sharpe interval {interval}")


def _skill(skill: Any) -> str:
    return "none" if skill is None else f"{skill.value:+.2%} ({skill.low:+.2%} to {skill.high:+.2%})"


if __name__ == "__main__":
    main()
