"""Orders, fills and adherence in the operational database: the tables of `backtest.orders`, account by account.

A broker and a paper account write here what a backtest writes into the lake, so that one judgement reads both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import select

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.store.database import Database
from fxgpt_core.store.models import AdherenceRow, FillRow, OrderRow
from fxgpt_core.store.rows import aware, upsert

_ORDER = (
    "position", "symbol", "decided_at", "purpose", "kind", "direction", "units", "signal_price", "stop", "target",
    "reason", "wanted", "limited_by", "status",
)  # fmt: skip
_FILL = ("filled_at", "units", "mid", "price", "spread", "slippage", "commission", "rate")
_MAY_CHANGE = ("units", "stop", "target", "limited_by", "status")


def record_orders(database: Database, account: str, orders: pd.DataFrame) -> None:
    """Record orders (columns of `backtest.orders.Order`, times aware); one known already gets its newest state."""
    with database.session() as session:
        for row in orders.to_dict("records"):
            values = {name: _plain(row[name]) for name in _ORDER}
            values |= {"account": account, "number": int(row["order"])}
            upsert(session, OrderRow, values, ("account", "number"), only=_MAY_CHANGE)


def record_fills(database: Database, account: str, fills: pd.DataFrame) -> None:
    """Record all fills of the orders that appear in `fills` (columns of `backtest.orders.Fill`), in their order.

    Recording them again changes nothing. Raises BadInputError for a fill of an order that the account does not have.
    """
    numbers = fills.groupby("order", sort=False).cumcount()
    with database.session() as session:
        for row, number in zip(fills.to_dict("records"), numbers, strict=True):
            mine = select(OrderRow.id).where(OrderRow.account == account, OrderRow.number == int(row["order"]))
            order = session.scalar(mine)
            if order is None:
                raise BadInputError(f"Account {account!r} has no order {row['order']}: record the orders first.")
            values = {**{name: _plain(row[name]) for name in _FILL}, "order_id": order, "number": int(number)}
            upsert(session, FillRow, values, ("order_id", "number"), only=_FILL)


def stored_orders(
    database: Database, account: str, since: datetime, until: datetime
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return an account's orders decided after `since` and up to `until`, and their fills, as `adherence.judge` reads
    them: columns of `Order` and `Fill`."""
    wanted = select(OrderRow).where(
        OrderRow.account == account, OrderRow.decided_at > since, OrderRow.decided_at <= until
    )
    with database.reading() as session:
        orders = list(session.scalars(wanted.order_by(OrderRow.number)))
        filled = (
            select(FillRow, OrderRow.number)
            .join(OrderRow, OrderRow.id == FillRow.order_id)
            .where(OrderRow.account == account, OrderRow.decided_at > since, OrderRow.decided_at <= until)
        )
        fills = list(session.execute(filled.order_by(OrderRow.number, FillRow.number)))
    return (
        pd.DataFrame(
            [{"order": row.number, **{name: _number(name, getattr(row, name)) for name in _ORDER}} for row in orders],
            columns=["order", *_ORDER],
        ),
        pd.DataFrame(
            [{"order": number, **{name: getattr(row, name) for name in _FILL}} for row, number in fills],
            columns=["order", *_FILL],
        ),
    )


def record_adherence(
    database: Database,
    *,
    symbol: str,
    family: str,
    account: str,
    periods: Mapping[str, Sequence[tuple[datetime, Mapping[str, Any]]]],
    decision: str,
    at: datetime,
) -> None:
    """Record the figures of `backtest.adherence`: period (day, week, month, all) -> its starts and their figures."""
    with database.session() as session:
        for period, rows in periods.items():
            for starts_at, figures in rows:
                values = {
                    "symbol": symbol,
                    "family": family,
                    "account": account,
                    "period": period,
                    "starts_at": starts_at,
                    "figures": dict(figures),
                    "decision": decision,
                    "at": at,
                }
                upsert(
                    session, AdherenceRow, values, ("symbol", "family", "account", "period", "starts_at"),
                    only=("figures", "decision", "at"),
                )  # fmt: skip


def adherence_of(database: Database, symbol: str, family: str, account: str, period: str) -> list[AdherenceRow]:
    """Return the recorded periods, oldest first."""
    query = select(AdherenceRow).filter_by(symbol=symbol, family=family, account=account, period=period)
    with database.reading() as session:
        return list(session.scalars(query.order_by(AdherenceRow.starts_at)))


def _plain(value: Any) -> Any:
    """Return a cell as the database takes it: Python's own numbers and times, None for what is not there."""
    if isinstance(value, np.datetime64):
        return aware(value)
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and np.isnan(value) else value


def _number(name: str, value: Any) -> Any:
    return np.nan if value is None and name in ("stop", "target") else value
