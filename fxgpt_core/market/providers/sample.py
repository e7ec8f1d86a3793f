"""The sample: real EURUSD hourly bars that ship inside the `backtesting` package; no network needed.

The file's naive stamps are bar opens in UTC and its prices are mid (both verified against two other sources). It is
read from the package's folder without importing the package, which is slow and under another licence.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from fxgpt_core.common.config import Config as _Config
from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.common.hashing import bytes_hash
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.common.timeframes import timeframe as parse_timeframe
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.provider import Chunk, Pace, whole_bars
from fxgpt_core.market.quality.assessment import Assessment, assess
from fxgpt_core.market.resampling import resample
from fxgpt_core.store.clock import to_datetime64

SYMBOL, TIMEFRAME, SIDE = "EURUSD", "1h", "mid"


def sample_path() -> Path:
    """Return where the sample lies; raises DataError when the `backtesting` package is not installed."""
    found = importlib.util.find_spec("backtesting")
    folders = list(found.submodule_search_locations or ()) if found else []
    path = Path(folders[0]) / "test" / "EURUSD.csv" if folders else Path("backtesting")
    if not path.is_file():
        raise DataError("The sample bars are missing: install the package `backtesting`, which carries them.")
    return path


def sample_checksum() -> str:
    """Return the hash of the sample file, for provenance."""
    return bytes_hash(sample_path().read_bytes())


def sample_frame() -> pd.DataFrame:
    """Return the file as it is: `ts_utc` (UTC), open, high, low, close, volume; nothing checked, nothing left out."""
    frame = pd.read_csv(sample_path())
    frame.columns = pd.Index(["ts_utc", *(name.lower() for name in frame.columns[1:])])
    frame["ts_utc"] = pd.to_datetime(frame["ts_utc"], utc=True).astype("datetime64[ns, UTC]")
    return frame


@lru_cache(maxsize=1)
def sample_assessment() -> Assessment:
    """Return the sample's quality report with its clean and its quarantined rows (Friday bars after 17:00 New York)."""
    return assess(sample_frame(), SYMBOL, TIMEFRAME)


def sample_candles() -> Candles:
    """Return the usable bars of the sample: EURUSD 1h, mid, UTC."""
    return Candles.from_frame(sample_assessment().clean, SYMBOL, TIMEFRAME, SIDE)


class Config(_Config):
    """The sample has no options."""


def create(config: Config, pace: Pace) -> Sample:
    """Return the sample as a provider."""
    return Sample(pace)


class Sample:
    """The sample behind the seam of every provider: EURUSD, 1h and what can be made of it."""

    name, side = "sample", SIDE

    def __init__(self, pace: Pace | None = None) -> None:
        self._clock = (pace or Pace()).clock

    def fetch(self, symbol: str, timeframe: Timeframe, start: np.datetime64, end: np.datetime64) -> Iterator[Chunk]:
        """Yield everything in one chunk; raises BadInputError for another pair or for bars faster than 1h."""
        if symbol != SYMBOL or timeframe < parse_timeframe(TIMEFRAME):
            raise BadInputError(f"The sample holds {SYMBOL} bars of {TIMEFRAME} and slower, not {symbol} {timeframe}.")
        first, last = whole_bars(start, end, timeframe, to_datetime64(self._clock.now()))
        candles = sample_candles()
        if timeframe != candles.timeframe:
            candles = resample(candles, timeframe)
        if first < last:
            yield Chunk(first, last, candles.take((candles.ts_utc >= first) & (candles.ts_utc < last)))
