"""Stored months that are not what their manifest says, and who may write over them: nobody who would hide a loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market.bar_parts import CANDLES, ONE_SIDED, bar_keys, by_month, entry_of, readable_bars
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.given_files import names_of
from fxgpt_core.market.lake import Lake, Manifest, PartEntry
from fxgpt_core.market.sides import OTHER_SIDE


@dataclass(frozen=True)
class Checked:
    """New bars that may be written: `months` (part -> bars, without those that the lake holds from a later file),
    and which of them take the place of a damaged month (`anew`)."""

    months: dict[str, Candles]
    anew: set[str] = field(default_factory=set)

    def replace(self, lake: Lake, dataset: str, keys: Mapping[str, str]) -> int:
        """Write the damaged months anew, before anything is announced: after a kill they are still known as damaged.
        Returns rows written."""
        for part in sorted(self.anew):
            lake.write(dataset, keys, part, self.months[part].to_arrow())
        return sum(len(self.months[part]) for part in self.anew)

    def merge(self, lake: Lake, dataset: str, keys: Mapping[str, str]) -> int:
        """Merge all other months into the lake; returns rows added or changed."""
        months = {part: bars for part, bars in self.months.items() if part not in self.anew}
        return sum(lake.upsert(dataset, keys, part, bars.to_arrow()) for part, bars in months.items())


def check_writing(
    lake: Lake,
    dataset: str,
    keys: Mapping[str, str],
    manifest: Manifest,
    entries: Mapping[str, PartEntry],
    candles: Candles,
    later: NDArray[np.bool_],
) -> Checked:
    """Return what of new bars is to be written into a dataset, month by month.

    Bars marked in `later` (bars,) belong to a file that others have corrected since: they are written only where the
    lake has none. A stored month that is not what its entry says is replaced by bars that hold all of it; raises
    DataError where they do not, because merging would pass the loss off as whole.
    """
    present, out = set(lake.parts(dataset, keys)), Checked({})
    for part, bars in by_month(candles).items():
        entry = entries.get(part)
        if entry is None and part not in present:
            out.months[part] = bars
            continue
        corrected = np.isin(bars.ts_utc, candles.ts_utc[later])
        stored = readable_bars(lake, dataset, keys, part, candles.side)
        if not _as_told(stored, entry, dataset):
            if corrected.any() or not _holds_all(bars, stored, entry):
                raise DataError(_lost(keys, manifest, part, candles.side, stored, entry))
            out.anew.add(part)
        elif stored is not None and corrected.any():
            bars = bars.take(~(corrected & np.isin(bars.ts_utc, stored.ts_utc)))
        if len(bars):
            out.months[part] = bars
    return out


def check_unknown(lake: Lake, candles: Candles) -> None:
    """Raise DataError where the lake holds bars without a manifest that new bars would not replace altogether."""
    keys, months = bar_keys(candles.symbol, candles.timeframe), by_month(candles)
    present = lake.parts(CANDLES, keys)
    both = all(lake.parts(ONE_SIDED, {**keys, "side": side}) for side in OTHER_SIDE)
    for part in present:
        stored = readable_bars(lake, CANDLES, keys, part, candles.side)
        if both or part not in months or not _holds_all(months[part], stored, None):
            what = f"{candles.symbol} {candles.timeframe}"
            raise DataError(
                f"The lake holds {len(present)} months of {what} bars whose manifest has gone, so nobody knows their "
                f"price side. {cure(keys)} (Say --side.) If they are derived from faster bars, "
                "`fxgpt materialize` makes them again."
            )


def check_unchanged(
    lake: Lake,
    dataset: str,
    keys: Mapping[str, str],
    manifest: Manifest,
    entries: Mapping[str, PartEntry],
    parts: Iterable[str],
    side: str,
) -> None:
    """Raise DataError where a stored month is not what its entry says; months without an entry are not looked at."""
    for part in sorted({*parts} & {*entries}):
        stored = readable_bars(lake, dataset, keys, part, side)
        if not _as_told(stored, entries[part], dataset):
            raise DataError(_lost(keys, manifest, part, side, stored, entries[part]))


def cure(keys: Mapping[str, str]) -> str:
    """Return the sentence that says how bars are accepted as they are."""
    return (
        f"`fxgpt lake rebuild {keys['symbol']} {keys['timeframe']}` accepts what is there; import the files again "
        "after it."
    )


def _as_told(stored: Candles | None, entry: PartEntry | None, dataset: str) -> bool:
    """Tell whether a month is what its manifest says; sides that were stored before they had entries are believed."""
    if entry is None:
        return stored is not None and dataset == ONE_SIDED
    return stored is not None and (entry_of(stored).checksum, len(stored)) == (entry.checksum, entry.rows)


def _holds_all(bars: Candles, stored: Candles | None, entry: PartEntry | None) -> bool:
    """Tell whether new bars of a month take the place of every bar that is or was there."""
    covered = stored is None or bool(np.isin(stored.ts_utc, bars.ts_utc).all())
    return covered and (entry is None or len(bars) >= entry.rows)


def _lost(
    keys: Mapping[str, str], manifest: Manifest, part: str, side: str, stored: Candles | None, entry: PartEntry | None
) -> str:
    what = f"{keys['symbol']} {keys['timeframe']} {side} {part.removeprefix('month=')}"
    held = "cannot be read or have gone" if stored is None else f"are {len(stored)}"
    told = "there should be none" if entry is None else f"there should be {entry.rows}"
    if stored is not None and entry is not None and len(stored) == entry.rows:
        held, told = "were altered", "their checksum is another"
    return f"The stored bars of {what} {held}, {told}; the lake is as it was. {mending(keys, manifest, part, side)}"


def mending(keys: Mapping[str, str], manifest: Manifest, part: str, side: str) -> str:
    """Return the sentences that say how a damaged month of given bars becomes whole."""
    names = ", ".join(dict.fromkeys(names_of(manifest, part, timeframe(keys["timeframe"]), side)))
    again = f"Import a file that holds the whole month again (it came from {names}). Or " if names else ""
    return again + cure(keys)
