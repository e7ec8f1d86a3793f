"""A dataset with a planted law: hourly and 4-hour features, standardised targets of known conditional deviation."""

import numpy as np

from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.features.dataset import Dataset, Split
from fxgpt_core.features.table import FeatureTable
from fxgpt_core.market.candles import Candles

HOUR = np.timedelta64(3_600_000_000_000, "ns")
HORIZONS = (60, 240)


def deviation(drive: np.ndarray, strength: float) -> np.ndarray:
    """Return the planted conditional deviation, with mean square 1 over a standard normal drive."""
    return np.exp(strength * drive - strength**2)


def planted(bars: int, seed: int, strength: float = 0.5) -> Dataset:
    """Return a split dataset whose targets are normal with deviation driven by one hourly feature's slow average.

    strength 0 makes the targets pure noise. Test rows are the last fifth; labels of later bars never reach training.
    """
    rng = np.random.default_rng(seed)
    ts = np.datetime64("2021-01-04T00:00", "ns") + np.arange(bars) * HOUR
    shock = rng.normal(size=bars)
    drive = np.zeros(bars)
    for i in range(1, bars):  # an average over about ten bars: the encoder needs memory to recover it
        drive[i] = 0.9 * drive[i - 1] + np.sqrt(1 - 0.81) * shock[i]
    hourly = np.column_stack([shock, rng.normal(size=(bars, 3))]).astype(np.float32)
    hourly[:20, 1] = np.nan
    slow_ts = ts[::4][: (bars - 3) // 4 + 1]
    slow = rng.normal(size=(len(slow_ts), 3)).astype(np.float32)
    one, four = TIMEFRAMES["1h"], TIMEFRAMES["4h"]
    tables = {
        "1h": FeatureTable(one, ts, ts + HOUR, ("shock", "a", "b", "c"), hourly, "planted"),
        "4h": FeatureTable(four, slow_ts, slow_ts + 4 * HOUR, ("d", "e", "f"), slow, "planted"),
    }
    known = ts + HOUR
    last = np.searchsorted(slow_ts + 4 * HOUR, known, side="right") - 1
    noise = rng.normal(size=(bars, 2))
    noise[:, 1] = 0.6 * noise[:, 0] + 0.8 * noise[:, 1]
    targets = noise * deviation(drive, strength)[:, None]
    label_end = known[:, None] + np.asarray(HORIZONS) * np.timedelta64(60_000_000_000, "ns")
    flat = np.full(bars, 1.1)
    candles = Candles("EURUSD", one, "mid", ts, flat, flat, flat, flat, flat, np.full(bars, np.nan))
    cut, start = known[int(bars * 0.8)], known[int(bars * 0.64)]
    mask = np.ones((bars, 2), dtype=bool)
    split = Split(
        "fold0",
        train=mask & (label_end <= start),
        validation=(label_end <= cut) & (known >= start)[:, None],
        test=known > cut,
        trained_until=cut,
    )
    return Dataset(
        "EURUSD", candles, (one, four), HORIZONS, tables, np.column_stack([np.arange(bars), last]).astype(np.int64),
        np.full((bars, 2), 1e-3), targets, label_end, mask, f"planted-{seed}-{strength}", split,
    )  # fmt: skip
