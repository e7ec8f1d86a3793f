"""`RunningTargets`: yardstick and labels kept up to the newest bar, for a process that lives on.

Within a month nothing is learned: a new bar costs one step of the yardstick's averages, and labels that were open. With
the first bar of a month everything is computed again. Both give the bits of `standardised.make_targets` over all bars.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.features.spec import YardstickConfig
from fxgpt_core.features.standardised import Targets, standardise
from fxgpt_core.features.targets import make_labels
from fxgpt_core.features.yardstick import Progress, Yardstick
from fxgpt_core.market.candles import Candles


class RunningTargets:
    """The targets of one symbol's base bars, brought up to date by `update`."""

    def __init__(self, horizons: tuple[int, ...], config: YardstickConfig) -> None:
        self._horizons, self._yardstick = horizons, Yardstick(config)
        self._candles: Candles | None = None
        self._targets: Targets | None = None
        self._progress: Progress | None = None

    def update(self, candles: Candles) -> Targets:
        """Return the targets of all bars: those of the last call and any that have come behind them.

        Where earlier bars are not as they were, everything is computed again. Targets returned before stay as they are.
        """
        targets = self._grown(candles)
        if targets is None:
            labels = make_labels(candles, self._horizons)
            yardstick, self._progress = self._yardstick.begin(candles, labels)
            targets = standardise(labels, yardstick)
        self._candles, self._targets = candles, targets
        return targets

    def _grown(self, candles: Candles) -> Targets | None:
        """Return the targets of before with the new bars; None where that does not give all."""
        before, targets, since = self._candles, self._targets, self._progress
        if before is None or targets is None or since is None or not _begins_with(candles, before):
            return None
        count = len(before)
        if len(candles) == count:
            return targets
        settled = _settled(targets.label_end, before.known_at[-1])
        fresh = make_labels(candles.take(slice(settled, None)), self._horizons)
        followed = self._yardstick.follow(
            candles.take(slice(count - 1, None)), fresh.label_end[count - settled :], since
        )
        if followed is None:
            return None
        values, self._progress = followed
        yardstick = np.concatenate([targets.yardstick[settled:], values])
        return _joined(targets.take(slice(0, settled)), standardise(fresh, yardstick))


def _begins_with(candles: Candles, before: Candles) -> bool:
    """Return whether `candles` are those of before and later ones; only times and closes go into targets."""
    count = len(before)
    same_source = (candles.symbol, candles.timeframe, candles.side) == (before.symbol, before.timeframe, before.side)
    return (
        same_source
        and len(candles) >= count
        and np.array_equal(candles.ts_utc[:count], before.ts_utc)
        and np.array_equal(candles.close[:count], before.close)
    )


def _settled(label_end: NDArray[np.datetime64], known: np.datetime64) -> int:
    """Return how many bars have only labels that end by `known`; ends never decrease from bar to bar."""
    return min(int(np.searchsorted(column, known, side="right")) for column in label_end.T)


def _joined(before: Targets, after: Targets) -> Targets:
    pairs = ((getattr(before, name), getattr(after, name)) for name in ("yardstick", "target", "label_end", "mask"))
    return Targets(*(np.concatenate(pair) for pair in pairs))
