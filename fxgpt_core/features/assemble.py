"""From candles to `Dataset`, in memory (live, tests) or through the lake (pipeline), with the same values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.features.bars import Releases
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.spec import FeatureSpec, check_layout
from fxgpt_core.features.standardised import Targets
from fxgpt_core.features.steps import PRODUCT, Steps
from fxgpt_core.features.surroundings import surroundings
from fxgpt_core.features.table import FeatureTable
from fxgpt_core.market.candles import Candles

if TYPE_CHECKING:
    from fxgpt_core.market.lake import Lake


def build_dataset(
    candles: Candles | Mapping[str, Candles],
    timeframes: Sequence[Timeframe],
    horizons: Sequence[int],
    spec: FeatureSpec | None = None,
    releases: Releases | None = None,
    steps: Steps = PRODUCT,
) -> Dataset:
    """Return the dataset of one symbol's candles.

    `candles`: base bars, or bars by timeframe code; timeframes that are not given are resampled from the base.
    `timeframes`: finest first; `horizons`: minutes of trading time, whole base bars. `spec` defaults to every
    indicator; `releases` is the economic calendar, where there is one.
    Raises BadInputError for timeframes or horizons that do not fit, DataError without bars.
    """
    spec = spec or FeatureSpec()
    timeframes, horizons = check_layout(timeframes, horizons)
    by_code = candles_by_timeframe(candles, timeframes, steps)
    base = by_code[timeframes[0].code]
    tables = {code: steps.table(bars, spec, surroundings(by_code, code, releases)) for code, bars in by_code.items()}
    return assemble(base, tables, horizons, steps.targets(base, horizons, spec.yardstick), spec, steps)


def load_dataset(
    lake: Lake,
    symbol: str,
    timeframes: Sequence[Timeframe],
    horizons: Sequence[int],
    spec: FeatureSpec,
    until: np.datetime64 | None = None,
) -> Dataset:
    """Return the dataset that `stored.update_tables` and `stored.update_targets` left in the lake.

    `until` (UTC): only what was known by then. Features and targets may reach further than the bars asked for, because
    others add to the lake meanwhile: they are cut to those, and a label that ends later is not known. Raises DataError
    when something is missing or was computed with another configuration or from other bars.
    """
    from fxgpt_core.features.stored import at_rest

    timeframes, horizons = check_layout(timeframes, horizons)
    try:
        return _read(lake, symbol, timeframes, horizons, spec, until)
    except DataError:  # while months are written anew their manifest does not list them
        with at_rest(lake, symbol):
            return _read(lake, symbol, timeframes, horizons, spec, until)


def _read(
    lake: Lake,
    symbol: str,
    timeframes: tuple[Timeframe, ...],
    horizons: tuple[int, ...],
    spec: FeatureSpec,
    until: np.datetime64 | None,
) -> Dataset:
    from fxgpt_core.features.stored import read_table, read_targets
    from fxgpt_core.market.history import load_candles

    base = load_candles(lake, symbol, timeframes[0], until)
    definitions, tables = spec.definition_hashes(timeframes), {}
    for bar in timeframes:
        bars = base if bar == timeframes[0] else load_candles(lake, symbol, bar, base.known_at[-1])
        tables[bar.code] = _of(bars, read_table(lake, symbol, bar, definitions[bar.code]))
    return assemble(base, tables, horizons, read_targets(lake, base, horizons, spec), spec)


def _of(bars: Candles, table: FeatureTable) -> FeatureTable:
    """Return the rows of a table that belong to the bars, its first ones; raises DataError where some have none."""
    if len(table) < len(bars) or (table.ts_utc[: len(bars)] != bars.ts_utc).any():
        raise _other_bars(bars, table)
    return table.take(slice(0, len(bars)))


def _other_bars(bars: Candles, table: FeatureTable) -> DataError:
    return DataError(
        f"Features of {bars.symbol} {table.timeframe} cover {len(table)} bars, the candles are {len(bars)}: "
        "materialise the features again."
    )


def assemble(
    base: Candles,
    tables: Mapping[str, FeatureTable],
    horizons: tuple[int, ...],
    targets: Targets,
    spec: FeatureSpec,
    steps: Steps = PRODUCT,
) -> Dataset:
    """Join base bars, tables (base first) and targets; raises DataError when they cover different bars."""
    timeframes = tuple(table.timeframe for table in tables.values())
    first = next(iter(tables.values()))
    if len(first) != len(base) or (first.ts_utc != base.ts_utc).any():
        raise _other_bars(base, first)
    return Dataset(
        symbol=base.symbol,
        candles=base,
        timeframes=timeframes,
        horizons=horizons,
        tables=dict(tables),
        last_known=np.stack([steps.join(base.known_at, table.known_at) for table in tables.values()], axis=1),
        yardstick=targets.yardstick,
        targets=targets.target,
        label_end=targets.label_end,
        mask=targets.mask,
        definition_hash=spec.dataset_hash(timeframes, horizons),
    )


def candles_by_timeframe(
    candles: Candles | Mapping[str, Candles], timeframes: Sequence[Timeframe], steps: Steps = PRODUCT
) -> dict[str, Candles]:
    """Return the candles of every timeframe, base first, resampling from the base what is not given."""
    given = {candles.timeframe.code: candles} if isinstance(candles, Candles) else dict(candles)
    base = given.get(timeframes[0].code)
    if base is None:
        raise BadInputError(f"Candles are given for {', '.join(given) or 'nothing'}, not for the base {timeframes[0]}.")
    return {bar.code: given[bar.code] if bar.code in given else steps.resample(base, bar) for bar in timeframes}
