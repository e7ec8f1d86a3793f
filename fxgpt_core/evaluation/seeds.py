"""How much of a family's skill is the luck of its seed: mean and deviation over repeated fits (SPEC 20)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

import numpy as np

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.evaluation import scores
from fxgpt_core.evaluation.config import EvaluationConfig
from fxgpt_core.evaluation.table import Table
from fxgpt_core.features.outcomes import Outcomes

POOLED = "pooled"


@dataclass(frozen=True)
class SeedSpread:
    """CRPS skill of one family by seed, against the best baselines on the same rows.

    `skills`: horizon name or `pooled` -> a figure per seed, in the order of `seeds`; `mean` and `deviation` over seeds
    (None for a single one) by the same names. `low`, `high`: confidence bounds of the first seed's pooled skill, which
    hold the chance of the sample, to compare the chance of the seed with. `deterministic`: all seeds gave the same
    forecasts to the bit, so that one stands for all.
    """

    symbol: str
    family: str
    seeds: tuple[int, ...]
    rows: int
    deterministic: bool
    skills: Mapping[str, tuple[float, ...]]
    mean: Mapping[str, float]
    deviation: Mapping[str, float | None]
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


def same_forecasts(left: Forecast, right: Forecast) -> bool:
    """Tell whether two forecasts agree to the bit on the decisions that they share, at least one."""
    shared = np.intersect1d(left.decided_at, right.decided_at)
    a, b = (f.take(np.isin(f.decided_at, shared)) for f in (left, right))
    return len(shared) > 0 and np.array_equal(a.mean, b.mean) and np.array_equal(a.quantiles, b.quantiles)


def seed_spread(
    symbol: str,
    family: str,
    forecasts: Mapping[int, Forecast],
    baselines: Mapping[str, Forecast],
    outcomes: Outcomes,
    config: EvaluationConfig | None = None,
) -> SeedSpread:
    """Return the skill of each seed's calibrated forecasts, seed -> forecast, the official one first.

    `baselines`: name -> calibrated forecasts. All are scored on the decisions that they share and whose outcome is
    known at every horizon. Raises DataError without forecasts, baselines or such rows.
    """
    config = config or EvaluationConfig()
    if not forecasts or not baselines:
        raise DataError(f"Seeds of {family} for {symbol}: forecasts of a seed and of a baseline are needed.")
    every = {**baselines, **{f"seed {seed}": forecast for seed, forecast in forecasts.items()}}
    decided_at = reduce(np.intersect1d, [forecast.decided_at for forecast in every.values()])
    horizons = next(iter(forecasts.values())).horizons
    truth = outcomes.aligned(decided_at, horizons)
    known = np.isfinite(truth.returns).all(axis=1)
    if known.sum() < 4:
        raise DataError(f"Seeds of {family} for {symbol} share {int(known.sum())} decisions with known outcomes.")
    crps = {}
    for name, forecast in every.items():
        here = forecast.take(np.isin(forecast.decided_at, decided_at))
        crps[name] = scores.crps(truth.returns, here.quantiles, here.levels)
    table = Table(truth, np.broadcast_to(known[:, None], truth.returns.shape), crps, tuple(baselines), config, 0)
    pools = [table.pool(f"seed {seed}") for seed in forecasts]
    skills = {POOLED: tuple(pool.skill.value for pool in pools)}
    for column, horizon in enumerate(horizons):
        best, overlap = table.best(column), truth.overlap(column)
        skills[horizon_name(horizon)] = tuple(
            table.skill(f"seed {seed}", best, column, overlap).value for seed in forecasts
        )
    first, *others = forecasts.values()
    return SeedSpread(
        symbol=symbol,
        family=family,
        seeds=tuple(forecasts),
        rows=int(known.sum()),
        deterministic=bool(others) and all(same_forecasts(first, other) for other in others),
        skills=skills,
        mean={name: float(np.mean(values)) for name, values in skills.items()},
        deviation={name: float(np.std(v, ddof=1)) if len(v) > 1 else None for name, v in skills.items()},
        low=pools[0].skill.low,
        high=pools[0].skill.high,
    )
