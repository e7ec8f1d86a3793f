"""`Feed`: the dataset of one symbol, kept up to the newest bar, for a process that forecasts live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import numpy as np

from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.features.assemble import assemble, candles_by_timeframe
from fxgpt_core.features.bars import Bars, Releases
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.running import RunningTables
from fxgpt_core.features.running_targets import RunningTargets
from fxgpt_core.features.spec import FeatureSpec, check_layout
from fxgpt_core.market import calendar
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.resampling import resample


class Feed:
    """Takes closed bars of any timeframe and says what is known now, with the values that the lake would have.

    Timeframes whose candles are given at the start are given later, too; the others are built from the base. A row of
    features is computed by the same function as everywhere (`RunningTables`), the yardstick goes on from where it was
    (`RunningTargets`), so `dataset` equals, bit for bit, the one
    that is made of the same bars at once.
    """

    def __init__(
        self,
        candles: Candles | Mapping[str, Candles],
        timeframes: Sequence[Timeframe],
        horizons: Sequence[int],
        spec: FeatureSpec | None = None,
        releases: Releases | None = None,
        known: Dataset | None = None,
    ) -> None:
        """Start from history; arguments as in `assemble.build_dataset`.

        `known`: the dataset of exactly this history, where it is at hand: its features are then not computed again.
        Raises BadInputError for a layout that does not fit, DataError where `known` belongs to something else.
        """
        self._spec = spec or FeatureSpec()
        self.timeframes, self.horizons = check_layout(timeframes, horizons)
        self._derived = [bar for bar in self.timeframes[1:] if isinstance(candles, Candles) or bar.code not in candles]
        self.candles = candles_by_timeframe(candles, self.timeframes)
        self._tables = RunningTables(self.timeframes, self._spec, releases)
        self._targets = RunningTargets(self.horizons, self._spec.yardstick)
        if known is not None:
            if known.definition_hash != self._spec.dataset_hash(self.timeframes, self.horizons):
                raise DataError(f"The dataset of {known.symbol} was made with another layout or configuration.")
            self._tables.resume(self.candles, known.tables)
        self.dataset = self._assembled() if known is None else replace(known, split=None)

    @property
    def symbol(self) -> str:
        """The pair."""
        return self.dataset.symbol

    def update(self, candles: Candles) -> tuple[str, ...]:
        """Take closed bars of one timeframe, later than all it had; return a sentence for each gap before them.

        A slower bar may come after a faster one that closed with it, or later still: what it says counts from then on.
        Raises BadInputError, and takes nothing, for another symbol, price side or timeframe, and for bars that are out
        of order or were there already.
        """
        code = candles.timeframe.code
        self._check(candles)
        gaps = _gaps(self.candles[code], candles)
        self.candles[code] = _joined(self.candles[code], candles)
        if code == self.timeframes[0].code:
            for bar in self._derived:
                self._derive(bar)
        self.dataset = self._assembled()
        return gaps

    def checksum(self, code: str, bars: int) -> str:
        """Return a hash of the first `bars` bars of a timeframe."""
        return Bars.of(self.candles[code].take(slice(0, bars))).checksum()

    def _check(self, candles: Candles) -> None:
        base, code = self.candles[self.timeframes[0].code], candles.timeframe.code
        if (candles.symbol, candles.side) != (base.symbol, base.side):
            raise BadInputError(
                f"{candles.symbol} {candles.side} bars were given to the feed of {base.symbol} {base.side} bars."
            )
        given = [bar.code for bar in self.timeframes if bar not in self._derived]
        if code not in given:
            raise BadInputError(
                f"The feed of {base.symbol} takes {', '.join(given)} bars, not {code}: slower ones are built from "
                f"{given[0]} unless the feed was opened with them."
            )
        own = self.candles[code]
        if len(own) and len(candles) and candles.ts_utc[0] <= own.ts_utc[-1]:
            raise BadInputError(
                f"The {code} bar of {base.symbol} at {candles.ts_utc[0]}Z is out of order: the newest one known opens "
                f"at {own.ts_utc[-1]}Z. Give later bars, or open the feed anew with the corrected history."
            )

    def _derive(self, bar: Timeframe) -> None:
        base, own = self.candles[self.timeframes[0].code], self.candles[bar.code]
        since = int(np.searchsorted(base.ts_utc, own.known_at[-1])) if len(own) else 0
        fresh = resample(base.take(slice(since, None)), bar)
        if len(fresh):
            self.candles[bar.code] = _joined(own, fresh)

    def _assembled(self) -> Dataset:
        base = self.candles[self.timeframes[0].code]
        tables, targets = self._tables.update(self.candles), self._targets.update(base)
        return assemble(base, tables, self.horizons, targets, self._spec)


def _joined(before: Candles, after: Candles) -> Candles:
    names = [f.name for f in fields(Candles) if f.name not in ("symbol", "timeframe", "side")]
    return replace(before, **{name: np.concatenate([getattr(before, name), getattr(after, name)]) for name in names})


def _gaps(before: Candles, after: Candles) -> tuple[str, ...]:
    """Return a sentence for each stretch of open market without bars among or before the new ones."""
    ends = np.r_[before.known_at[-1:], after.known_at[:-1]]
    starts = after.ts_utc[len(after) - len(ends) :]
    bar = after.timeframe
    out = []
    for end, start in zip(ends, starts, strict=True):
        missing = len(calendar.bar_opens(end, start, bar)) if start > end else 0
        if missing:
            out.append(f"{missing} {bar} bars of {after.symbol} are missing between {end}Z and {start}Z.")
    return tuple(out)
