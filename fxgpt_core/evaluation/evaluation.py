"""Evaluate the forecasts of all families of a symbol on the same rows (SPEC 9; DESIGN, "Honest numbers")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.evaluation import groups, scores
from fxgpt_core.evaluation.breakdown import break_down
from fxgpt_core.evaluation.config import EvaluationConfig
from fxgpt_core.evaluation.consistency import contradictions
from fxgpt_core.evaluation.degradation import InSample, degradations
from fxgpt_core.evaluation.groups import Labels
from fxgpt_core.evaluation.joint import relative_energy
from fxgpt_core.evaluation.result import Evaluation, GroupScores
from fxgpt_core.evaluation.table import Table
from fxgpt_core.features.outcomes import Outcomes

MIN_ROWS = 20
"""Below this many shared rows no figure means anything; a limit of the estimators, not a matter of taste."""


def evaluate(
    symbol: str,
    raw: Mapping[str, Forecast],
    calibrated: Mapping[str, Forecast],
    outcomes: Outcomes,
    baselines: Sequence[str],
    config: EvaluationConfig | None = None,
    labels: Mapping[str, Labels] | None = None,
    releases: NDArray[np.datetime64] | None = None,
    seed: int = 0,
    draws: Mapping[str, int] | None = None,
    in_sample: Mapping[str, Mapping[str, InSample]] | None = None,
) -> Evaluation:
    """Return scores, intervals, tests and alarms for every family and horizon.

    `raw` and `calibrated` map family to out-of-sample forecasts before and after calibration, with the same horizons.
    Everything is computed on the decisions that all of them share and, per horizon, whose outcome is known; pooled
    figures on those whose outcome is known for every horizon. Baselines are calibrated like everyone else, so that
    nobody wins by calibration alone.

    Scores are broken down by what `config` names, by `labels` (name -> a label per decision, such as the regime), and,
    where ascending `releases` (datetime64[ns] UTC) are given, by how decisions lie to them. `seed` steers resampling.

    One estimator of the CRPS scores all families, that of the quantiles which are delivered. Finite `draws` (family ->
    number, for families that sample) are part of what is delivered and raise it; by how much is told beside it, as
    `sampling_excess`, and subtracted nowhere: a family that wants it back draws more.

    `in_sample`: family -> fold -> scores on training rows, from which the degradation out of sample follows.

    Raises DataError when families, horizons or symbols contradict each other or fewer than `MIN_ROWS` rows are left.
    """
    config = config or EvaluationConfig()
    _check(symbol, raw, calibrated, baselines)
    horizons = next(iter(calibrated.values())).horizons
    decided_at = reduce(np.intersect1d, [f.decided_at for f in (*raw.values(), *calibrated.values())])
    truth = outcomes.aligned(decided_at, horizons)
    known = _known(truth, tuple(raw))  # (rows, horizons)
    before = {name: _at(forecast, decided_at) for name, forecast in raw.items()}
    after = {name: _at(forecast, decided_at) for name, forecast in calibrated.items()}
    crps = {name: scores.crps(truth.returns, f.quantiles, f.levels) for name, f in after.items()}
    table = Table(truth, known, crps, tuple(baselines), config, seed, draws or {})
    energy = relative_energy(outcomes, truth, after, baselines, seed)
    found = tuple(
        table.score(name, before[name], after[name], column) for name in raw for column in range(len(horizons))
    )
    return Evaluation(
        symbol=symbol,
        families=tuple(raw),
        baselines=tuple(baselines),
        horizons=horizons,
        weights=table.weights,
        start=str(decided_at[0]),
        end=str(decided_at[-1]),
        rows=len(decided_at),
        confidence=config.confidence,
        scores=found,
        pooled=tuple(table.pool(name, energy.get(name)) for name in raw),
        groups=_groups(table, before, after, labels or {}, releases),
        consistency=tuple(pair for name in raw for pair in contradictions(name, after[name], truth, table.config)),
        levels=next(iter(after.values())).levels,
        degradation=degradations(found, in_sample or {}, baselines),
        recent=tuple(entry for name in raw for entry in table.recent(name)),
        recent_since=table.newest_span[0],
        recent_until=table.newest_span[1],
    )


def _known(truth: Outcomes, families: Sequence[str]) -> NDArray[np.bool_]:
    """Return where the outcome is known; raises DataError where too few decisions have all of theirs."""
    known = np.isfinite(truth.returns)
    shared = int(known.all(axis=1).sum())
    if shared < MIN_ROWS:
        raise DataError(
            f"Evaluation of {truth.symbol}: {', '.join(families)} share {shared} decisions whose outcome is known at "
            f"every horizon, {MIN_ROWS} are needed; import more bars."
        )
    return known


def _groups(
    table: Table,
    raw: Mapping[str, Forecast],
    calibrated: Mapping[str, Forecast],
    labels: Mapping[str, Labels],
    releases: NDArray[np.datetime64] | None,
) -> tuple[GroupScores, ...]:
    """Return the scores of every family and horizon in every group of rows.

    Volatility is the width of the best baseline's 90 % interval before calibration, which was known beforehand.
    """
    config, truth = table.config, table.truth
    found: list[GroupScores] = []
    for column, horizon in enumerate(truth.horizons):
        rows = table.known[:, column]
        decided_at, label_end = truth.decided_at[rows], truth.label_end[rows, column]
        families = {name: table.scored_rows(name, forecast, column) for name, forecast in calibrated.items()}
        every = {name: given.at(decided_at) for name, given in labels.items()}
        if "hour" in config.groups:
            every["hour"] = groups.hours(decided_at)
        if "session" in config.groups:
            every["session"] = groups.sessions(decided_at)
        if "volatility" in config.groups:
            best = raw[table.best(column)]
            every["volatility"] = groups.volatility_buckets(
                scores.width(best.quantiles[rows, column], 0.9, best.levels)
            )
        if releases is not None:
            after = np.timedelta64(config.release_minutes, "m")
            every["release"] = groups.release_windows(decided_at, label_end, releases, after)
        for by, values in every.items():
            found += break_down(by, values, decided_at, label_end, horizon, families, config.confidence, config.terms)
    return tuple(found)


def _check(
    symbol: str, raw: Mapping[str, Forecast], calibrated: Mapping[str, Forecast], baselines: Sequence[str]
) -> None:
    if not raw or set(raw) != set(calibrated):
        raise DataError(
            f"Evaluation of {symbol}: raw forecasts of {sorted(raw)} and calibrated ones of {sorted(calibrated)} must "
            "be of the same families, at least one."
        )
    missing = set(baselines) - set(raw)
    if missing or not baselines:
        raise DataError(
            f"Evaluation of {symbol}: baselines {sorted(missing) or 'none'} have no forecasts; skill is always against "
            "a baseline on the same rows."
        )
    kinds = {(f.symbol, f.horizons) for f in (*raw.values(), *calibrated.values())}
    if kinds != {(symbol, next(iter(raw.values())).horizons)}:
        raise DataError(f"Evaluation of {symbol}: forecasts of {sorted(kinds)} cannot be compared.")


def _at(forecast: Forecast, decided_at: NDArray[np.datetime64]) -> Forecast:
    if len(forecast) == len(decided_at):  # the shared decisions are a part of each forecast's
        return forecast
    return forecast.take(np.searchsorted(forecast.decided_at, decided_at))
