"""Ensemble weights: what holds at a moment, and what held before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fxgpt_core.common.errors import BadInputError, StoreError
from fxgpt_core.store.database import Database
from fxgpt_core.store.ensembles import WeightSet, record_weights, weight_history, weights_at

NOON = datetime(2024, 3, 8, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
FIRST = WeightSet(
    "EURUSD", "stack", NOON, {60: {"sssd": 0.35, "ridge": 0.65}, 240: {"sssd": 0.5, "ridge": 0.5}}, ("The first.",)
)


def test_the_newest_set_holds_until_the_next_and_the_others_stay(database: Database) -> None:
    second = replace(FIRST, at=NOON + WEEK, weights={60: {"sssd": 0.2, "ridge": 0.8}}, reasons=("Sharpe 1.2.",))
    assert record_weights(database, FIRST)
    assert record_weights(database, second)
    assert record_weights(database, replace(FIRST, symbol="GBPUSD", at=NOON + 3 * WEEK))
    assert weights_at(database, "EURUSD", "stack", NOON - timedelta(seconds=1)) is None
    assert weights_at(database, "EURUSD", "stack", NOON) == FIRST
    assert weights_at(database, "EURUSD", "stack", NOON + WEEK - timedelta(seconds=1)) == FIRST
    assert weights_at(database, "EURUSD", "stack", NOON + 5 * WEEK) == second
    assert weight_history(database, "EURUSD", "stack", NOON - WEEK, NOON + WEEK) == [FIRST, second]
    assert weight_history(database, "EURUSD", "stack", NOON, NOON + WEEK) == [second]
    assert weights_at(database, "EURUSD", "median", NOON + WEEK) is None


def test_a_step_that_is_repeated_records_nothing_twice_and_rewrites_nothing(database: Database) -> None:
    assert record_weights(database, FIRST)
    assert not record_weights(database, FIRST)
    with pytest.raises(StoreError, match=r"under its own time"):
        record_weights(database, replace(FIRST, weights={60: {"sssd": 1.0}}))
    assert weights_at(database, "EURUSD", "stack", NOON) == FIRST


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_what_is_no_weight_is_refused(database: Database, weight: float) -> None:
    with pytest.raises(BadInputError, match=r"weight of ridge at 60 minutes"):
        record_weights(database, replace(FIRST, weights={60: {"sssd": 0.5, "ridge": weight}}))
    for nobody in ({}, {60: {}}):
        with pytest.raises(BadInputError, match=r"name no member"):
            record_weights(database, replace(FIRST, weights=nobody))
    assert weight_history(database, "EURUSD", "stack", NOON - WEEK, NOON + WEEK) == []
