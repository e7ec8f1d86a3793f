"""Labels: the log return over each horizon, and when it became known.

The weekend rule. Horizons count trading time: the minutes from Friday 17:00 to Sunday 17:00 New York do not pass. A
one-hour label made on Friday 16:30 ends on Sunday 17:30 and so contains the weekend gap; one made at 16:00 ends with
Friday's close and does not. No label is dropped for crossing a weekend: a position held over it bears that risk, and
the yardstick counts the gap into its forecast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.market.calendar import add_trading_time, trading_minutes_between
from fxgpt_core.market.candles import Candles

Times = NDArray[np.datetime64]


@dataclass(frozen=True)
class Labels:
    """What followed each base bar, (bars, horizons) each.

    `log_return`: log of the close at the label's end / close of the bar, NaN where masked. `label_end`: datetime64[ns],
    UTC, decision time + horizon in trading time. `mask`: the label is known and its price is fresh.
    """

    log_return: NDArray[np.float64]
    label_end: Times
    mask: NDArray[np.bool_]


def make_labels(candles: Candles, horizons: tuple[int, ...]) -> Labels:
    """Return the labels of every base bar for `horizons` (minutes of trading time).

    The realised close is that of the last bar known at the label's end. A label is masked while its end lies after
    the last known bar, when no new bar came, or when that last bar is older than the end by more than one base bar of
    trading time (data are missing).
    """
    known_at, close = candles.known_at, np.log(candles.close)
    bars = np.arange(len(candles))
    shape = (len(candles), len(horizons))
    log_return, mask = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    label_end = np.full(shape, np.datetime64("NaT", "ns"))
    for column, horizon in enumerate(horizons if len(candles) else ()):
        end = add_trading_time(known_at, horizon)
        last = np.searchsorted(known_at, end, side="right") - 1
        age = trading_minutes_between(known_at[last], end)
        known = (end <= known_at[-1]) & (last > bars) & (age <= candles.timeframe.minutes)
        label_end[:, column], mask[:, column] = end, known
        log_return[known, column] = close[last[known]] - close[bars[known]]
    return Labels(log_return, label_end, mask)
