"""`Order` and `Fill`: what was intended and what happened (DESIGN, "One language between the parts").

A backtest writes the same tables that a broker will fill: one row per order, one per fill, joined by `order`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import pandas as pd

from fxgpt_core.backtest import layout
from fxgpt_core.backtest.book import Book
from fxgpt_core.backtest.engine import Simulation
from fxgpt_core.common.errors import BadInputError

Kind = Literal["market", "stop", "target"]
Purpose = Literal["entry", "exit"]
Status = Literal["sent", "open", "withheld", "cancelled"]


@dataclass(frozen=True)
class Order:
    """An intention. Times are UTC, prices in quote currency per unit of base currency, sizes in units of base currency.

    `order`: unique within its table; `position`: groups entry and exit; `direction`: 1 buy, -1 sell; `kind`: `market`
    is filled at the next open, `stop` and `target` rest; `signal_price`: the mid price that the decision saw, or the
    level of a resting order; `reason`: why. `stop`, `target`: levels attached to an entry, NaN where there are none.
    `wanted`: the size before limits; `limited_by`: what cut or refused it, as `currency EUR`, "" where nothing did;
    `late` where the bar of its fill opened too late.
    `status`: `sent` to the broker (without a fill it was turned down), `open` while it still rests there, `withheld` by
    us, `cancelled` before its fill.
    Raises BadInputError for a size that is not positive or a direction other than 1 and -1.
    """

    order: int
    position: int
    symbol: str
    decided_at: pd.Timestamp
    purpose: Purpose
    kind: Kind
    direction: int
    units: float
    signal_price: float
    stop: float
    target: float
    reason: str
    wanted: float
    limited_by: str = ""
    status: Status = "sent"

    def __post_init__(self) -> None:
        if not self.units > 0:
            raise BadInputError(f"Order {self.order} for {self.symbol} has {self.units} units: give a positive size.")
        if self.direction not in (1, -1):
            raise BadInputError(f"Order {self.order} for {self.symbol}: direction {self.direction} is not 1 or -1.")


@dataclass(frozen=True)
class Fill:
    """What happened to an order: `mid` is the market's price then, `price` what was paid or got.

    `spread`, `slippage`, `commission`: costs of this fill in the account's currency; `rate`: account currency per unit
    of quote currency.
    """

    order: int
    filled_at: pd.Timestamp
    units: float
    mid: float
    price: float
    spread: float
    slippage: float
    commission: float
    rate: float


def orders_and_fills(trades: pd.DataFrame, limited: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the orders and fills behind a backtest's trades (`trades.TRADE_COLUMNS`): two rows each per trade.

    A stop or target rests from its entry on, so its order was decided with the entry. `limited`: entries that were cut
    or refused (`limited_entries`); what was refused comes last, as orders without fill.
    """
    number = np.arange(len(trades))
    rests = trades["reason"].isin(["stop", "trailing", "target"])
    kind = np.where(trades["reason"] == "target", "target", np.where(rests, "stop", "market"))
    shared = {"position": number, "symbol": trades["symbol"], "units": trades["units"]}
    entry = {
        **shared, "order": 2 * number, "purpose": "entry", "kind": "market", "direction": trades["direction"],
        "decided_at": trades["decided_at"], "signal_price": trades["signal_price"], "stop": trades["stop"],
        "target": trades["target"], "reason": "signal",
    }  # fmt: skip
    leave: dict[str, Any] = {
        **shared, "order": 2 * number + 1, "purpose": "exit", "kind": kind, "direction": -trades["direction"],
        "decided_at": trades["exit_decided_at"], "signal_price": trades["exit_signal_price"], "stop": np.nan,
        "target": np.nan, "reason": trades["reason"],
    }  # fmt: skip
    for order in (entry, leave):
        order |= {"wanted": trades["units"], "limited_by": "", "status": "sent"}
    orders = _with_limited(_stacked(entry, leave, [field.name for field in fields(Order)]), limited)
    fills = _stacked(_fills(trades, "entry"), _fills(trades, "exit"), [field.name for field in fields(Fill)])
    return orders, fills


def _fills(trades: pd.DataFrame, end: Purpose) -> dict[str, Any]:
    number = 2 * np.arange(len(trades)) + (end == "exit")
    names = ("mid", "price", "spread", "slippage", "commission", "rate")
    costs = {name: trades[f"{end}_{name}"] for name in names}
    return {"order": number, "filled_at": trades[f"{end}_time"], "units": trades["units"], **costs}


def _stacked(entry: dict[str, Any], leave: dict[str, Any], columns: list[str]) -> pd.DataFrame:
    both = pd.concat([pd.DataFrame(entry), pd.DataFrame(leave)], ignore_index=True)
    return both.sort_values("order", kind="stable", ignore_index=True)[columns]


def limited_entries(simulation: Simulation, book: Book) -> pd.DataFrame:
    """Return the entries that were cut or refused: columns of `Order` without its numbers, `units` 0 where refused."""
    notes = simulation.limited
    bars = book.bars[notes["bar"], notes["leg"]]
    symbols = np.array([part.pair.symbol for part in book.parts], dtype=object)
    side = notes["direction"]
    stops = bars["close"] * np.exp(-side * bars["stop"])
    return pd.DataFrame(
        {
            "symbol": symbols[notes["leg"]],
            "decided_at": pd.DatetimeIndex(book.closes[notes["bar"]]).tz_localize("UTC"),
            "direction": side, "units": notes["units"], "wanted": notes["wanted"], "signal_price": bars["close"],
            "stop": stops, "target": bars["close"] * np.exp(side * bars["target"]),
            "limited_by": [_cause(note, book) for note in notes],
            "status": np.where(
                notes["cause"] == layout.BY_TIME, "cancelled",
                np.where(notes["sent"] | (notes["units"] > 0), "sent", "withheld"),
            ),
            "refused": notes["sent"] | (notes["units"] == 0),
        }
    )  # fmt: skip


def _cause(note: Any, book: Book) -> str:
    """Return what limited an entry, with the currency or the pair that it is about."""
    name = layout.CAUSES[note["cause"]]
    if note["cause"] == layout.BY_CURRENCY:
        return f"{name} {book.currencies[note['what']]}"
    if note["cause"] == layout.BY_CORRELATION:
        return f"{name} {book.parts[note['what']].pair.symbol}"
    return name


def _with_limited(orders: pd.DataFrame, limited: pd.DataFrame) -> pd.DataFrame:
    """Return `orders` with the sizes that were wanted, and with the orders that never became a position."""
    if not len(limited):
        return orders
    keys = ["symbol", "decided_at"]
    cut = limited[~limited["refused"]].set_index(keys)
    entry = orders["purpose"] == "entry"
    for name in ("wanted", "limited_by"):
        known = cut[name].reindex(pd.MultiIndex.from_frame(orders.loc[entry, keys]))
        orders.loc[entry, name] = np.where(known.isna(), orders.loc[entry, name], known)
    refused = limited[limited["refused"]].copy()
    refused["units"] = refused["units"].where(refused["status"] == "sent", refused["wanted"])
    refused["order"] = len(orders) + np.arange(len(refused))
    refused["position"] = len(orders) // 2 + np.arange(len(refused))
    refused = refused.assign(purpose="entry", kind="market", reason="signal")
    return (
        refused[list(orders)].copy() if orders.empty else pd.concat([orders, refused[list(orders)]], ignore_index=True)
    )
