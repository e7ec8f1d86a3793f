"""Canonical blocks: the one road by which features are computed (DESIGN, "Canonical blocks").

Recursive averages depend on where they start, so a month's features always start at the same anchor: `warm_up` own
bars before the month's first bar, or the start of history where that is later or the timeframe is long. A month is
that of `known_at`. What is learned from the past is learned from the bars before the month. Hence a month computed
alone equals the same month cut from the whole, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.features.alignment import last_known
from fxgpt_core.features.bars import Bars, Releases, SlowerBars, Surroundings
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.features.table import FeatureTable
from fxgpt_core.market.candles import Candles

Floats32 = NDArray[np.float32]
NOTHING = Surroundings()
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


class Blocks:
    """The blocks of one timeframe: everything that does not change from month to month, made once."""

    def __init__(self, candles: Candles, spec: FeatureSpec, around: Surroundings = NOTHING) -> None:
        bar = candles.timeframe
        self.whole, self._warm_up, self._releases = Bars.of(candles), spec.warm_up, around.releases
        self._from_start = bar.minutes >= spec.whole_history_minutes
        self._reads, self._chosen, self.memory = spec.reads(bar), spec.chosen(bar), spec.memory(bar)
        beside = around.slower.values() if "slower" in self._reads else ()
        self._slower = tuple(Bars.of(other) for other in beside)
        self.definition = spec.definition_hash(bar, tuple(around.slower))

    def bars(self, rows: slice) -> Bars:
        """Return the bars that a month's block is computed from, with what surrounds them: its own and those since its
        anchor, slower ones from `warm_up` bars before the first that is joined, releases within `RELEASES_REACH`."""
        own = self.whole.part(slice(0 if self._from_start else max(0, rows.start - self._warm_up), rows.stop))
        slower = tuple(_joined(own, other, self._warm_up) for other in self._slower)
        return replace(own, slower=slower, releases=self._near(own) if "releases" in self._reads else None)

    def past(self, rows: slice, memory: int) -> Bars:
        """Return the bars that a month's fitted state is learned from: the last `memory` before it."""
        return self.whole.part(slice(max(0, rows.start - memory), rows.start))

    def compute(self, rows: slice) -> tuple[Floats32, tuple[str, ...]]:
        """Return the columns of a month's bars as they come: (bars of the month, columns) float32, NaN where undefined,
        infinite where an indicator says so (see `condition`); and their names."""
        bars, columns = self.bars(rows), {}
        past: dict[int, Bars] = {}  # shared, so that what several indicators learn from it is made once
        for indicator, parameters in self._chosen:
            memory = indicator.memory(parameters)
            if memory and memory not in past:
                past[memory] = self.past(rows, memory)
            state = indicator.learn(past[memory], parameters) if memory else None
            for name, values in indicator.compute(bars, parameters, state).items():
                if values.shape != (len(bars),):
                    raise DataError(f"Indicator {indicator.name} gave {name} {values.shape} for {len(bars)} bars.")
                columns[name] = values
        count = rows.stop - rows.start
        out = np.empty((len(columns), count), dtype=np.float32)  # a column at a time, turned over as a whole
        with np.errstate(over="ignore"):  # what no float32 can hold is infinite
            for index, values in enumerate(columns.values()):
                out[index] = values[len(bars) - count :]
        return np.ascontiguousarray(out.T), tuple(columns)

    def _near(self, own: Bars) -> Releases | None:
        if self._releases is None or not len(own):
            return None
        return self._releases.between(own.known_at[0] - RELEASES_REACH, own.known_at[-1] + RELEASES_REACH)


def block_sources(candles: Candles, spec: FeatureSpec, around: Surroundings = NOTHING) -> dict[np.datetime64, str]:
    """Return for each month the hash of everything that its block is computed from, the definition aside."""
    blocks = Blocks(candles, spec, around)
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
    blocks, rows = Blocks(candles, spec, around), slice(first, stop)
    values, names = blocks.compute(rows)
    return FeatureTable(candles.timeframe, candles.ts_utc[rows], known_at[rows], names, values, blocks.definition)


def compute_table(candles: Candles, spec: FeatureSpec, around: Surroundings = NOTHING) -> FeatureTable:
    """Return the features of all bars, month by month; raises DataError without bars."""
    blocks = Blocks(candles, spec, around)
    values: Floats32 | None = None
    names: tuple[str, ...] = ()
    for _, rows in months(candles):
        block, names = blocks.compute(rows)
        if values is None:
            values = np.empty((len(candles), len(names)), dtype=np.float32)
        values[rows] = block
    if values is None:
        raise DataError("There are no bars to compute features from.")
    return FeatureTable(candles.timeframe, candles.ts_utc, candles.known_at, names, values, blocks.definition)


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
    if blocks.memory:
        parts.append(blocks.past(rows, blocks.memory).checksum())
    parts += [slower.bars.checksum() for slower in bars.slower]
    if bars.releases is not None:
        parts.append(bars.releases.checksum())
    return stable_hash(parts)


def _joined(own: Bars, other: Bars, warm_up: int) -> SlowerBars:
    """Return the slower bars that the block's bars can know, and `warm_up` before them."""
    row = last_known(own.known_at, other.known_at)
    first = max(0, int(row[0]) - warm_up) if len(row) else 0
    stop = int(row[-1]) + 1 if len(row) else 0
    return SlowerBars(other.part(slice(first, stop)), np.where(row >= 0, row - first, -1))
