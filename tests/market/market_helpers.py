"""Builders shared by the tests of the market layer."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate

START = np.datetime64("2024-01-02T00:00")
SHARED = Path(os.environ.get("FXGPT_SHARED_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")


def shared(name: str) -> Path:
    """Return a file of the shared real data, or skip the test where it is not there."""
    path = SHARED / name
    if not path.exists():
        pytest.skip("the shared real data are not here")
    return path


def bars(count: int = 600, timeframe: str = "1h", seed: int = 1, start: np.datetime64 = START) -> Candles:
    return simulate("EURUSD", timeframe, start=start, bars=count, seed=seed)


def as_csv(candles: Candles, zone_shift_hours: int = 0, separator: str = ",") -> str:
    """Return bars as a headered CSV with naive stamps, moved by whole hours from UTC."""
    stamps = pd.DatetimeIndex(candles.ts_utc + np.timedelta64(zone_shift_hours, "h"))
    frame = candles.to_frame()[["open", "high", "low", "close", "volume"]]
    frame.insert(0, "time", stamps.strftime("%Y-%m-%d %H:%M:%S"))
    return frame.to_csv(index=False, sep=separator)


def content(root: Path) -> dict[str, bytes]:
    """Return every file under a lake except its locks, to show that nothing changed."""
    files = (p for p in sorted(root.rglob("*")) if p.is_file() and ".locks" not in p.parts)
    return {str(p.relative_to(root)): p.read_bytes() for p in files}
