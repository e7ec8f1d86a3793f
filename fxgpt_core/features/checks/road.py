"""What is known at a moment, computed along the product's own road: bars, features, joins, targets, design."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.features.assemble import assemble, build_dataset, candles_by_timeframe
from fxgpt_core.features.bars import Releases
from fxgpt_core.features.blocks import join
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.features.standardised import Targets
from fxgpt_core.features.steps import Steps
from fxgpt_core.features.surroundings import surroundings
from fxgpt_core.features.table import FeatureTable
from fxgpt_core.market.candles import Candles

Times = NDArray[np.datetime64]


@dataclass(frozen=True)
class Layout:
    """What is computed: timeframes (base first), horizons (minutes of trading time), features, calendar, and how."""

    timeframes: tuple[Timeframe, ...]
    horizons: tuple[int, ...]
    spec: FeatureSpec
    releases: Releases | None
    steps: Steps

    def known(self, moment: np.datetime64) -> Layout:
        """Return the layout with the releases whose date was public at `moment`."""
        return self if self.releases is None else replace(self, releases=self.releases.public(moment))


@dataclass(frozen=True)
class Known:
    """What a history of base bars says, in whole or as far as a comparison needs it.

    `candles`: by timeframe, all bars. `joined`: per slower timeframe `known_at` of the bar that each base bar sees, NaT
    where there is none: (bars,). `targets`: of all base bars. `tables`: features by timeframe, all bars or some months.
    `window`: the dataset of the base bars from row `first` on, as models get it.
    """

    candles: Mapping[str, Candles]
    joined: Mapping[str, Times]
    targets: Targets
    tables: Mapping[str, FeatureTable]
    window: Dataset
    first: int


class Road:
    """Everything that can be computed from a history of base bars; each month's block is computed once, if asked."""

    def __init__(self, base: Candles, layout: Layout) -> None:
        self.base, self.layout = base, layout
        self.candles = candles_by_timeframe(base, layout.timeframes, layout.steps)
        self._blocks: dict[tuple[str, np.datetime64], FeatureTable] = {}

    @cached_property
    def targets(self) -> Targets:
        """Yardstick and targets of all base bars."""
        return self.layout.steps.targets(self.base, self.layout.horizons, self.layout.spec.yardstick)

    @cached_property
    def rows(self) -> Mapping[str, NDArray[np.int64]]:
        """Per slower timeframe the row of the bar that each base bar sees: (bars,)."""
        slower = list(self.candles)[1:]
        return {code: self.layout.steps.join(self.base.known_at, self.candles[code].known_at) for code in slower}

    @cached_property
    def joined(self) -> Mapping[str, Times]:
        """Per slower timeframe the close of the bar that each base bar sees: (bars,)."""
        return {code: _closes(self.candles[code].known_at, rows) for code, rows in self.rows.items()}

    def tables(self, first: int, stop: int) -> dict[str, FeatureTable]:
        """Return, by timeframe, the features of the months that base bars [first, stop) see."""
        months = {self.base.timeframe.code: _months(self.base, first, stop)}
        for code, rows in self.rows.items():
            months[code] = _months(self.candles[code], max(int(rows[first]), 0), int(rows[stop - 1]) + 1)
        # Cuts go forward in time: what this one does not see is not needed again, and memory stays bounded.
        self._blocks = {(code, month): made for (code, month), made in self._blocks.items() if month in months[code]}
        return {code: join([self._block(code, month) for month in seen]) for code, seen in months.items()}

    def known(self, first: int, stop: int) -> Known:
        """Return all that is cheap, and features of the months that base bars [first, stop) see."""
        tables = self.tables(first, stop)
        bars, code = slice(first, stop), self.base.timeframe.code
        skipped = int(np.searchsorted(self.base.ts_utc, tables[code].ts_utc[0]))
        seen = {**tables, code: tables[code].take(slice(first - skipped, stop - skipped))}
        layout = self.layout
        part = self.base.take(bars)
        window = assemble(part, seen, layout.horizons, self.targets.take(bars), layout.spec, layout.steps)
        return Known(self.candles, self.joined, self.targets, tables, window, first)

    def everything(self) -> Known:
        """Return everything, as `build_dataset` makes it, every month anew."""
        layout = self.layout
        data = build_dataset(
            self.candles, layout.timeframes, layout.horizons, layout.spec, layout.releases, layout.steps
        )
        targets = Targets(data.yardstick, data.targets, data.label_end, data.mask)
        closes = {
            bar.code: _closes(data.tables[bar.code].known_at, data.last_known[:, index])
            for index, bar in enumerate(data.timeframes)
            if index
        }
        return Known(self.candles, closes, targets, data.tables, data, 0)

    def _block(self, code: str, month: np.datetime64) -> FeatureTable:
        if (code, month) not in self._blocks:
            layout = self.layout
            around = surroundings(self.candles, code, layout.releases)
            self._blocks[code, month] = layout.steps.block(self.candles[code], month, layout.spec, around)
        return self._blocks[code, month]


def _months(candles: Candles, first: int, stop: int) -> list[np.datetime64]:
    """Return the months in which bars [first, stop) became known."""
    return list(np.unique(candles.known_at[first:stop].astype("datetime64[M]")))


def _closes(known_at: Times, rows: NDArray[np.int64]) -> Times:
    """Return `known_at` of the rows, NaT where a row is negative."""
    out = np.full(len(rows), np.datetime64("NaT", "ns"))
    out[rows >= 0] = known_at[rows[rows >= 0]]
    return out
