"""Prices in points: told from the prices themselves, and turned into price units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.files.layouts.layout import BOTH_SIDES, OHLC
from fxgpt_core.market.instruments import Instrument, instrument

_LAYOUTS = ("csv", "parquet", "mt4", "mt5")
_OTHER_DIGITS = (-1, 1, -2, 2)  # of points: brokers quoted one digit less for long


def to_prices(frame: pd.DataFrame, symbol: str, insist: bool, layout: str) -> tuple[pd.DataFrame, str]:
    """Return the frame in price units and the scale of its prices: empty for decimal ones, else points and the factor.

    Whole numbers that are no plausible price of the pair, or of 10000 and more, are points: of its last digit, or of
    one or two digits more or less where only that gives plausible prices; `insist` says that they are points. A whole
    spread of 1 and more is one in points, whatever the prices are. Raises BadInputError where the typical price is one
    that the pair cannot have.
    """
    pair = instrument(symbol)
    columns = [name for name in (*OHLC, *BOTH_SIDES, "bid", "ask") if name in frame]
    typical = float(_numbers(frame[columns[-1]]).median())
    scale, point = "", pair.point
    if insist or (layout in _LAYOUTS and _in_points(frame, columns, typical, pair)):
        digits, others = _digits(typical, pair)
        point = 10.0**-digits
        for name in columns:
            numbers = _numbers(frame[name])
            frame[name] = (numbers * point).round(digits).where(numbers.notna(), frame[name])
        typical, scale = typical * point, f"points (x {point:g}{others})"
    _check(typical, pair, scale)
    if "spread" in frame:
        spread = _numbers(frame["spread"])
        known = spread[np.isfinite(spread)]
        if len(known) and (known == known.round()).all() and known.max() >= 1:
            frame["spread"] = (spread * point).round(pair.digits)
    return frame, scale


def _digits(typical: float, pair: Instrument) -> tuple[int, str]:
    """Return the digits behind the point of prices in points, and in words what else they could be."""
    choices = (pair.digits, *(pair.digits + more for more in _OTHER_DIGITS))
    fitting = [digits for digits in choices if _fits(typical * 10.0**-digits, pair)] or [pair.digits]
    others = " or ".join(f"{10.0**-digits:g}" for digits in fitting[1:])
    return fitting[0], f"; x {others} would fit too" if others and pair.plausible is not None else ""


def _fits(price: float, pair: Instrument) -> bool:
    known = pair.plausible
    return known is None or not price > 0 or known[0] <= price <= known[1]


def _check(typical: float, pair: Instrument, scale: str) -> None:
    known = pair.plausible
    if known is None or _fits(typical, pair):
        return
    told = f", read as {scale}," if scale else ""
    raise BadInputError(
        f"its prices{told} are about {typical:.6g}, and {pair.symbol} lies between {known[0]:.3g} and {known[1]:.3g}: "
        "name the pair with --symbol if it is another one, --layout mt5_points if they are points, or bring them to "
        "price units first."
    )


def _in_points(frame: pd.DataFrame, columns: Sequence[str], typical: float, pair: Instrument) -> bool:
    least = 10_000 if pair.plausible is None else 100
    if not typical >= least or (pair.plausible is not None and _fits(typical, pair)):
        return False
    numbers = frame[list(columns)].apply(_numbers)
    usable = numbers[np.isfinite(numbers).all(axis=1)]
    whole = np.abs(usable - usable.round()).max(axis=1) < 1e-6
    return len(usable) > 0 and bool(whole.mean() > 0.99)


def _numbers(column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    return pd.Series(numbers.to_numpy(dtype=np.float64, na_value=np.nan), index=column.index)
