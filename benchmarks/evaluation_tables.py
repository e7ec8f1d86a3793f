"""Markdown tables of evaluations: one a series, and one over all series of a timeframe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from evaluation_runs import ENTRIES, SEED, Result
from numpy.typing import NDArray
from ridge_claim import Gain

from fxgpt_core.common.dependence import estimate_mean
from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.evaluation.result import Evaluation, FamilyScores, Skill

Floats = NDArray[np.float64]

_EWMAS = ("ewma", "seasonal_ewma")
_REPEATS = 9999


@dataclass(frozen=True)
class Pooled:
    """Skill of one family at one horizon over several series, against each one's best baseline.

    `low`, `high`, `p_value` (one-sided): of the mean over series at each moment, by the equal-weighted cosine variance;
    `p_weeks`: by a bootstrap of whole weeks, in which all series are drawn together.
    """

    value: float
    low: float
    high: float
    p_value: float
    effective_rows: float
    p_weeks: float
    weeks: int
    ahead: int
    in_set: int
    series: int


def series_table(result: Result) -> str:
    """Return heading, facts and table of one series."""
    found = result.evaluation
    lines = [
        f"### {result.name}",
        "",
        f"{result.bars} bars ({result.side}) from {result.first} to {result.last}; {found.rows} decisions from "
        f"{found.start[:10]} to {found.end[:10]} out of sample after calibration.",
        "",
        "| horizon | model | CRPS e-4 | skill vs best baseline | p | n eff | vs best EWMA | p | 90 % raw | calibrated "
        "| MCS |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for horizon in found.horizons:
        lines += [_row(found, found.of(name, horizon)) for name in found.families]
    return "\n".join(lines)


def _row(found: Evaluation, entry: FamilyScores) -> str:
    covered = entry.covered(0.9)
    ewma = _against_ewma(found, entry)
    best = ("best baseline", "") if entry.best is None else (_interval(entry.best), _p(entry.best.p_value))
    alarm = " alarm" if entry.flags else ""
    cells = (
        horizon_name(entry.horizon),
        ENTRIES[entry.family].label,
        f"{entry.crps.value * 1e4:.3f}",
        best[0] + alarm,
        best[1],
        f"{entry.effective_rows:.0f}",
        "" if ewma is None else _percent(ewma.value),
        "" if ewma is None else _p(ewma.p_value),
        f"{covered.raw.value:.1%}",
        f"{covered.calibrated.value:.1%}",
        f"in ({entry.confidence_p:.2f})" if entry.in_confidence_set else "",
    )
    return "| " + " | ".join(cells) + " |"


def _against_ewma(found: Evaluation, entry: FamilyScores) -> Skill | None:
    """Return the skill against the better of the EWMA walks, None for that one itself."""
    rivals = [name for name in _EWMAS if name in found.baselines]
    best = min(rivals, key=lambda name: found.of(name, entry.horizon).crps.value, default="")
    return next((skill for skill in entry.skills if skill.baseline == best), None)


def pooled_table(results: Sequence[Result]) -> str:
    """Return the table over all series, for the families that every one of them has."""
    families = [name for name in results[0].crps if all(name in result.crps for result in results)]
    lines = [
        "| horizon | model | mean skill vs best baseline | p | n eff | p (weeks) | weeks | ahead in | in MCS |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for horizon in results[0].evaluation.horizons:
        for name in families:
            one = pool(results, name, horizon)
            skill = f"{_percent(one.value)} ({_percent(one.low)} to {_percent(one.high)})"
            lines.append(
                f"| {horizon_name(horizon)} | {ENTRIES[name].label} | {skill} | {_p(one.p_value)} "
                f"| {one.effective_rows:.0f} | {_p(one.p_weeks)} | {one.weeks} | {one.ahead} of {one.series} "
                f"| {one.in_set} of {one.series} |"
            )
    return "\n".join(lines)


def pool(results: Sequence[Result], family: str, horizon: int) -> Pooled:
    """Return the pooled skill of a family; at each moment the mean over the series that decide then counts once."""
    spans, values = [], []
    for result in results:
        column = result.evaluation.horizons.index(horizon)
        best = result.crps[result.evaluation.best_baseline(horizon)][:, column]
        known = np.isfinite(best)
        gain = (best - result.crps[family][:, column])[known] / best[known].mean()  # (known,)
        spans.append(result.decided_at[known])
        values.append(gain)
    moments, place = np.unique(np.concatenate(spans), return_inverse=True)
    total = np.bincount(place, np.concatenate(values))
    mean = total / np.bincount(place)  # (moments,)
    step = int(np.median(np.diff(moments) / np.timedelta64(1, "m")))
    found = estimate_mean(mean, max(1, horizon // step))
    low, high = found.interval()
    p_weeks, weeks = weeks_bootstrap(mean, moments)
    entries = [result.evaluation.of(family, horizon) for result in results]
    return Pooled(
        found.mean,
        low,
        high,
        found.p_value_positive() if found.error else 1.0,
        found.effective_rows,
        p_weeks,
        weeks,
        sum(entry.best is not None and entry.best.value > 0 for entry in entries),
        sum(bool(entry.in_confidence_set) for entry in entries),
        len(results),
    )


def weeks_bootstrap(gains: Floats, moments: NDArray[np.datetime64]) -> tuple[float, int]:
    """Return the one-sided p-value of mean gain > 0 when whole weeks are redrawn, and their number.

    The t ratio of weekly sums is compared with its distribution over resamples of the centred weeks (percentile-t,
    Efron & Tibshirani 1993, ch. 12), so that a dozen weeks are not taken for more than they are. A week begins with
    Sunday 00:00 UTC, when the market is closed.
    """
    week = (moments.astype("datetime64[D]").astype(np.int64) + 4) // 7
    _, place = np.unique(week, return_inverse=True)
    sums, counts = np.bincount(place, gains), np.bincount(place)
    number = len(sums)
    if number < 5 or not np.ptp(sums) > 0:
        return 1.0, number
    rng = np.random.default_rng(SEED)
    drawn = rng.integers(0, number, size=(_REPEATS, number))
    observed = _t_ratio(sums[None], counts[None])[0]
    centred = sums - counts * (sums.sum() / counts.sum())
    ratios = _t_ratio(centred[drawn], counts[drawn])
    return float((1 + (ratios >= observed).sum()) / (1 + _REPEATS)), number


def _t_ratio(sums: Floats, counts: NDArray[np.int64]) -> Floats:
    """Return the ratio of the mean gain to its standard error, (repeats,), from weekly (repeats, weeks)."""
    mean = sums.sum(axis=1) / counts.sum(axis=1)
    spread = np.sqrt(np.square(sums - counts * mean[:, None]).sum(axis=1)) / counts.sum(axis=1)
    return np.divide(mean, spread, out=np.zeros(len(mean)), where=spread > 0)


def claim_table(name: str, gains: Mapping[str, Sequence[Gain]], horizons: Sequence[int]) -> str:
    """Return the table of the dozen-column experiment on one series."""
    lines = [
        f"#### {name}",
        "",
        "| compared | " + " | ".join(horizon_name(h) for h in horizons) + " |",
        "|---|" + "---|" * len(horizons),
    ]
    for title, row in gains.items():
        cells = [f"{_percent(g.value)} (p {_p(g.p_value)}, t {g.t_naive:.1f})".replace("-", "−") for g in row]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def claim_summary(gains: Mapping[str, Mapping[str, Sequence[Gain]]], horizons: Sequence[int]) -> str:
    """Return the mean gain over series of each row of the experiment, and in how many it is positive."""
    titles = list(next(iter(gains.values())))
    lines = ["| compared | " + " | ".join(horizon_name(h) for h in horizons) + " |", "|---|" + "---|" * len(horizons)]
    for title in titles:
        cells = []
        for column in range(len(horizons)):
            values = [rows[title][column].value for rows in gains.values() if title in rows]
            cells.append(f"{_percent(float(np.mean(values)))}, {sum(v > 0 for v in values)} of {len(values)}")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _interval(skill: Skill) -> str:
    return f"{_percent(skill.value)} ({_percent(skill.low)} to {_percent(skill.high)})"


def _percent(value: float) -> str:
    return f"{100 * value:+.2f} %".replace("-", "−")


def _p(value: float) -> str:
    return "<.001" if value < 0.001 else f"{value:.3f}"
