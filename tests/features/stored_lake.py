"""A lake of 1500 hourly bars with their stored features and targets, made once a session and copied for each test."""

from pathlib import Path

import numpy as np

from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.features.stored import update_tables, update_targets
from fxgpt_core.market.bars import Source, store_given
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.history import update_candles
from fxgpt_core.market.lake import Lake
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_core.market.quality.assessment import assess

LAYOUT = tuple(TIMEFRAMES[c] for c in ("1h", "4h", "1d"))
HORIZONS = (60, 240)
SPEC = FeatureSpec(groups=("ohlc", "time", "oscillators"))
CANDLES = simulate("GBPUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=1700, seed=3)


def store(lake: Lake, candles: Candles) -> None:
    judged = assess(candles.to_frame().reset_index(), "GBPUSD", "1h")
    store_given(lake, candles, judged, Source(f"{len(candles)} bars", str(len(candles)), {"side": "mid"}))
    update_candles(lake, "GBPUSD", LAYOUT, "import", QualityConfig())


def fill(folder: Path) -> Path:
    """Store bars, features and targets in a lake at `folder`."""
    lake = Lake(folder)
    store(lake, CANDLES.take(slice(0, 1500)))
    update_tables(lake, "GBPUSD", LAYOUT, SPEC)
    update_targets(lake, "GBPUSD", LAYOUT, HORIZONS, SPEC)
    return folder
