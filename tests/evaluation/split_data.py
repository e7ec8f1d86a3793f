"""Datasets for tests of splits: hourly bars with weekends cut out and, where asked for, holes."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.table import FeatureTable
from fxgpt_core.features.targets import make_labels
from fxgpt_core.market.calendar import is_open
from fxgpt_core.market.candles import Candles

HOUR = np.timedelta64(3600 * 10**9, "ns")
DAY = 24 * HOUR
HORIZONS = (60, 240, 1440)
START = np.datetime64("2020-01-06T00:00", "ns")


def make_dataset(
    bars: int = 2500,
    warm_up: int = 100,
    horizons: tuple[int, ...] = HORIZONS,
    holes: tuple[tuple[int, int], ...] = (),
    hours: int = 1,
) -> Dataset:
    """Return a dataset of at most `bars` bars of `hours` hours; `holes` (first bar, length) are left out."""
    step = hours * HOUR
    stamps = START + np.arange(2 * bars) * step
    stamps = stamps[is_open(stamps)][:bars]
    kept = np.ones(len(stamps), dtype=bool)
    for first, length in holes:
        kept[first : first + length] = False
    stamps = stamps[kept]
    count = len(stamps)
    close = np.exp(np.random.default_rng(1).normal(0, 1e-3, bars).cumsum())[kept]
    nothing, bar = np.full(count, np.nan), timeframe(f"{hours}h")
    candles = Candles("EURUSD", bar, "mid", stamps, close, close * 1.001, close * 0.999, close, nothing, nothing)
    labels = make_labels(candles, horizons)
    yardstick = np.full((count, len(horizons)), 1e-3)
    yardstick[:warm_up] = np.nan
    table = FeatureTable(
        bar, stamps, candles.known_at, ("position",), np.arange(count, dtype=np.float32)[:, None], "hash"
    )
    return Dataset(
        symbol="EURUSD",
        candles=candles,
        timeframes=(bar,),
        horizons=horizons,
        tables={bar.code: table},
        last_known=np.arange(count)[:, None],
        yardstick=yardstick,
        targets=labels.log_return / yardstick,
        label_end=labels.label_end,
        mask=labels.mask & np.isfinite(yardstick),
        definition_hash="hash",
    )


datasets = st.builds(
    make_dataset,
    bars=st.integers(700, 1500),
    warm_up=st.integers(0, 60),
    horizons=st.sampled_from([(60,), (60, 240), (60, 240, 1440), (1440,)]),
    holes=st.lists(st.tuples(st.integers(0, 1400), st.integers(1, 120)), max_size=4).map(tuple),
)
"""Datasets with weekends, random holes and horizons up to a day."""
