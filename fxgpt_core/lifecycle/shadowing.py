"""What champion and shadow showed on the same live decisions, as evidence for `policy.shadow`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.dependence import MeanEstimate, estimate_mean, share_interval
from fxgpt_core.evaluation.scores import covered, crps
from fxgpt_core.evaluation.sequential import e_process
from fxgpt_core.lifecycle.tracking import Track
from fxgpt_core.market import calendar
from fxgpt_core.policy.shadow import ShadowConfig, ShadowEvidence

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

_BLOCK_MINUTES = 2 * 1440
"""A block is two days of open market, or twice the longest horizon where that is more."""
_FEWEST = 8


@dataclass(frozen=True)
class Pairs:
    """Scores of both on the decisions that both forecast: (rows, horizons), NaN without an outcome.

    `champion`, `shadow`: CRPS in units of the yardstick; `covered`: 1 where the shadow's interval held the outcome;
    `earned`: what trading the shadow's sign earned less the champion's, in units of the yardstick.
    """

    decided_at: Times
    label_end: Times
    horizons: tuple[int, ...]
    champion: Floats
    shadow: Floats
    covered: Floats
    earned: Floats
    overlaps: tuple[int, ...]


def paired(champion: Track, shadow: Track, since: np.datetime64, coverage: float) -> Pairs | None:
    """Score the decisions after `since` that both forecast, at the horizons of both; None without any."""
    horizons = tuple(h for h in champion.forecast.horizons if h in shadow.forecast.horizons)
    both = np.intersect1d(champion.forecast.decided_at, shadow.forecast.decided_at, assume_unique=True)
    both = both[both > since]
    if not len(both) or not horizons:
        return None
    first = np.searchsorted(champion.forecast.decided_at, both)
    second = np.searchsorted(shadow.forecast.decided_at, both)
    one, other = champion.forecast.take(first), shadow.forecast.take(second)
    left = [champion.forecast.column(h) for h in horizons]
    right = [shadow.forecast.column(h) for h in horizons]
    truth = champion.outcomes.aligned(both, horizons)
    size, y = champion.yardstick[first][:, left], truth.returns
    signs = np.sign(other.mean[:, right]) - np.sign(one.mean[:, left])
    return Pairs(
        both,
        truth.label_end,
        horizons,
        crps(y, one.quantiles[:, left], one.levels) / size,
        crps(y, other.quantiles[:, right], other.levels) / size,
        covered(y, other.quantiles[:, right], coverage, other.levels),
        signs * y / size,
        tuple(truth.overlap(column) for column in range(len(horizons))),
    )


def blocks(pairs: Pairs, since: np.datetime64, now: np.datetime64) -> tuple[Floats, Floats]:
    """Return mean CRPS of champion and shadow by block, pooled over horizons: (blocks,) each.

    Blocks are spans of open market from `since` on. A score belongs to a block only where its whole life does, so no
    outcome counts in two; a block counts when it is over and has scores of every horizon.
    """
    length = max(_BLOCK_MINUTES, 2 * max(pairs.horizons))
    begun = calendar.trading_minutes_between(since, pairs.decided_at)[:, None]  # (rows, 1)
    ended = calendar.trading_minutes_between(since, np.where(np.isnat(pairs.label_end), now, pairs.label_end))
    over = int(float(calendar.trading_minutes_between(since, now)) // length)
    left, right = [], []
    for number in range(over):
        inside = (begun >= number * length) & (ended <= (number + 1) * length) & np.isfinite(pairs.champion)
        inside &= np.isfinite(pairs.shadow)
        if not inside.any(axis=0).all():
            continue
        left.append(_pooled(pairs.champion, inside))
        right.append(_pooled(pairs.shadow, inside))
    return np.array(left), np.array(right)


def shadow_evidence(
    pairs: Pairs,
    labels: tuple[str, str],
    entered: np.datetime64,
    now: np.datetime64,
    config: ShadowConfig,
    degraded: bool = False,
    days_to_expiry: float | None = None,
    own: Pairs | None = None,
) -> ShadowEvidence:
    """Return the evidence at `now`; `labels`: champion and shadow.

    `own`: the shadow beside itself, at every decision that it forecast: its coverage is judged there, by default on
    `pairs`.
    """
    whole = pairs if own is None else own
    one, other = blocks(pairs, entered, now)
    gain = one - other
    known = np.isfinite(pairs.champion) & np.isfinite(pairs.shadow)
    champion, shadow = _pooled(pairs.champion, known), _pooled(pairs.shadow, known)
    running = {
        "superior": e_process(gain),
        "inferior": e_process(-gain),
        "tolerable": e_process(gain + config.margin * one),
    }
    last = {name: float(values[-1]) if len(values) else 1.0 for name, values in running.items()}
    return ShadowEvidence(
        champion=labels[0],
        shadow=labels[1],
        entered=entered,
        now=now,
        blocks=len(gain),
        decisions=int(known.any(axis=1).sum()),
        difference=0.0 if not np.isfinite(champion) or champion == 0 else (champion - shadow) / champion,
        coverage={h: found for i, h in enumerate(whole.horizons) if (found := _coverage(whole, i)) is not None},
        trading=_trading(pairs),
        degraded=degraded,
        days_to_expiry=days_to_expiry,
        running={
            **{name: tuple(map(float, found)) for name, found in running.items()},
            "gain": tuple(map(float, gain)),
        },
        superior=last["superior"],
        inferior=last["inferior"],
        tolerable=last["tolerable"],
    )


def _pooled(scores: Floats, inside: NDArray[np.bool_]) -> float:
    """Return the mean over horizons of the mean over rows; NaN where a horizon has none."""
    counts = inside.sum(axis=0)
    if not counts.all():
        return float("nan")
    return float((np.where(inside, scores, 0.0).sum(axis=0) / counts).mean())


def _coverage(pairs: Pairs, column: int) -> tuple[float, float, float] | None:
    inside = pairs.covered[:, column]
    inside = inside[np.isfinite(inside)]
    if len(inside) < _FEWEST:
        return None
    share = estimate_mean(inside, pairs.overlaps[column])
    low, high = share_interval(share.mean, share.effective_rows, 0.95, share.terms)
    return share.mean, low, high


def _trading(pairs: Pairs) -> MeanEstimate | None:
    """Estimate what following the shadow instead of the champion earned a decision, over all horizons."""
    earned = pairs.earned[np.isfinite(pairs.earned).all(axis=1)]
    if len(earned) < _FEWEST or not earned.any():
        return None
    return estimate_mean(earned.mean(axis=1), max(pairs.overlaps))
