"""Strategies that were tried are counted once, whoever tries them again, on both kinds of server."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from fxgpt_core.common.errors import StoreError
from fxgpt_core.store.database import Database
from fxgpt_core.store.models import TrialRow
from fxgpt_core.store.trials import Trial, count_trial, counted_trials

NOON = datetime(2024, 3, 8, 12, tzinfo=UTC)


def trial(**changes: Any) -> Trial:
    days = np.arange("2024-01-08", "2024-01-12", dtype="datetime64[D]")
    made = Trial(
        "EURUSD", "ridge", "forecasts", "configuration", np.datetime64("2024-01-08T22:00", "ns"),
        np.datetime64("2024-01-12T22:00", "ns"), 96, 7, days, np.array([0.01, -0.02, 0.0, 0.005]), 0.1, 0.2, 3.5,
    )  # fmt: skip
    return replace(made, **changes)


def test_the_same_strategy_counts_once_with_its_newest_figures(database: Database) -> None:
    count_trial(database, trial(), NOON)
    longer = trial(end=np.datetime64("2024-01-15T22:00", "ns"), sharpe=0.3, trades=9)
    count_trial(database, longer, datetime(2024, 3, 9, tzinfo=UTC))
    (found,) = counted_trials(database, "EURUSD")
    assert (found.sharpe, found.trades, found.end) == (0.3, 9, longer.end)
    np.testing.assert_array_equal(found.days, longer.days)
    np.testing.assert_allclose(found.daily, longer.daily, rtol=1e-6)
    with database.reading() as session:
        row = session.scalars(sa.select(TrialRow)).one()
    assert (row.runs, row.first_at) == (2, NOON)


@pytest.mark.parametrize("changed", ["family", "forecasts", "configuration"])
def test_another_model_or_rule_is_another_trial(database: Database, changed: str) -> None:
    for made in (trial(), trial(**{changed: "other"}), trial(symbol="GBPUSD")):
        count_trial(database, made, NOON)
    assert [getattr(found, changed) for found in counted_trials(database, "EURUSD")] == [
        getattr(trial(), changed), "other",
    ]  # fmt: skip


def test_only_trials_on_the_same_time_are_returned(database: Database) -> None:
    count_trial(database, trial(), NOON)
    before, after = np.datetime64("2024-01-01", "ns"), np.datetime64("2024-02-01", "ns")
    assert counted_trials(database, "EURUSD", before, after)
    assert not counted_trials(database, "EURUSD", after, after)
    assert not counted_trials(database, "EURUSD", before, before)


def test_writers_at_the_same_time_count_one_strategy(database: Database) -> None:
    writers = [threading.Thread(target=count_trial, args=(database, trial(), NOON)) for _ in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    with database.reading() as session:
        assert [row.runs for row in session.scalars(sa.select(TrialRow))] == [6]


def test_a_damaged_row_is_named(database: Database) -> None:
    count_trial(database, trial(), NOON)
    with database.session() as session:
        session.execute(sa.update(TrialRow).values(daily=b"short"))
    with pytest.raises(StoreError, match=r"4 days has 5 bytes, not 32"):
        counted_trials(database, "EURUSD")
