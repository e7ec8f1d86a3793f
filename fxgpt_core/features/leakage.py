"""`check_leakage`: does anything that was known at a moment change when the future is cut off? (SPEC 20)

The history is cut at many moments, everything is computed again from what was left, and every row known by the cut
must be the same, bit for bit. This catches a slower bar joined on its open time, a centred window, a seasonality or
scale learned from the whole sample, and a fill from behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.features.alignment import flat
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.bars import Releases
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.market.calendar import week_open
from fxgpt_core.market.candles import Candles

Build = Callable[[Candles], Dataset]
_SHOWN = 64  # rows before a cut that are compared as a model would see them, besides everything stored


@dataclass(frozen=True)
class Leak:
    """One thing that changed: `what` (column, `yardstick_60`, `join_4h`, …), at which cut, in how many rows, since."""

    what: str
    cut: np.datetime64
    rows: int
    first: np.datetime64


@dataclass(frozen=True)
class LeakageReport:
    """What was compared and what changed; no leaks mean that nothing known by a cut depended on what came after.

    `moments`: where history was cut; `columns`: features compared; `values`: how many numbers were compared in all.
    """

    symbol: str
    moments: tuple[np.datetime64, ...]
    columns: int
    values: int
    leaks: tuple[Leak, ...]

    @property
    def cuts(self) -> int:
        """How often history was cut."""
        return len(self.moments)

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        what = f"{self.values} values at {self.cuts} cuts of {self.symbol}"
        if self.passed:
            return f"None of {what} depends on what came after."
        names = ", ".join(self.leaking[:5]) + (" and more" if len(self.leaking) > 5 else "")
        return f"Of {what} some change when the future is cut off: {names}."

    @property
    def passed(self) -> bool:
        """Whether nothing leaks."""
        return not self.leaks

    @property
    def leaking(self) -> tuple[str, ...]:
        """Names of everything that leaks, sorted."""
        return tuple(sorted({leak.what for leak in self.leaks}))


def check_leakage(
    candles: Candles,
    timeframes: Sequence[Timeframe],
    horizons: Sequence[int],
    spec: FeatureSpec | None = None,
    cuts: int = 12,
    seed: int = 0,
    build: Build | None = None,
    releases: Releases | None = None,
) -> LeakageReport:
    """Compare features, alignment, yardstick and known targets of the whole history with those of cut histories.

    `candles`: base bars. `cuts`: how many moments, spread over month ends, weekends and random bars. `build` makes a
    dataset of base bars, by default `build_dataset` of the given layout; tests pass leaky ones. Raises BadInputError
    for histories of fewer than 50 bars.
    """
    if len(candles) < 50 or cuts < 1:
        raise BadInputError(
            f"A leakage check needs at least 50 bars and one cut, {candles.symbol} has {len(candles)} and {cuts}."
        )
    make = build or partial(build_dataset, timeframes=timeframes, horizons=horizons, spec=spec, releases=releases)
    whole = make(candles)
    moments = cut_points(candles, cuts, seed)
    leaks: list[Leak] = []
    values = 0
    for cut in moments:
        part = make(candles.until(cut))
        values += sum(table.values.size for table in part.tables.values()) + 2 * part.yardstick.size
        leaks += _compare(whole, part, cut)
    columns = sum(len(table.names) for table in whole.tables.values())
    return LeakageReport(candles.symbol, tuple(moments), columns, values, tuple(leaks))


def cut_points(candles: Candles, count: int, seed: int) -> list[np.datetime64]:
    """Return moments at which history is cut: a third around month ends, a third at weekends, the rest at random.

    Month ends and weekends are where frozen state changes and bars are longest underway; some cuts lie a few bars
    beside them. All lie in the second to last tenth of the history.
    """
    rng = np.random.default_rng(seed)
    known_at = candles.known_at
    low, high = len(candles) // 10, len(candles) - 2
    month, week = known_at.astype("datetime64[M]"), week_open(candles.ts_utc)
    turns = [np.flatnonzero(stamp[1:] != stamp[:-1]) for stamp in (month, week)]
    chosen: set[int] = set()
    for turn in turns:
        inside = turn[(turn >= low) & (turn <= high)]
        picked = rng.permutation(inside)[: max(1, count // 3)]
        chosen |= {int(i) for i in np.clip(picked + rng.choice([0, 0, 1, -2, 3], len(picked)), low, high)}
    rest = rng.permutation(np.arange(low, high + 1))
    for index in rest:
        if len(chosen) >= count:
            break
        chosen.add(int(index))
    return [known_at[i] for i in sorted(chosen)[:count]]


def _compare(whole: Dataset, part: Dataset, cut: np.datetime64) -> Iterator[Leak]:
    """Yield everything at rows known by `cut` that differs between the datasets."""
    for code, table in part.tables.items():
        rows = int(np.searchsorted(table.known_at, cut, side="right"))
        full = whole.tables[code]
        for index, name in enumerate(table.names):
            yield from _differing(
                name, cut, table.known_at[:rows], full.values[:rows, index], table.values[:rows, index]
            )
    rows = len(part)
    stamps = part.known_at
    for index, bar in enumerate(part.timeframes):
        # As models see them: the moment of the bar joined, not only its row number.
        joined = [_joined(data, bar.code, index)[:rows] for data in (whole, part)]
        yield from _differing(f"join_{bar}", cut, stamps, *joined)
        late = joined[1] > stamps
        if late.any():
            yield Leak(f"join_{bar}", cut, int(late.sum()), stamps[late][0])
    last = np.arange(max(0, rows - _SHOWN), rows)
    seen, names = flat(part, last)
    before, _ = flat(whole, last)
    for index, name in enumerate(names):
        yield from _differing(f"flat {name}", cut, stamps[last], before[:, index], seen[:, index])
    for index, horizon in enumerate(part.horizons):
        pairs = whole.yardstick[:rows, index], part.yardstick[:, index]
        yield from _differing(f"yardstick_{horizon}", cut, stamps, *pairs)
        known = part.mask[:, index]
        pairs = whole.targets[:rows, index][known], part.targets[known, index]
        yield from _differing(f"target_{horizon}", cut, stamps[known], *pairs)


def _joined(dataset: Dataset, code: str, column: int) -> NDArray[np.datetime64]:
    """Return `known_at` of the slower bar joined to each base bar, NaT where there is none: (bars,)."""
    found, known_at = dataset.last_known[:, column], dataset.tables[code].known_at
    out = np.full(len(found), np.datetime64("NaT", "ns"))
    out[found >= 0] = known_at[found[found >= 0]]
    return out


def _differing(
    what: str, cut: np.datetime64, stamps: NDArray[np.datetime64], left: NDArray[Any], right: NDArray[Any]
) -> Iterator[Leak]:
    """Yield one leak where two columns differ in any bit; missing equals missing."""
    void = np.isnat if left.dtype.kind == "M" else np.isnan
    different = (left != right) & ~(void(left) & void(right))
    if different.any():
        yield Leak(what, cut, int(different.sum()), stamps[different][0])
