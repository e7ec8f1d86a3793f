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
from fxgpt_core.market.bars import checksum
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


def block_bars(candles: Candles, rows: slice, spec: FeatureSpec, around: Surroundings = NOTHING) -> Bars:
    """Return the bars that a month's block is computed from, with what surrounds them: its own and those since its
    anchor, slower ones from `warm_up` bars before the first that is joined, releases within `RELEASES_REACH`."""
    whole = candles.timeframe.minutes >= spec.whole_history_minutes
    own = Bars.of(candles).part(slice(0 if whole else max(0, rows.start - spec.warm_up), rows.stop))
    reads = spec.reads(candles.timeframe)
    slower = tuple(_joined(own, other, spec) for other in around.slower.values()) if "slower" in reads else ()
    return replace(own, slower=slower, releases=_releases(own, around) if "releases" in reads else None)


def block_source(candles: Candles, rows: slice, spec: FeatureSpec, around: Surroundings = NOTHING) -> str:
    """Return the hash of everything that the month's block is computed from, the definition aside."""
    bars = block_bars(candles, rows, spec, around)
    parts: list[object] = [checksum(candles.take(slice(rows.stop - len(bars), rows.stop)))]
    memory = spec.memory(candles.timeframe)
    if memory:
        parts.append(checksum(candles.take(slice(max(0, rows.start - memory), rows.start))))
    for slower in bars.slower:
        candles_beside = around.slower[slower.bars.timeframe.code]
        first = int(np.searchsorted(candles_beside.ts_utc, slower.bars.ts_utc[0])) if len(slower.bars) else 0
        parts.append(checksum(candles_beside.take(slice(first, first + len(slower.bars)))))
    if bars.releases is not None:
        found = bars.releases
        parts.append([found.ts_utc.astype(np.int64).tolist(), found.of_base.tolist(), found.impact.tolist()])
    return stable_hash(parts)


def compute_block(
    candles: Candles, month: np.datetime64, spec: FeatureSpec, around: Surroundings = NOTHING
) -> FeatureTable:
    """Return the features of the bars of `candles` (whole known history of one timeframe) known in `month`.

    Raises DataError when no bar became known in that month.
    """
    wanted = np.datetime64(month, "M")
    first, stop = (
        int(np.searchsorted(candles.known_at, moment.astype("datetime64[ns]"))) for moment in (wanted, wanted + 1)
    )
    if first == stop:
        raise DataError(f"No {candles.timeframe} bar of {candles.symbol} became known in {month}.")
    rows = slice(first, stop)
    bars = block_bars(candles, rows, spec, around)
    values, names = _columns(bars, candles, rows, spec)
    kept = slice(len(bars) - (stop - first), None)
    return FeatureTable(
        candles.timeframe,
        bars.ts_utc[kept],
        bars.known_at[kept],
        names,
        values,
        spec.definition_hash(candles.timeframe, tuple(around.slower)),
    )


def compute_table(candles: Candles, spec: FeatureSpec, around: Surroundings = NOTHING) -> FeatureTable:
    """Return the features of all bars, month by month; raises DataError without bars."""
    return join([compute_block(candles, month, spec, around) for month, _ in months(candles)])


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


def _joined(own: Bars, other: Candles, spec: FeatureSpec) -> SlowerBars:
    """Return the slower bars that the block's bars can know, and `warm_up` before them."""
    row = last_known(own.known_at, other.known_at)
    first = max(0, int(row[0]) - spec.warm_up) if len(row) else 0
    stop = int(row[-1]) + 1 if len(row) else 0
    return SlowerBars(Bars.of(other).part(slice(first, stop)), np.where(row >= 0, row - first, -1))


def _releases(own: Bars, around: Surroundings) -> Releases | None:
    if around.releases is None or not len(own):
        return None
    return around.releases.between(own.known_at[0] - RELEASES_REACH, own.known_at[-1] + RELEASES_REACH)


def _columns(bars: Bars, candles: Candles, rows: slice, spec: FeatureSpec) -> tuple[Floats32, tuple[str, ...]]:
    """Return the columns of the month's bars, `rows` of `candles`: (bars of the month, columns) float32, and names."""
    columns, whole = {}, Bars.of(candles)
    for indicator, parameters in spec.chosen(bars.timeframe):
        memory = indicator.memory(parameters)
        past = whole.part(slice(max(0, rows.start - memory), rows.start)) if memory else None
        state = indicator.learn(past, parameters) if past is not None else None
        for name, values in indicator.compute(bars, parameters, state).items():
            if values.shape != (len(bars),):
                raise DataError(f"Indicator {indicator.name} gave {name} {values.shape} for {len(bars)} bars.")
            columns[name] = values
    count = rows.stop - rows.start
    out = np.empty((count, len(columns)), dtype=np.float32)
    for index, values in enumerate(columns.values()):
        out[:, index] = values[len(bars) - count :]
    out[~np.isfinite(out)] = np.nan
    return out, tuple(columns)
