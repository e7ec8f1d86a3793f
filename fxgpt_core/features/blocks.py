"""Canonical blocks: the one road by which features are computed (DESIGN, "Canonical blocks").

Recursive averages depend on where they start, so a month's features always start at the same anchor: `warm_up` own
bars before the month's first bar, or the start of history where that is later or the timeframe is long. A month is
that of `known_at`. Hence a month computed alone equals the same month cut from the whole, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.features.registry import Bars
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.features.table import FeatureTable
from fxgpt_core.market.candles import Candles


def months(candles: Candles) -> Iterator[tuple[np.datetime64, slice]]:
    """Yield each month of `known_at` that has bars, with the slice of its bars."""
    month = candles.known_at.astype("datetime64[M]")
    starts = np.flatnonzero(np.r_[True, month[1:] != month[:-1]]) if len(month) else np.array([], dtype=np.int64)
    for first, stop in zip(starts, [*starts[1:], len(month)], strict=True):
        yield month[first], slice(int(first), int(stop))


def block_input(candles: Candles, bars: slice, spec: FeatureSpec) -> Candles:
    """Return the bars that a month's block is computed from: its own and those since its anchor."""
    whole = candles.timeframe.minutes >= spec.whole_history_minutes
    return candles.take(slice(0 if whole else max(0, bars.start - spec.warm_up), bars.stop))


def compute_block(candles: Candles, month: np.datetime64, spec: FeatureSpec) -> FeatureTable:
    """Return the features of the bars of `candles` (whole known history of one timeframe) known in `month`.

    Raises DataError when no bar became known in that month.
    """
    wanted = np.datetime64(month, "M")
    first, stop = (
        int(np.searchsorted(candles.known_at, moment.astype("datetime64[ns]"))) for moment in (wanted, wanted + 1)
    )
    if first == stop:
        raise DataError(f"No {candles.timeframe} bar of {candles.symbol} became known in {month}.")
    inputs = block_input(candles, slice(first, stop), spec)
    values, names = _columns(Bars.of(inputs), spec)
    kept = slice(len(inputs) - (stop - first), None)
    return FeatureTable(
        candles.timeframe,
        inputs.ts_utc[kept],
        inputs.known_at[kept],
        names,
        values[kept],
        spec.definition_hash(candles.timeframe),
    )


def compute_table(candles: Candles, spec: FeatureSpec) -> FeatureTable:
    """Return the features of all bars, month by month; raises DataError without bars."""
    return join([compute_block(candles, month, spec) for month, _ in months(candles)])


def join(blocks: list[FeatureTable]) -> FeatureTable:
    """Join consecutive blocks of one timeframe and definition; raises DataError when there is none."""
    if not blocks:
        raise DataError("There are no candles to compute features from: import some first.")
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


def _columns(bars: Bars, spec: FeatureSpec) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return all columns since the anchor as (bars, columns) float32 with their names."""
    columns = {}
    for indicator, parameters in spec.chosen(bars.timeframe):
        for name, values in indicator.compute(bars, parameters).items():
            if values.shape != (len(bars),):
                raise DataError(f"Indicator {indicator.name} gave {name} {values.shape} for {len(bars)} bars.")
            columns[name] = values
    out = np.empty((len(bars), len(columns)), dtype=np.float32)
    for index, values in enumerate(columns.values()):
        out[:, index] = values
    out[~np.isfinite(out)] = np.nan
    return out, tuple(columns)
