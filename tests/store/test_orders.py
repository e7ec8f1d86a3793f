"""Orders and fills come back as they were recorded, and are judged as those of a backtest are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from fxgpt_core.backtest.adherence import Expected, figures, judge
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.store.database import Database
from fxgpt_core.store.orders import adherence_of, record_adherence, record_fills, record_orders, stored_orders

NOON = datetime(2024, 3, 8, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def orders(status: str = "sent") -> pd.DataFrame:
    shared = {"position": 1, "symbol": "EURUSD", "units": 1000.0, "wanted": 1000.0, "limited_by": "", "reason": "x"}
    return pd.DataFrame(
        [
            {**shared, "order": 7, "decided_at": pd.Timestamp(NOON), "purpose": "entry", "kind": "market",
             "direction": 1, "signal_price": 1.1, "stop": 1.09, "target": float("nan"), "status": "sent"},
            {**shared, "order": 8, "decided_at": pd.Timestamp(NOON + HOUR), "purpose": "exit", "kind": "stop",
             "direction": -1, "signal_price": 1.09, "stop": float("nan"), "target": float("nan"), "status": status},
        ]
    )  # fmt: skip


def fills() -> pd.DataFrame:
    shared = {"mid": 1.1, "spread": 0.05, "slippage": 0.01, "commission": 0.003, "rate": 1.0}
    return pd.DataFrame(
        [
            {**shared, "order": 7, "filled_at": pd.Timestamp(NOON + HOUR / 60), "units": 600.0, "price": 1.10006},
            {**shared, "order": 7, "filled_at": pd.Timestamp(NOON + HOUR / 60), "units": 400.0, "price": 1.10007},
            {**shared, "order": 8, "filled_at": pd.Timestamp(NOON + 2 * HOUR), "units": 1000.0, "price": 1.0899},
        ]
    )


def test_orders_and_fills_come_back_and_are_judged(database: Database) -> None:
    record_orders(database, "paper", orders("open"))
    record_orders(database, "live", orders())
    record_orders(database, "paper", orders())  # the broker took it
    for _ in range(2):
        record_fills(database, "paper", fills())
    asked, filled = stored_orders(database, "paper", NOON - HOUR, NOON + HOUR)
    pd.testing.assert_frame_equal(asked, orders()[list(asked)], check_dtype=False)
    pd.testing.assert_frame_equal(filled, fills()[list(filled)], check_dtype=False)
    assert stored_orders(database, "live", NOON - HOUR, NOON + HOUR)[1].empty
    found = figures(judge(asked, filled, {"EURUSD": Expected(0.00005, 0.00001, 3e-6)}))
    assert found == figures(judge(orders(), fills(), {"EURUSD": Expected(0.00005, 0.00001, 3e-6)}))
    assert found["filled"] == 2


def test_a_fill_without_its_order_is_refused(database: Database) -> None:
    with pytest.raises(BadInputError, match="has no order 7"):
        record_fills(database, "paper", fills())


def test_adherence_is_one_row_a_period_with_its_newest_figures(database: Database) -> None:
    for cost in (1.0, 2.0):
        record_adherence(
            database, symbol="EURUSD", family="ridge", account="backtest", decision="trade", at=NOON,
            periods={"day": [(NOON - 24 * HOUR, {"cost": cost}), (NOON, {"cost": None})], "all": [(NOON, {})]},
        )  # fmt: skip
    rows = adherence_of(database, "EURUSD", "ridge", "backtest", "day")
    assert [(row.starts_at, row.figures) for row in rows] == [(NOON - 24 * HOUR, {"cost": 2.0}), (NOON, {"cost": None})]
