"""Families compared across horizons together: energy scores of forecasts joined by the dependence of the past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fxgpt_core.common.forecast import Forecast
from fxgpt_core.evaluation.samples import energy_score, joint_draws
from fxgpt_core.features.outcomes import Outcomes

DRAWS, ROWS, SHIFTS, FEWEST = 100, 4000, 10, 20
"""Past outcomes that lend their dependence; decisions scored, evenly spaced; pairs per draw; fewest past outcomes."""


def relative_energy(
    outcomes: Outcomes, truth: Outcomes, forecasts: Mapping[str, Forecast], baselines: Sequence[str], seed: int
) -> dict[str, float]:
    """Return family -> mean energy score relative to the best baseline by it, 1 is level; lower is better.

    `truth`: outcomes at the rows of the `forecasts`; `outcomes`: all, of which those known before the first decision
    lend every family the same dependence between horizons. Each horizon is in units of its mean absolute outcome.
    Empty where fewer than `FEWEST` were known by then.
    """
    before = outcomes.aligned(outcomes.decided_at, truth.horizons).known_at(truth.decided_at[0]).returns
    before = before[np.isfinite(before).all(axis=1)]
    rows = np.flatnonzero(np.isfinite(truth.returns).all(axis=1))
    if len(before) < FEWEST or not len(rows):
        return {}
    rng = np.random.default_rng(seed)
    past = rng.permutation(before[_spaced(len(before), DRAWS)])  # no order between draws that are compared
    rows = rows[_spaced(len(rows), ROWS)]
    y = truth.returns[rows]
    scale = np.abs(y).mean(axis=0)
    scale[scale == 0] = 1.0
    found = {
        name: float(
            energy_score(y / scale, joint_draws(f.quantiles[rows] / scale[:, None], past, f.levels), SHIFTS).mean()
        )
        for name, f in forecasts.items()
    }
    best = min(found[name] for name in baselines)
    return {name: score / best for name, score in found.items()} if best > 0 else {}


def _spaced(count: int, most: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
