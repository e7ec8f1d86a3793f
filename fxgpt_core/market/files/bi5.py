"""Records of Dukascopy `.bi5` files: LZMA over fixed-width big-endian rows (SPEC 21).

Ticks are 20 bytes: u32 milliseconds from the hour, u32 ASK, u32 BID, f32 ask volume, f32 bid volume. Minute bars are
24 bytes: u32 seconds from midnight, u32 open, CLOSE, LOW, HIGH, f32 volume. All times are UTC. Files of one byte less
than a whole row do not exist: such a file was cut off.
"""

from __future__ import annotations

import lzma
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError

TICK = np.dtype([("ms", ">u4"), ("ask", ">u4"), ("bid", ">u4"), ("ask_volume", ">f4"), ("bid_volume", ">f4")])
CANDLE = np.dtype(
    [("second", ">u4"), ("open", ">u4"), ("close", ">u4"), ("low", ">u4"), ("high", ">u4"), ("volume", ">f4")]
)
# What the integers of a pair are divided by, where it is not 100000 (the vendor's own table of instruments).
_QUOTE_SCALES = {"JPY": 1e3, "HUF": 1e3, "CZK": 1e4, "RON": 1e4, "THB": 1e4}
_OTHER_SCALES = {"HKDJPY": 1e5}
_METALS = {"XAU": 1e3, "XAG": 1e3}


def price_scale(symbol: str) -> float:
    """Return what the integers of a pair are divided by to become prices: 1000 for yen and metals, mostly 100000."""
    special = _OTHER_SCALES.get(symbol) or _METALS.get(symbol[:3]) or _QUOTE_SCALES.get(symbol[3:])
    return special or 1e5


def decode_candles(data: bytes, day: np.datetime64, scale: float) -> pd.DataFrame:
    """Return the minute bars of one day and side: `ts_utc` (UTC), open, high, low, close, volume, in the file's order.

    `day` is midnight UTC, `scale` what the integers are divided by. Closed minutes are kept as the file has them: flat
    with volume 0 (`filler` tells them). Empty data are a day without bars. Raises DataError when the data are damaged.
    """
    rows = _rows(data, CANDLE)
    if len(rows) and rows["second"].max() >= 86_400:
        raise DataError("The .bi5 data hold a bar later than their day: they are no Dukascopy minute bars.")
    times = np.datetime64(day, "ns") + rows["second"].astype("timedelta64[s]")
    prices = {name: rows[name].astype(np.float64) / scale for name in ("open", "high", "low", "close")}
    stamps = pd.DatetimeIndex(times).tz_localize("UTC")
    return pd.DataFrame({"ts_utc": stamps, **prices, "volume": rows["volume"].astype(np.float64)})


def filler(bars: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which bars only fill a minute without a trade: one price and volume 0: (bars,)."""
    flat = (bars["high"] == bars["low"]) & (bars["open"] == bars["close"])
    return np.asarray(flat & (bars["volume"] == 0), dtype=bool)


def decode_ticks(
    data: bytes, hour: np.datetime64, scale: float
) -> tuple[NDArray[np.datetime64], NDArray[np.float64], NDArray[np.float64]]:
    """Return times (UTC), bid and ask of one hour's ticks: three arrays (ticks,), in the file's order.

    `hour` is its start in UTC. Empty data are an hour without ticks. Raises DataError when the data are damaged.
    """
    rows = _rows(data, TICK)
    if len(rows) and rows["ms"].max() >= 3_600_000:
        raise DataError("The .bi5 data hold a tick later than their hour: they are no Dukascopy ticks.")
    times = np.datetime64(hour, "ns") + rows["ms"].astype("timedelta64[ms]")
    return times, rows["bid"].astype(np.float64) / scale, rows["ask"].astype(np.float64) / scale


def _rows(data: bytes, record: np.dtype[Any]) -> NDArray[Any]:
    if not data:
        return np.empty(0, record)
    try:
        plain = lzma.decompress(data)
    except (lzma.LZMAError, EOFError) as error:
        raise DataError(
            f"The .bi5 data cannot be unpacked ({str(error).rstrip('.')}): fetch the file again."
        ) from error
    if len(plain) % record.itemsize:
        raise DataError(
            f"The .bi5 data have {len(plain)} bytes, no whole number of {record.itemsize}-byte rows: "
            "they were cut off or hold something else."
        )
    return np.frombuffer(plain, record)
