"""What the columns of a table with a header mean, however they are spelt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.files.layouts.layout import BOTH_SIDES, OHLC

_PRICES = {"open": ("open", "o"), "high": ("high", "h"), "low": ("low", "l"), "close": ("close", "c", "last", "price")}
_VOLUME = ("tickvolume", "tickvol", "tickqty", "ticks", "volume", "vol", "v")
_TIME = (
    "tsutc",
    "timeutc",
    "datetimeutc",
    "timestamputc",
    "timestamp",
    "datetime",
    "gmttime",
    "opentime",
    "date",
    "time",
    "localtime",
    "ts",
    "",
)


@dataclass(frozen=True)
class Roles:
    """`columns`: role -> the column's name; roles are `stamp`, `time` (where date and time are two columns), OHLC or
    `BOTH_SIDES` or `bid` and `ask`, `volume`, `spread`. `side`: bid, ask, both or "" as the header says."""

    columns: dict[str, str]
    side: str
    named_utc: str

    @property
    def kind(self) -> str:
        """Whether the rows are `bars` or `ticks`."""
        return "ticks" if "bid" in self.columns else "bars"

    @property
    def numbers(self) -> list[str]:
        """The columns that hold numbers."""
        return [name for role, name in self.columns.items() if role not in ("stamp", "time")]


def plain(name: str) -> str:
    """Return the letters of a column's name in lower case."""
    return re.sub(r"[^a-z]", "", name.lower())


def roles(where: str, names: Sequence[str]) -> Roles:
    """Return what each column is; raises BadInputError naming what is lacking."""
    known = {plain(name): name for name in reversed(names)}
    found, side = _prices(known)
    stamp = next((name for name in _TIME if name in known), None)
    missing = [] if found else [price for price in OHLC if not any(s in known for s in _PRICES[price])]
    if stamp is None or not found:
        lacking = ", ".join([*(["a time column"] if stamp is None else []), *missing])
        raise BadInputError(f"{where} lacks {lacking}; its columns are {', '.join(map(repr, names))}.")
    for role, spellings in (("volume", _VOLUME), ("spread", ("spread",))):
        name = next((known[spelling] for spelling in spellings if spelling in known), None)
        if name is not None:
            found[role] = name
    found["stamp"] = known[stamp]
    if stamp == "date" and "time" in known:
        found["time"] = known["time"]
    return Roles(found, side, known[stamp] if stamp.endswith("utc") or stamp == "gmttime" else "")


def _prices(known: dict[str, str]) -> tuple[dict[str, str], str]:
    """Return the price columns and the side that they name: plain OHLC, one side's, both sides', or quotes."""
    single = {price: name for price in OHLC if (name := _first(known, _PRICES[price]))}
    if len(single) == 4:
        return single, ""
    sides = {
        f"{side}_{price}": name
        for side in ("bid", "ask")
        for price in OHLC
        if (name := _first(known, [t for s in _PRICES[price] for t in (f"{side}{s}", f"{s}{side}", f"{s}{side[0]}")]))
    }
    if len(sides) == len(BOTH_SIDES):
        return sides, "both"
    for side in ("bid", "ask"):
        one = {price: sides[f"{side}_{price}"] for price in OHLC if f"{side}_{price}" in sides}
        if len(one) == 4:
            return one, side
    quotes = {side: name for side in ("bid", "ask") if (name := _first(known, (side, f"{side}price")))}
    return (quotes, "both") if len(quotes) == 2 else ({}, "")


def _first(known: dict[str, str], spellings: Sequence[str]) -> str | None:
    return next((known[spelling] for spelling in spellings if spelling in known), None)
