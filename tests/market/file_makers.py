"""Files of the vendors' layouts, made of simulated bars; shared by the tests of layouts and imports."""

from __future__ import annotations

import io
import lzma
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from fxgpt_core.market.candles import Candles
from fxgpt_core.market.clocks.time_zones import Zone
from fxgpt_core.market.files.bi5 import CANDLE, TICK
from fxgpt_core.market.providers.simulator import simulate


def put(folder: Path, name: str, content: str | bytes) -> Path:
    """Write a file below a folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    """Return a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def minutes(days: int = 1, start: str = "2018-04-03", seed: int = 3, symbol: str = "EURUSD") -> Candles:
    """Return minute bars of whole days from Monday to Thursday."""
    return simulate(symbol, "1m", start=np.datetime64(start), bars=1440 * days, seed=seed)


def stamps(candles: Candles, form: str, zone: Zone | None = None) -> pd.Index:
    """Return the bars' stamps as text, by the clock of `zone` (UTC where not given)."""
    times = candles.ts_utc if zone is None else zone.to_local(candles.ts_utc)
    return pd.DatetimeIndex(times).strftime(form)


def histdata(candles: Candles, zone: Zone) -> str:
    """Return HistData minute bars."""
    rows = zip(
        stamps(candles, "%Y%m%d %H%M%S", zone), candles.open, candles.high, candles.low, candles.close, strict=True
    )
    return "".join(f"{t};{o:.5f};{h:.5f};{low:.5f};{c:.5f};0\n" for t, o, h, low, c in rows)


def table(candles: Candles, names: Iterable[str], form: str, zone: Zone | None = None) -> pd.DataFrame:
    """Return the bars with a column `time` and OHLC and volume under other names."""
    frame = candles.to_frame()[["open", "high", "low", "close", "volume"]].reset_index(drop=True)
    frame.columns = pd.Index(list(names))
    frame.insert(0, "time", stamps(candles, form, zone))
    return frame


def bi5_candles(candles: Candles, scale: float) -> bytes:
    """Return one day's minute bars as a Dukascopy file; minutes without a bar are flat with volume 0."""
    rows = np.zeros(1440, CANDLE)
    rows["second"] = np.arange(1440) * 60
    at = ((candles.ts_utc - candles.ts_utc[0].astype("datetime64[D]")) / np.timedelta64(1, "m")).astype(int)
    last = round(float(candles.close[-1]) * scale)
    for name in ("open", "close", "low", "high"):
        rows[name] = last
        rows[name][at] = np.round(getattr(candles, name) * scale)
    rows["volume"][at] = candles.volume
    return lzma.compress(rows.tobytes(), format=lzma.FORMAT_ALONE)


def bi5_ticks(milliseconds: np.ndarray, bid: np.ndarray, ask: np.ndarray, scale: float) -> bytes:
    """Return one hour's ticks as a Dukascopy file."""
    rows = np.zeros(len(milliseconds), TICK)
    rows["ms"], rows["bid"], rows["ask"] = milliseconds, np.round(bid * scale), np.round(ask * scale)
    return lzma.compress(rows.tobytes(), format=lzma.FORMAT_ALONE)
