"""`check_recursion`: how much would a longer warm-up change? (DESIGN, "Canonical blocks")

A month's features start at an anchor, `warm_up` own bars before it. Here months are computed again from anchors twice
and four times as far back and from the start of history. A column may change by what no model can see, 1e-6 of its
standard deviation or the last bit of a float32; what changes by more is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.features.assemble import candles_by_timeframe
from fxgpt_core.features.bars import Releases, Surroundings
from fxgpt_core.features.blocks import compute_block, months
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.features.surroundings import surroundings
from fxgpt_core.features.table import FeatureTable
from fxgpt_core.market.candles import Candles

TOLERANCE = 1e-6
"""Change, in standard deviations of the column, that counts as none."""


@dataclass(frozen=True)
class Known:
    """Why a column is published although it depends on more than the warm-up, and by how many deviations at most."""

    reason: str
    at_most: float


DEPENDS_ON_MORE: Mapping[str, Known] = {
    "ma_fan": Known(
        "after 512 bars its average over 55 still holds 1e-7 of where the market was, which may be fifty ranges away",
        1e-4,
    )
}
"""Stem of a column -> what is known of its dependence."""

_FACTORS = (2, 4)
_LONGEST = 100_000  # bars of warm-up that stand for the whole of a longer history: memory stays bounded


@dataclass(frozen=True)
class Dependence:
    """One column that more warm-up changes.

    `size`: largest change in standard deviations, infinite where a value is only defined with one of the two;
    `rows`: how many values change; `warm_up`: bars with which it was compared; `reason`: why that is known, or None.
    """

    column: str
    timeframe: Timeframe
    month: np.datetime64
    warm_up: int
    size: float
    rows: int
    reason: str | None

    @property
    def sentence(self) -> str:
        """The dependence in words."""
        change = "is undefined with one of them" if np.isinf(self.size) else f"by up to {self.size:.1e} deviations"
        known = f" (known: {self.reason})" if self.reason else ""
        return f"{self.column} changes in {self.month} {change}, in {self.rows} rows, with {self.warm_up} bars{known}."


@dataclass(frozen=True)
class RecursionReport:
    """What was compared, and the columns that more warm-up changes, largest first, each once.

    `months`: how many months were computed again, over all timeframes; `columns`: how many columns they have;
    `skipped`: timeframes without enough history before any month.
    """

    symbol: str
    warm_up: int
    months: int
    columns: int
    found: tuple[Dependence, ...]
    skipped: tuple[str, ...]

    @property
    def failing(self) -> tuple[Dependence, ...]:
        """Those that nobody has declared."""
        return tuple(found for found in self.found if found.reason is None)

    @property
    def passed(self) -> bool:
        """Whether every column that depends on more is declared."""
        return not self.failing

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        if not self.months:
            return f"{self.symbol} has too little history to tell whether {self.warm_up} bars of warm-up suffice."
        what = f"{self.columns} columns of {self.symbol} in {self.months} months"
        if self.passed:
            known = f", but for {len(self.found)} that are known to" if self.found else ""
            return f"None of {what} changes with more than {self.warm_up} bars of warm-up{known}."
        names = ", ".join(found.column for found in self.failing[:5]) + (" and more" if len(self.failing) > 5 else "")
        return (
            f"Of {what} some change with more than {self.warm_up} bars of warm-up: {names}. "
            f"For example: {self.failing[0].sentence}"
        )


def check_recursion(
    candles: Candles | Mapping[str, Candles],
    timeframes: Sequence[Timeframe],
    spec: FeatureSpec | None = None,
    sampled: int = 3,
    seed: int = 0,
    releases: Releases | None = None,
    known: Mapping[str, Known] = DEPENDS_ON_MORE,
    progress: Progress = silent,
) -> RecursionReport:
    """Compute `sampled` months of each timeframe with more warm-up and list what changes.

    `candles`: base bars, or bars by timeframe code. Timeframes that are computed from the start of history anyway are
    left out; so are months with less than twice the warm-up before them. `known`: stems that may depend on more.
    """
    spec = spec or FeatureSpec()
    by_code = candles_by_timeframe(candles, timeframes)
    found: list[Dependence] = []
    count, columns, skipped = 0, 0, []
    for bar in timeframes:
        if bar.minutes >= spec.whole_history_minutes:
            continue
        bars, around = by_code[bar.code], surroundings(by_code, bar.code, releases)
        chosen = _months(bars, spec.warm_up, sampled, np.random.default_rng(seed))
        skipped += [] if chosen else [bar.code]
        for index, (month, rows) in enumerate(chosen):
            progress(f"warm-up {bars.symbol} {bar}", index, len(chosen), str(month))
            usual = compute_block(bars, month, spec, around)
            for longer in _warm_ups(spec.warm_up, rows.start):
                found += _changed(usual, _block(bars, month, spec, around, longer), month, longer, known)
            columns = columns + len(usual.names) if index == 0 else columns
        progress(f"warm-up {bars.symbol} {bar}", len(chosen), len(chosen))
        count += len(chosen)
    symbol = next(iter(by_code.values())).symbol
    return RecursionReport(symbol, spec.warm_up, count, columns, _worst(found), tuple(skipped))


def _months(bars: Candles, warm_up: int, sampled: int, rng: np.random.Generator) -> list[tuple[np.datetime64, slice]]:
    """Return the last month with enough history before it and others by chance, in order."""
    able = [(month, rows) for month, rows in months(bars) if rows.start >= max(2 * warm_up, 1)]
    if not able:
        return []
    others = rng.permutation(len(able) - 1)[: max(sampled - 1, 0)]
    return [able[index] for index in sorted({len(able) - 1, *others.tolist()})]


def _warm_ups(usual: int, before: int) -> list[int]:
    """Return the longer warm-ups to compare with, of a month with `before` bars before it."""
    return sorted({min(factor * usual, before) for factor in _FACTORS} | {min(before, _LONGEST)})


def _block(bars: Candles, month: np.datetime64, spec: FeatureSpec, around: Surroundings, warm_up: int) -> FeatureTable:
    return compute_block(bars, month, spec.model_copy(update={"warm_up": warm_up}), around)


def _changed(
    usual: FeatureTable, longer: FeatureTable, month: np.datetime64, warm_up: int, known: Mapping[str, Known]
) -> Iterator[Dependence]:
    """Yield the columns whose values in a month change beyond the tolerance."""
    size = change_in_deviations(usual.values, longer.values)  # (bars, columns)
    changed = size > TOLERANCE
    for column in np.flatnonzero(changed.any(axis=0)):
        name = usual.names[column]
        listed = known.get(name.split(f"_{usual.timeframe.code}")[0])
        most = float(size[:, column].max())
        yield Dependence(
            name,
            usual.timeframe,
            month,
            warm_up,
            most,
            int(changed[:, column].sum()),
            listed.reason if listed is not None and most <= listed.at_most else None,
        )


def change_in_deviations(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how far two versions of columns are apart, in standard deviations of the second: (rows, columns).

    0 where they are equal, both missing or neighbours in float32; infinite where only one of them is missing. A column
    that does not vary is measured against its size.
    """
    void, other_void = np.isnan(left), np.isnan(right)
    a, b = np.nan_to_num(left).astype(np.float64), np.nan_to_num(right).astype(np.float64)
    count = np.maximum((~other_void).sum(axis=0), 1)
    mean = b.sum(axis=0) / count
    deviation = np.sqrt((np.where(other_void, 0.0, b - mean) ** 2).sum(axis=0) / count)  # (columns,)
    unit = np.where(deviation > 1e-12 * np.abs(mean), deviation, np.abs(mean))
    unit = np.where(unit > 0.0, unit, 1.0)
    apart = np.abs(a - b)
    step = np.spacing(np.maximum(np.abs(left), np.abs(right))).astype(np.float64)
    out = np.where(apart <= np.nan_to_num(step), 0.0, apart / unit)
    out[void & other_void] = 0.0
    out[void != other_void] = np.inf
    return np.asarray(out)


def _worst(found: Sequence[Dependence]) -> tuple[Dependence, ...]:
    """Return the largest change of each column, the largest first."""
    by_name: dict[str, Dependence] = {}
    for one in found:
        if one.column not in by_name or one.size > by_name[one.column].size:
            by_name[one.column] = one
    return tuple(sorted(by_name.values(), key=lambda one: (-one.size, one.column)))
