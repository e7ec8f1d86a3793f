"""Canonical blocks: the one road by which features are computed (DESIGN, "Canonical blocks").

Recursive averages depend on where they start, so a month's features always start at the same anchor: `warm_up` own
bars before the month's first bar, or the start of history where that is later or the timeframe is long. A month is
that of `known_at`. What is learned from the past is learned from the bars before the month. Hence a month computed
alone equals the same month cut from the whole, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.features.alignment import last_known
from fxgpt_core.features.bars import Bars, Releases, SlowerBars, Surroundings
from fxgpt_core.features.registry import Indicator
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.features.table import FeatureTable
from fxgpt_core.market.candles import Candles

Floats32 = NDArray[np.float32]
NOTHING = Surroundings()
REACH = 512
"""Bars before a bar that the values of windowed indicators depend on at most."""

RELEASES_REACH = np.timedelta64(31, "D")
"""How far before a block's first and after its last close releases are looked at."""


def months(candles: Candles) -> Iterator[tuple[np.datetime64, slice]]:
    """Yield each month of `known_at` that has bars, with the slice of its bars."""
    if not len(candles):
        return
    month = candles.known_at.astype("datetime64[M]")
    starts = np.flatnonzero(np.r_[True, month[1:] != month[:-1]])
    for first, stop in zip(starts, [*starts[1:], len(month)], strict=True):
        yield month[first], slice(int(first), int(stop))


@dataclass(frozen=True)
class Plan:
    """What a configuration asks of one timeframe: indicators with their parameters, what they read besides its bars,
    how many bars before a month they learn from, where blocks start, and the hash of all of it.
    """

    chosen: tuple[tuple[Indicator, dict[str, Any]], ...]
    reads: frozenset[str]
    memory: int
    warm_up: int
    from_start: bool
    definition: str

    @classmethod
    def of(cls, spec: FeatureSpec, bar: Timeframe, slower: Iterable[str]) -> Plan:
        """Return the plan of a timeframe beside `slower` ones, by code."""
        from_start = bar.minutes >= spec.whole_history_minutes
        definition = spec.definition_hash(bar, tuple(slower))
        return cls(tuple(spec.chosen(bar)), spec.reads(bar), spec.memory(bar), spec.warm_up, from_start, definition)


class Blocks:
    """The blocks of one timeframe: everything that does not change from month to month, made once."""

    def __init__(self, candles: Candles, plan: Plan, around: Surroundings = NOTHING) -> None:
        self.plan, self.whole, self._releases = plan, Bars.of(candles), around.releases
        beside = around.slower.values() if "slower" in plan.reads else ()
        self._slower = tuple(Bars.of(other) for other in beside)

    @classmethod
    def of(cls, candles: Candles, spec: FeatureSpec, around: Surroundings = NOTHING) -> Blocks:
        """Return the blocks of `candles` by a configuration."""
        return cls(candles, Plan.of(spec, candles.timeframe, around.slower), around)

    def bars(self, rows: slice) -> Bars:
        """Return the bars that a month's block is computed from, with what surrounds them: its own and those since its
        anchor, slower ones from `warm_up` bars before the first that is joined, releases within `RELEASES_REACH`."""
        plan = self.plan
        own = self.whole.part(slice(0 if plan.from_start else max(0, rows.start - plan.warm_up), rows.stop))
        slower = tuple(_joined(own, other, plan.warm_up) for other in self._slower)
        return replace(own, slower=slower, releases=self._near(own) if "releases" in plan.reads else None)

    def past(self, rows: slice, memory: int) -> Bars:
        """Return the bars that a month's fitted state is learned from: the last `memory` before it."""
        return self.whole.part(slice(max(0, rows.start - memory), rows.start))

    def compute(
        self, rows: slice, since: int | None = None, learned: dict[str, Any] | None = None
    ) -> tuple[Floats32, tuple[str, ...]]:
        """Return the columns of a month's bars as they come: (bars of the month, columns) float32, NaN where undefined,
        infinite where an indicator says so (see `condition`); and their names.

        `since`: only bars from this row on are wanted, and windowed indicators need not look at the whole month for
        them. `learned`: what indicators learned for this month before; what is learned now is added.
        """
        first, learned = rows.start if since is None else since, {} if learned is None else learned
        whole, columns = self.bars(rows), {}
        count = rows.stop - first
        near = _last(whole, count + REACH) if count + REACH < len(whole) else whole
        past: dict[int, Bars] = {}  # shared, so that what several indicators learn from it is made once
        for indicator, parameters in self.plan.chosen:
            memory = indicator.memory(parameters)
            if memory and indicator.name not in learned:
                if memory not in past:
                    past[memory] = self.past(rows, memory)
                learned[indicator.name] = indicator.learn(past[memory], parameters)
            bars = near if indicator.windowed and indicator.warm_up(parameters) <= REACH else whole
            for name, values in indicator.compute(bars, parameters, learned.get(indicator.name)).items():
                if values.shape != (len(bars),):
                    raise DataError(f"Indicator {indicator.name} gave {name} {values.shape} for {len(bars)} bars.")
                columns[name] = values[len(bars) - count :]
        out = np.empty((len(columns), count), dtype=np.float32)  # a column at a time, turned over as a whole
        with np.errstate(over="ignore"):  # what no float32 can hold is infinite
            for index, values in enumerate(columns.values()):
                out[index] = values
        return np.ascontiguousarray(out.T), tuple(columns)

    def _near(self, own: Bars) -> Releases | None:
        if self._releases is None or not len(own):
            return None
        return self._releases.between(own.known_at[0] - RELEASES_REACH, own.known_at[-1] + RELEASES_REACH)


def block_sources(candles: Candles, spec: FeatureSpec, around: Surroundings = NOTHING) -> dict[np.datetime64, str]:
    """Return for each month the hash of everything that its block is computed from, the definition aside."""
    blocks = Blocks.of(candles, spec, around)
    return {month: _source(blocks, rows) for month, rows in months(candles)}


def compute_block(
    candles: Candles, month: np.datetime64, spec: FeatureSpec, around: Surroundings = NOTHING
) -> FeatureTable:
    """Return the features of the bars of `candles` (whole known history of one timeframe) known in `month`.

    Raises DataError when no bar became known in that month.
    """
    wanted, known_at = np.datetime64(month, "M"), candles.known_at
    first, stop = (int(np.searchsorted(known_at, moment.astype("datetime64[ns]"))) for moment in (wanted, wanted + 1))
    if first == stop:
        raise DataError(f"No {candles.timeframe} bar of {candles.symbol} became known in {month}.")
    blocks, rows = Blocks.of(candles, spec, around), slice(first, stop)
    values, names = blocks.compute(rows)
    return FeatureTable(candles.timeframe, candles.ts_utc[rows], known_at[rows], names, values, blocks.plan.definition)


def compute_table(candles: Candles, spec: FeatureSpec, around: Surroundings = NOTHING) -> FeatureTable:
    """Return the features of all bars, month by month; raises DataError without bars."""
    blocks = Blocks.of(candles, spec, around)
    values: Floats32 | None = None
    names: tuple[str, ...] = ()
    for _, rows in months(candles):
        block, names = blocks.compute(rows)
        if values is None:
            values = np.empty((len(candles), len(names)), dtype=np.float32)
        values[rows] = block
    if values is None:
        raise DataError("There are no bars to compute features from.")
    return FeatureTable(candles.timeframe, candles.ts_utc, candles.known_at, names, values, blocks.plan.definition)


def join(blocks: list[FeatureTable]) -> FeatureTable:
    """Join consecutive blocks of one timeframe and definition; raises DataError when there is none."""
    if not blocks:
        raise DataError("There are no bars to compute features from.")
    head = blocks[0]
    if any(block.definition_hash != head.definition_hash or block.names != head.names for block in blocks):
        raise DataError(f"Feature blocks of {head.timeframe} differ in definition: materialise the features again.")
    return FeatureTable(
        head.timeframe,
        np.concatenate([block.ts_utc for block in blocks]),
        np.concatenate([block.known_at for block in blocks]),
        head.names,
        np.concatenate([block.values for block in blocks]),
        head.definition_hash,
    )


def _source(blocks: Blocks, rows: slice) -> str:
    bars = blocks.bars(rows)
    parts: list[object] = [bars.checksum()]
    if blocks.plan.memory:
        parts.append(blocks.past(rows, blocks.plan.memory).checksum())
    parts += [slower.bars.checksum() for slower in bars.slower]
    if bars.releases is not None:
        parts.append(bars.releases.checksum())
    return stable_hash(parts)


def _last(bars: Bars, count: int) -> Bars:
    """Return the last `count` bars with what surrounds them, slower ones from `REACH` before the first joined."""
    rows = slice(len(bars) - count, len(bars))
    slower = []
    for beside in bars.slower:
        row = beside.row[rows]
        first = max(0, int(row[0]) - REACH)
        slower.append(SlowerBars(beside.bars.part(slice(first, None)), np.where(row >= 0, row - first, -1)))
    return replace(bars.part(rows), slower=tuple(slower), releases=bars.releases)


def _joined(own: Bars, other: Bars, warm_up: int) -> SlowerBars:
    """Return the slower bars that the block's bars can know, and `warm_up` before them."""
    row = last_known(own.known_at, other.known_at)
    first = max(0, int(row[0]) - warm_up) if len(row) else 0
    stop = int(row[-1]) + 1 if len(row) else 0
    return SlowerBars(other.part(slice(first, stop)), np.where(row >= 0, row - first, -1))
