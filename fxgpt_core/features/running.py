"""`RunningTables`: feature tables kept up to the newest bar, for a process that lives on.

A new bar changes its own row and nothing else. That row is computed by the same function as everywhere
(`blocks.Blocks.compute`): recursive indicators from the month's anchor on, windowed ones from the bars that they look
at, with what was learned for the month. It is written behind those that are there: no history is copied again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.features.bars import Releases
from fxgpt_core.features.blocks import Blocks, Plan, months
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.features.surroundings import surroundings
from fxgpt_core.features.table import FeatureTable
from fxgpt_core.market.candles import Candles


class RunningTables:
    """The feature tables of one symbol and layout, brought up to date by `update`."""

    def __init__(self, timeframes: Sequence[Timeframe], spec: FeatureSpec, releases: Releases | None = None) -> None:
        self._codes = tuple(bar.code for bar in timeframes)
        self._releases = releases
        self._plans = {bar.code: Plan.of(spec, bar, self._codes[at + 1 :]) for at, bar in enumerate(timeframes)}
        self._held: dict[str, _Held] = {}
        self._seen: dict[str, Candles] = {}

    def update(self, candles: Mapping[str, Candles]) -> dict[str, FeatureTable]:
        """Return the tables of all timeframes for their whole known history, finest first.

        `candles`: the bars of every timeframe by code, grown since the last call. Months whose bars are those of
        before are kept; where earlier bars changed, its own or slower ones that it reads, everything from there on is
        computed again. The tables share their storage with earlier ones, whose rows they only extend.
        """
        ordered = {code: candles[code] for code in self._codes}
        changed = {code: _first_change(self._seen.get(code), bars) for code, bars in ordered.items()}
        tables = {code: self._table(code, ordered, changed) for code in self._codes}
        self._seen = ordered
        return tables

    def resume(self, candles: Mapping[str, Candles], tables: Mapping[str, FeatureTable]) -> None:
        """Take over what was computed before, by the lake say: afterwards only the running month is computed again.

        `candles` and `tables` of every timeframe by code, of the same bars. Raises DataError where they are not, or
        where a table is of another configuration.
        """
        for code in self._codes:
            bars, table = candles[code], tables[code]
            if len(bars) != len(table) or (bars.ts_utc != table.ts_utc).any():
                raise DataError(f"The {code} table has {len(table)} rows, not those of the {len(bars)} {code} bars.")
            if table.definition_hash != self._plans[code].definition:
                raise DataError(f"The {code} table was computed with another configuration: compute it again.")
            if len(table):
                self._held[code] = _Held(table.names, len(table))
                self._held[code].write(slice(0, len(table)), table.values)
        self._seen = {code: candles[code] for code in self._codes}

    def _table(self, code: str, ordered: Mapping[str, Candles], changed: Mapping[str, np.datetime64]) -> FeatureTable:
        bars, plan, around = ordered[code], self._plans[code], surroundings(ordered, code, self._releases)
        held = self._held.get(code)
        kept = int(np.searchsorted(bars.known_at, min(changed[read] for read in (code, *around.slower))))
        blocks = Blocks(bars, plan, around)
        for month, rows in months(bars):
            if rows.stop <= kept:
                continue
            if held is None or held.month != month or kept <= rows.start:
                since, learned = rows.start, {}
            else:
                since, learned = kept, held.learned
            values, names = blocks.compute(rows, since, learned)
            if held is None:
                held = self._held[code] = _Held(names, len(bars))
            held.write(slice(since, rows.stop), values)
            held.month, held.learned = month, learned
        if held is None:
            empty = np.empty((0, 0), dtype=np.float32)
            return FeatureTable(bars.timeframe, bars.ts_utc, bars.known_at, (), empty, plan.definition)
        return FeatureTable(
            bars.timeframe,
            bars.ts_utc,
            bars.known_at,
            held.names,
            held.values[: len(bars)],
            plan.definition,
        )


def _first_change(before: Candles | None, bars: Candles) -> np.datetime64:
    """Return the close of the first bar that is not as it was, the end of time where all are."""
    if before is None:
        return np.datetime64(0, "ns")
    shared = min(len(before), len(bars))
    same = np.ones(shared, dtype=bool)
    for name in ("ts_utc", "open", "high", "low", "close", "volume", "spread"):
        left, right = getattr(before, name)[:shared], getattr(bars, name)[:shared]
        if np.array_equal(left.view(np.int64), right.view(np.int64)):  # bits are compared fast, NaN and all
            continue
        equal = left == right
        same &= equal if name == "ts_utc" else equal | (np.isnan(left) & np.isnan(right))
    first = shared if same.all() else int(np.argmin(same))
    return min(
        (side.known_at[first] for side in (before, bars) if first < len(side)),
        default=np.datetime64(np.iinfo(np.int64).max, "ns"),
    )


class _Held:
    """Rows of one table with room behind them; the month that was computed last, and what was learned for it."""

    def __init__(self, names: tuple[str, ...], rows: int) -> None:
        self.names = names
        self.month = np.datetime64("NaT", "M")
        self.learned: dict[str, Any] = {}
        self.values: NDArray[np.float32] = np.empty((2 * rows, len(names)), dtype=np.float32)

    def write(self, rows: slice, values: NDArray[np.float32]) -> None:
        """Put a month's values in place; makes room where there is none."""
        if rows.stop > len(self.values):
            grown = np.empty((2 * rows.stop, len(self.names)), dtype=np.float32)
            grown[: rows.start] = self.values[: rows.start]
            self.values = grown
        self.values[rows] = values
