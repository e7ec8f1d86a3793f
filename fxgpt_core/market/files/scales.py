"""Prices in points: told from the prices themselves, and turned into price units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fxgpt_core.market.files.layouts.layout import BOTH_SIDES, OHLC
from fxgpt_core.market.instruments import instrument

_LAYOUTS = ("csv", "parquet", "mt4", "mt5")


def to_prices(frame: pd.DataFrame, symbol: str, insist: bool, layout: str) -> tuple[pd.DataFrame, str]:
    """Return the frame in price units and the scale of its prices: empty for decimal ones, else points and the factor.

    Whole numbers of 10000 and more are points of the pair's last digit; `insist` says that they are points. A whole
    spread of 1 and more is one in points, whatever the prices are.
    """
    pair = instrument(symbol)
    columns = [name for name in (*OHLC, *BOTH_SIDES, "bid", "ask") if name in frame]
    scale = ""
    if insist or (layout in _LAYOUTS and _in_points(frame, columns)):
        for name in columns:
            numbers = _numbers(frame[name])
            frame[name] = (numbers * pair.point).round(pair.digits).where(numbers.notna(), frame[name])
        scale = f"points (x {pair.point:g})"
    if "spread" in frame:
        spread = _numbers(frame["spread"])
        known = spread[np.isfinite(spread)]
        if len(known) and (known == known.round()).all() and known.max() >= 1:
            frame["spread"] = (spread * pair.point).round(pair.digits)
    return frame, scale


def _in_points(frame: pd.DataFrame, columns: Sequence[str]) -> bool:
    typical = _numbers(frame[columns[-1]])
    if not typical.median() >= 10_000:
        return False
    numbers = frame[list(columns)].apply(_numbers)
    usable = numbers[np.isfinite(numbers).all(axis=1)]
    whole = np.abs(usable - usable.round()).max(axis=1) < 1e-6
    return len(usable) > 0 and bool(whole.mean() > 0.99)


def _numbers(column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    return pd.Series(numbers.to_numpy(dtype=np.float64, na_value=np.nan), index=column.index)
