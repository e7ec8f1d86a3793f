"""Times of the tables of trades, orders and fills, as arrays have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def array_times(column: pd.Series[Any]) -> NDArray[np.datetime64]:
    """Return a column of UTC-aware times as datetime64[ns] that mean UTC, (rows,).

    Also where an empty table was read back from disk, which then knows no type of its columns.
    """
    times = pd.to_datetime(column, utc=True)
    return np.asarray(times.dt.tz_localize(None).to_numpy(dtype="datetime64[ns]"))
