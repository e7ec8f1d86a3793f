"""What drift has seen bar by bar is kept in the operational database, on SQLite and PostgreSQL."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fxgpt_core.lifecycle.drift.watch import OnlineWatch, drift_states
from fxgpt_core.store.database import Database
from tests.lifecycle.test_drift import CONFIG, DAY
from tests.lifecycle.test_drift_online import reference, table


def test_what_was_seen_is_kept_over_restarts(database: Database) -> None:
    """A process that dies after any bar, and one that never did, say the same; on SQLite and PostgreSQL."""
    rows = table(tripled_days=8)
    until = rows.known_at[-1]
    whole = OnlineWatch(reference(), CONFIG, None).observe(rows)
    states = drift_states(database, reference())
    for at in (until - 30 * DAY, until - 8 * DAY, until - 7 * DAY, until - DAY, until):
        last = OnlineWatch(reference(), CONFIG, states).observe(rows.between(rows.known_at[0], at))
    assert last.streams == whole.streams
    assert OnlineWatch(reference(), CONFIG, states).observe(rows).rows == 0
    other = replace(reference(), model="EURUSD/2")
    assert drift_states(database, other).latest() is None, "another model begins anew"


def test_two_processes_and_looks_back_do_not_disturb_each_other(database: Database) -> None:
    rows, states = table(), drift_states(database, reference())
    one, two = (OnlineWatch(reference(), CONFIG, states) for _ in range(2))
    middle = rows.known_at[-1] - 3 * DAY
    assert one.observe(rows).streams == two.observe(rows).streams
    back = two.observe(rows.between(rows.known_at[0], middle))
    assert np.datetime64(back.as_of.removesuffix("Z")) <= middle
    assert one.observe(rows).rows == 0
