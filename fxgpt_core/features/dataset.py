"""`Dataset` and `Split`: what every model family trains on and forecasts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.features.table import FeatureTable
from fxgpt_core.market.candles import Candles

Bools = NDArray[np.bool_]
Times = NDArray[np.datetime64]


@dataclass(frozen=True)
class Split:
    """Which labels train, which validate and which rows are forecast.

    `train`, `validation`: (bars, horizons) bool, labels whose whole life ends before `trained_until` (validation is
    the last, purged part of the training span: early stopping and shrinkage only). `test`: (bars,) bool.
    `trained_until`: no label used ends later. Indices refer to the base bars of the dataset it belongs to.

    `purged`, `embargoed`: (bars,) bool or None, bars that lost labels because their lives, or the embargo, touch what
    is tested or validated. `restarts`: increasing base bars at which training begins anew after a test span; what a
    sequence model remembers in training must not reach back across one (none where all training lies before the test).

    Raises DataError where shapes differ, a label has two uses, a test row trains, or restarts are out of order.
    """

    name: str
    train: Bools
    validation: Bools
    test: Bools
    trained_until: np.datetime64
    purged: Bools | None = None
    embargoed: Bools | None = None
    restarts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        bars = self.train.shape[:1]
        if self.train.shape != self.validation.shape or self.test.shape != bars:
            raise DataError(f"Split {self.name}: masks {self.train.shape}, {self.validation.shape}, {self.test.shape}.")
        for name in ("purged", "embargoed"):
            mask = getattr(self, name)
            if mask is not None and mask.shape != bars:
                raise DataError(f"Split {self.name}: {name} has shape {mask.shape}, expected {bars}.")
        if (self.train & self.validation).any():
            raise DataError(f"Split {self.name}: a label is used for training and validation.")
        both = np.flatnonzero((self.train | self.validation).any(axis=1) & self.test)
        if len(both):
            raise DataError(f"Split {self.name}: {len(both)} bars, the first {both[0]}, are trained on and tested.")
        edges = (0, *self.restarts, *bars)
        if any(later <= earlier for earlier, later in pairwise(edges)) and self.restarts:
            raise DataError(f"Split {self.name}: restarts {self.restarts} must increase within 1..{bars[0] - 1}.")

    def head(self, bars: int) -> Split:
        """Return the split of the first `bars` bars; its test rows and labels beyond are left out."""
        return replace(
            self,
            train=self.train[:bars],
            validation=self.validation[:bars],
            test=self.test[:bars],
            purged=None if self.purged is None else self.purged[:bars],
            embargoed=None if self.embargoed is None else self.embargoed[:bars],
            restarts=tuple(bar for bar in self.restarts if bar < bars),
        )

    def timeline(self, known_at: Times, title: str = "") -> str:
        """Return a drawing of the split over the decision times `known_at` (bars,): HTML with one SVG inside."""
        from fxgpt_core.features.split_timeline import draw_splits

        return draw_splits([self], known_at, title or f"Split {self.name}")


@dataclass(frozen=True)
class Dataset:
    """Everything known about one symbol up to the last base bar, on shared storage (no copied windows).

    `candles`: base bars. `tables`: per timeframe code, base first, slower ones after. `last_known`:
    (bars, timeframes) int64, row of each timeframe's table that is the last with `known_at` <= the base bar's
    `known_at`, -1 where there is none. `yardstick`: (bars, horizons) volatility forecast, log-return units, NaN in
    warm-up. `targets`: (bars, horizons) log return over the horizon divided by the yardstick, NaN where not known.
    `label_end`: (bars, horizons) datetime64[ns], end of the label's life. `mask`: (bars, horizons), label usable.
    `horizons`: minutes of trading time.
    """

    symbol: str
    candles: Candles
    timeframes: tuple[Timeframe, ...]
    horizons: tuple[int, ...]
    tables: Mapping[str, FeatureTable]
    last_known: NDArray[np.int64]
    yardstick: NDArray[np.float64]
    targets: NDArray[np.float64]
    label_end: Times
    mask: Bools
    definition_hash: str
    split: Split | None = None

    def __post_init__(self) -> None:
        shape = (len(self.candles), len(self.horizons))
        for name in ("yardstick", "targets", "label_end", "mask"):
            if getattr(self, name).shape != shape:
                raise DataError(
                    f"Dataset {self.symbol}: {name} has shape {getattr(self, name).shape}, expected {shape}."
                )
        if self.last_known.shape != (len(self.candles), len(self.timeframes)):
            raise DataError(f"Dataset {self.symbol}: last_known has shape {self.last_known.shape}.")
        if tuple(self.tables) != tuple(t.code for t in self.timeframes):
            raise DataError(
                f"Dataset {self.symbol}: tables {tuple(self.tables)} and timeframes {self.timeframes} differ."
            )

    def __len__(self) -> int:
        return len(self.candles)

    @property
    def base(self) -> Timeframe:
        return self.timeframes[0]

    @property
    def known_at(self) -> Times:
        """Decision time of each base bar: (bars,) datetime64[ns], UTC."""
        return self.candles.known_at

    @property
    def usable(self) -> Bools:
        """Bars on which a forecast can be made (yardstick known for every horizon): (bars,)."""
        return np.asarray(np.isfinite(self.yardstick).all(axis=1))

    def returns(self) -> NDArray[np.float64]:
        """Realised log returns, NaN where not known: (bars, horizons)."""
        return self.targets * self.yardstick

    def with_split(self, split: Split) -> Dataset:
        """Return the same data with another split."""
        if split.train.shape != self.mask.shape:
            raise DataError(f"Split {split.name} has shape {split.train.shape}, dataset {self.mask.shape}.")
        return replace(self, split=split)

    def head(self, bars: int) -> Dataset:
        """Return what was known at the close of bar `bars` − 1: no later bar, and no label that ends later.

        Base bars keep their indices. A split stays, cut to the same bars. Raises DataError for less than one bar.
        """
        if not 1 <= bars <= len(self):
            raise DataError(f"Dataset {self.symbol}: the first {bars} bars were asked for, there are {len(self)}.")
        last_known, ends = self.last_known[:bars], self.label_end[:bars]
        known = ends <= self.known_at[bars - 1]
        return replace(
            self,
            candles=self.candles.take(slice(0, bars)),
            tables={
                code: table.take(slice(0, int(last_known[-1, column]) + 1))
                for column, (code, table) in enumerate(self.tables.items())
            },
            last_known=last_known,
            yardstick=self.yardstick[:bars],
            targets=np.where(known, self.targets[:bars], np.nan),
            label_end=ends,
            mask=self.mask[:bars] & known,
            split=None if self.split is None else self.split.head(bars),
        )
