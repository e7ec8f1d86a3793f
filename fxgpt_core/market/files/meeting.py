"""What a new file says of stored bars that it meets: another scale or another pair must not slip in over good bars."""

from __future__ import annotations

import numpy as np

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.bar_parts import readable_bars
from fxgpt_core.market.bars import CANDLES, SAMPLE_LAYOUT, bar_keys, by_month, origin, read_bars
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.instruments import instrument
from fxgpt_core.market.lake import Lake

_COMMON = 20  # bars of the same time from which a difference says something
_MONTHS = 4  # of those in common that are read
_NEAR = np.timedelta64(10, "D")
_YEAR = np.timedelta64(365, "D")


def meet_stored(lake: Lake, candles: Candles, where: str, config: QualityConfig) -> tuple[str, ...]:
    """Compare new bars with stored ones of the same times and beside them; returns warnings.

    Raises BadInputError where the prices are others, unless the new ones continue the bars around them better (they
    correct what is there) or what is there cannot be right.
    """
    stored = _stored(lake, candles)
    if stored is None or not len(stored) or not len(candles):
        return ()
    _, new, old = np.intersect1d(candles.ts_utc, stored.ts_utc, assume_unique=True, return_indices=True)
    if len(new) < _COMMON:
        return _beside(candles, stored, config)
    ratio = float(np.median(candles.close[new]) / np.median(stored.close[old]))
    apart = float(np.median(np.abs(np.log(candles.close[new] / stored.close[old]))))
    if apart <= np.log1p(config.max_difference_to_stored):
        return ()
    what = f"{len(new)} of its bars have the times of stored ones and prices {ratio:.4g} times as high"
    if _continues_better(candles, stored):
        return (f"Corrects stored bars: {what}, and they continue the bars around them better.",)
    known = instrument(candles.symbol).plausible
    if known is not None and not known[0] <= float(np.median(stored.close[old])) <= known[1]:
        return (f"Replaces stored bars that cannot be right: {what}.",)
    raise BadInputError(
        f"{where}: {what}; the lake is as it was. If this is another pair name it with --symbol; if the stored "
        f"bars are wrong, remove {candles.symbol} {candles.timeframe} from the lake first."
    )


def _stored(lake: Lake, candles: Candles) -> Candles | None:
    """Return stored bars of some months in common and of those beside, None where there is nothing to compare with."""
    keys = bar_keys(candles.symbol, candles.timeframe)
    manifest = lake.read_manifest(CANDLES, keys)
    if manifest is None or origin(manifest) == "derived":
        return None
    layouts = {facts.get("layout") for facts in manifest.extra.get("files", {}).values()}
    if layouts == {SAMPLE_LAYOUT}:  # makes room for whatever comes
        return None
    held, months = sorted(set(manifest.parts) & set(lake.parts(CANDLES, keys))), sorted(by_month(candles))
    common = [part for part in held if part in months]
    chosen = {common[at] for at in np.linspace(0, len(common) - 1, min(_MONTHS, len(common))).astype(int)}
    chosen |= set([part for part in held if part < months[0]][-1:]) | set(
        [part for part in held if part > months[-1]][:1]
    )
    side = str(manifest.extra["side"])
    whole = [part for part in sorted(chosen) if readable_bars(lake, CANDLES, keys, part, side) is not None]
    return read_bars(lake, candles.symbol, candles.timeframe, side, whole) if whole else None


def _continues_better(new: Candles, stored: Candles) -> bool:
    """Tell whether stored bars before and after the new ones are nearer to these than to what is stored in between."""
    before = int(np.searchsorted(stored.ts_utc, new.ts_utc[0])) - 1
    after = int(np.searchsorted(stored.ts_utc, new.ts_utc[-1], side="right"))
    mine = theirs = 0.0
    if before >= 0:
        mine += abs(np.log(new.open[0] / stored.close[before]))
        theirs += abs(np.log(stored.open[before + 1] / stored.close[before]))
    if after < len(stored):
        mine += abs(np.log(stored.open[after] / new.close[-1]))
        theirs += abs(np.log(stored.open[after] / stored.close[after - 1]))
    return mine < theirs


def _beside(new: Candles, stored: Candles, config: QualityConfig) -> tuple[str, ...]:
    """Return a warning for each end of the new bars at which the stored ones go on elsewhere."""
    out = []
    before = int(np.searchsorted(stored.ts_utc, new.ts_utc[0])) - 1
    after = int(np.searchsorted(stored.ts_utc, new.ts_utc[-1], side="right"))
    ends = []
    if before >= 0:
        ends.append((new.ts_utc[0] - stored.ts_utc[before], stored.close[before], new.open[0], new.ts_utc[0]))
    if after < len(stored):
        ends.append((stored.ts_utc[after] - new.ts_utc[-1], new.close[-1], stored.open[after], stored.ts_utc[after]))
    for elapsed, left, right, when in ends:
        allowed = (
            np.log1p(config.level_step) if elapsed <= _NEAR else np.log(config.level_factor * (1 + elapsed / _YEAR))
        )
        if abs(np.log(right / left)) > allowed:
            out.append(
                f"Where these bars meet the stored ones, {str(when)[:16]}, the price steps from {left:g} to {right:g}: "
                "is it another pair or another scale?"
            )
    return tuple(out)
