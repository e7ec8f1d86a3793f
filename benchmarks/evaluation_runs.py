"""Walk-forward forecasts, calibration and evaluation of one series of bars, each step kept in a cache folder."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.calibration.walk_forward import walk_forward_calibration
from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.hashing import bytes_hash, stable_hash
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.evaluation import scores
from fxgpt_core.evaluation.config import EvaluationConfig
from fxgpt_core.evaluation.evaluation import evaluate
from fxgpt_core.evaluation.result import Evaluation
from fxgpt_core.evaluation.split_config import WalkForwardConfig
from fxgpt_core.evaluation.splits import walk_forward
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.files.importing import import_files
from fxgpt_core.market.files.reading import Claims
from fxgpt_core.market.history import load_candles
from fxgpt_core.market.lake import Lake
from fxgpt_core.market.resampling import resample
from fxgpt_core.models.fold_inputs import fold_fingerprints
from fxgpt_core.models.registry import FAMILIES, FamilyEntry
from fxgpt_core.models.walk_forward import FoldStore, WalkForward, run_walk_forward
from fxgpt_core.store.clock import SystemClock
from fxgpt_core.training.plan import TrainingPlan

SEED = 20240301
LAYOUTS = {"5m": ("5m", "15m", "1h", "4h"), "1h": ("1h", "4h", "1d")}
HORIZONS = {"5m": (5, 15, 60, 240), "1h": (60, 240, 1440)}
NARROW = FeatureSpec(groups=(), indicators={"har": ("5m", "1h")})
"""Features of `ridge_narrow`: six log volatilities of the base bars, to which the family adds its own dozen."""

_EXTRA = (
    FamilyEntry("ridge_narrow", "Ridge, narrow", "fxgpt_core.models.tabular.ridge"),
    FamilyEntry("plain_ridge", "Plain ridge, a dozen", "plain_ridge"),
)
ENTRIES = {**FAMILIES, **{entry.name: entry for entry in _EXTRA}}
BASELINES = tuple(name for name, entry in FAMILIES.items() if entry.baseline)
DEFAULT_FAMILIES = (*BASELINES, "ridge", "lightgbm", "ridge_narrow", "plain_ridge")
_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Series:
    """Bars of one pair in one folder: `files` hold `stored` bars, from which `bar` ones are made."""

    symbol: str
    bar: str
    stored: str
    files: tuple[Path, ...]

    @property
    def name(self) -> str:
        return f"{self.symbol} {self.files[0].parent.name}"


@dataclass(frozen=True)
class Result:
    """What was found for one series: `crps` (rows, horizons) of calibrated forecasts by family at `decided_at`."""

    name: str
    symbol: str
    bars: int
    first: str
    last: str
    side: str
    evaluation: Evaluation
    decided_at: NDArray[np.datetime64]
    crps: dict[str, NDArray[np.float64]]


def find_series(folder: Path, bar: str, pairs: Sequence[str]) -> list[Series]:
    """Return the series among files named like `EURUSD_5m.parquet` or `EURUSD_1m_bid.parquet`, one a pair and folder.

    Both sides of a pair become mid bars. Bars of 1m stand in where a folder has none of the length wanted.
    """
    found: dict[tuple[Path, str], dict[str, list[Path]]] = {}
    for file in sorted(p for p in folder.rglob("*") if p.suffix in (".parquet", ".csv")):
        parts = file.stem.split("_")
        if len(parts) in (2, 3) and parts[1] in (bar, "1m") and (not pairs or parts[0] in pairs):
            found.setdefault((file.parent, parts[0]), {}).setdefault(parts[1], []).append(file)
    series = []
    for (_, symbol), lengths in found.items():
        stored = bar if bar in lengths else "1m"
        if stored == bar or bar == "5m":  # a few months of minutes make too few hours
            series.append(Series(symbol, bar, stored, tuple(lengths[stored])))
    order = {"m5": 0, "h1": 0}
    return sorted(series, key=lambda one: (order.get(one.files[0].parent.name[:2], 1), one.name))


def read_candles(series: Series, cache: Path) -> Candles:
    """Import the files of a series into a lake of its own and return its bars; raises DataError where that fails."""
    lake = Lake(cache / "lakes" / series.name.replace(" ", "_"))
    done = import_files(lake, series.files, Claims(symbol=series.symbol, timeframe=series.stored))
    if done.failed:
        raise DataError(f"{series.name}: {done.failed[0][0].name} cannot be imported: {done.failed[0][1]}")
    candles = load_candles(lake, series.symbol, series.stored)
    return candles if series.stored == series.bar else resample(candles, series.bar)


def make_dataset(candles: Candles, spec: FeatureSpec | None = None) -> Dataset:
    """Return the dataset of the layout and horizons that belong to the bars."""
    code = candles.timeframe.code
    return build_dataset(candles, [timeframe(c) for c in LAYOUTS[code]], HORIZONS[code], spec)


def run(series: Series, families: Sequence[str], cache: Path) -> Result:
    """Return the evaluation of a series; finished folds of earlier runs with the same bars and code are kept."""
    candles = read_candles(series, cache)
    dataset = make_dataset(candles)
    lake = Lake(cache / "folds" / series.name.replace(" ", "_") / series.bar)
    outcomes = Outcomes.from_dataset(dataset)
    raw: dict[str, Forecast] = {}
    calibrated: dict[str, Forecast] = {}
    for name in families:
        started = time.perf_counter()
        own = make_dataset(candles, NARROW) if name == "ridge_narrow" else dataset
        made = forecast_folds(own, ENTRIES[name], lake)
        raw[name] = replace(made.forecast, family=name)
        calibrated[name], _ = walk_forward_calibration(raw[name], outcomes, made.fold)
        spent = time.perf_counter() - started
        print(f"{series.name} {series.bar}: {name} {spent:.0f} s", flush=True)
    baselines = [name for name in families if name in BASELINES]
    config = EvaluationConfig(groups=())
    evaluation = evaluate(series.symbol, raw, calibrated, outcomes, baselines, config, seed=SEED)
    decided_at = next(iter(calibrated.values())).decided_at
    truth = outcomes.aligned(decided_at, dataset.horizons).returns
    return Result(
        series.name,
        series.symbol,
        len(candles),
        str(candles.ts_utc[0])[:10],
        str(candles.ts_utc[-1])[:10],
        candles.side,
        evaluation,
        decided_at,
        {name: scores.crps(truth, forecast.quantiles, forecast.levels) for name, forecast in calibrated.items()},
    )


def forecast_folds(dataset: Dataset, entry: FamilyEntry, lake: Lake) -> WalkForward:
    """Return the raw walk-forward forecasts of a family; folds in the lake with the same bars and code are kept."""
    config = entry.config({})
    sources = (_ROOT / Path(*entry.module.split(".")[:-1])).glob("*.py")
    if not entry.module.startswith("fxgpt_core"):
        sources = iter([Path(__file__).with_name(f"{entry.module}.py")])
    code = bytes_hash(b"".join(path.read_bytes() for path in sorted(sources)))
    recipe = stable_hash([entry.name, config.model_dump(mode="json"), code, SEED])
    splits = walk_forward(dataset, WalkForwardConfig())
    inputs = fold_fingerprints(dataset, splits, recipe)
    folds = FoldStore(lake, dataset.symbol, entry.name, stable_hash(inputs), inputs)
    return run_walk_forward(dataset, entry, config, splits, folds, TrainingPlan(SEED), SystemClock())


def write_result(result: Result, file: Path) -> None:
    """Keep a result for the tables of later runs: JSON beside a NumPy archive of scores."""
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(file.with_suffix(".npz"), decided_at=result.decided_at, **result.crps)
    values: dict[str, Any] = {
        name: getattr(result, name) for name in ("name", "symbol", "bars", "first", "last", "side")
    }
    file.write_text(json.dumps({**values, "evaluation": result.evaluation.to_dict()}))


def read_result(file: Path) -> Result:
    """Read what `write_result` wrote."""
    values = json.loads(file.read_text())
    evaluation = Evaluation.from_dict(values.pop("evaluation"))
    with np.load(file.with_suffix(".npz")) as arrays:
        crps = {name: arrays[name] for name in arrays.files if name != "decided_at"}
        return Result(**values, evaluation=evaluation, decided_at=arrays["decided_at"], crps=crps)
