"""Scores of parts of the rows: where is a model good, where is it not?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.dependence import TERMS, estimate_mean, share_interval
from fxgpt_core.evaluation.result import Estimate, GroupScores
from fxgpt_core.evaluation.significance import compare

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

FEWEST = 20
"""Groups of fewer rows are left out: no figure of them means anything."""


@dataclass(frozen=True)
class ScoredRows:
    """One family at one horizon, row by row, each (rows,): CRPS `loss`, that of the `reference` (the best baseline, or
    None for itself), 1 or 0 `covered` by the 90 % interval, 1, 0 or NaN `direction`."""

    loss: Floats
    reference: Floats | None
    covered: Floats
    direction: Floats


def break_down(
    by: str,
    labels: NDArray[np.str_],
    decided_at: Times,
    label_end: Times,
    horizon: int,
    families: Mapping[str, ScoredRows],
    confidence: float = 0.95,
    terms: int = TERMS,
) -> tuple[GroupScores, ...]:
    """Return the scores of every family in every group of rows, (rows,) `labels` in alphabetical order.

    Rows of a group follow each other with gaps, so labels overlap less than in the whole: the overlap is counted
    within the group. Groups below `FEWEST` rows are left out.
    """
    found = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < FEWEST:
            continue
        overlap = _overlap(decided_at[rows], label_end[rows])
        for name, scored in families.items():
            found.append(_scores(by, str(label), name, horizon, scored, rows, overlap, confidence, terms))
    return tuple(found)


def _scores(
    by: str,
    label: str,
    family: str,
    horizon: int,
    scored: ScoredRows,
    rows: NDArray[np.int64],
    overlap: int,
    confidence: float,
    terms: int,
) -> GroupScores:
    loss = scored.loss[rows]
    skill, p_value = None, None
    if scored.reference is not None:
        result = compare(loss, scored.reference[rows], overlap, confidence, terms)
        skill, p_value = Estimate(result.value, result.low, result.high), result.p_value
    hits = scored.direction[rows]
    hits = hits[np.isfinite(hits)]
    return GroupScores(
        by=by,
        label=label,
        family=family,
        horizon=horizon,
        rows=len(rows),
        effective_rows=estimate_mean(loss, overlap, terms).effective_rows,
        crps=float(loss.mean()),
        skill=skill,
        p_value=p_value,
        coverage=share_estimate(scored.covered[rows], overlap, confidence, terms),
        direction=share_estimate(hits, overlap, confidence, terms) if len(hits) >= FEWEST else None,
    )


def share_estimate(hits: Floats, overlap: int, confidence: float, terms: int = TERMS) -> Estimate:
    """Return a share of (rows,) ones and zeros with its binomial (Wilson) interval on the effective rows."""
    found = estimate_mean(hits, overlap, terms)
    return Estimate(found.mean, *share_interval(found.mean, found.effective_rows, confidence, found.terms))


def _overlap(decided_at: Times, label_end: Times) -> int:
    spans = np.searchsorted(decided_at, label_end, side="left") - np.arange(len(decided_at))
    return max(1, int(np.median(spans)))
