"""States beside model versions, on both kinds of server: one writer wins, nothing is lost, old ones thin out."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import sqlalchemy as sa

from fxgpt_core.common.errors import StoreError
from fxgpt_core.store.database import Database
from fxgpt_core.store.models import StateRow
from fxgpt_core.store.states import SavedState, StateStore

NOON = np.datetime64("2024-03-08T12:00", "ns")
HOUR = np.timedelta64(1, "h")


def store(database: Database, version: str = "7", owner: str = "calibrator", symbol: str = "EURUSD") -> StateStore:
    return StateStore(database, owner, symbol, version)


def count(database: Database) -> int:
    with database.reading() as session:
        return int(session.scalar(sa.select(sa.func.count()).select_from(StateRow)) or 0)


def test_the_newest_state_comes_back_exactly_and_only_to_its_owner_symbol_and_version(database: Database) -> None:
    states = store(database)
    assert states.latest() is None
    value = {"rates": [0.1, 1 / 3, 5e-324], "outcomes": [3]}
    assert states.save(value, NOON, None)
    assert states.latest() == SavedState(1, NOON, value)
    for other in (store(database, "8"), store(database, owner="drift"), store(database, symbol="GBPUSD")):
        assert other.latest() is None
        assert other.save({"x": 1}, NOON, None)
    assert states.latest() == SavedState(1, NOON, value)


def test_a_state_of_a_moment_knows_nothing_later(database: Database) -> None:
    states, last = store(database), None
    for hour in range(2):
        assert states.save({"hour": hour}, NOON + hour * HOUR, last)
        last = states.latest()
    assert states.latest(NOON - HOUR) is None
    found = states.latest(NOON + HOUR - np.timedelta64(1, "s"))
    assert found is not None
    assert found.value == {"hour": 0}
    with pytest.raises(StoreError, match="cannot go back"):
        states.save({}, NOON, last)


def test_of_two_successors_of_one_state_the_first_stays(database: Database) -> None:
    states = store(database)
    states.save({}, NOON, None)
    first = states.latest()
    assert states.save({"by": "one"}, NOON + HOUR, first)
    assert not states.save({"by": "two"}, NOON + 2 * HOUR, first)
    newest = states.latest()
    assert newest is not None
    assert (newest.number, newest.value) == (2, {"by": "one"})


def test_of_many_threads_one_saves_each_state(database: Database) -> None:
    wins: list[int] = []

    def work(name: int) -> None:
        states, last = store(database), None
        for step in range(5):
            if states.save({"by": name, "step": step}, NOON + step * HOUR, last):
                wins.append(step)
            last = states.latest(NOON + step * HOUR)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == [0, 1, 2, 3, 4]


def test_older_states_thin_out_to_one_a_day(database: Database) -> None:
    states, last = store(database), None
    for hour in range(60):
        states.save({"hour": hour}, NOON + hour * HOUR, last)
        last = states.latest()
    with database.reading() as session:
        kept = [row.value["hour"] for row in session.scalars(sa.select(StateRow).order_by(StateRow.number))]
    assert kept == [11, 35, 57, 58, 59]  # the last before each midnight, the last of today's older ones, the newest
    assert count(database) == 5


def test_a_save_that_is_interrupted_leaves_the_state_before(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = store(database)
    states.save({"step": 1}, NOON, None)
    before = states.latest()

    def killed(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(StateStore, "_forget", killed)
    with pytest.raises(KeyboardInterrupt):
        states.save({"step": 2}, NOON + HOUR, before)
    monkeypatch.undo()
    assert states.latest() == before
    assert states.save({"step": 2}, NOON + HOUR, before)
