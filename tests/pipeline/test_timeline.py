"""The timeline of a rehearsal: what stands in the stores, line by line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fxgpt_core.policy.shadow import ARCHIVE, WAIT
from fxgpt_core.store.audit import record_decision, record_promotion
from fxgpt_core.store.database import Database
from fxgpt_core.store.migrate import upgrade
from fxgpt_pipeline.rehearsal.timeline import events_between

NOON = datetime(2024, 3, 7, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    url = f"sqlite:///{tmp_path / 'fxgpt.db'}"
    upgrade(url)
    return Database(url)


def test_a_shadow_is_seen_to_come_and_to_go(database: Database) -> None:
    record_promotion(database, symbol="EURUSD", alias="shadow", from_version=None, to_version="2", at=NOON)
    for hours, what, why in ((1, WAIT, "Too early."), (2, ARCHIVE, "It is worse.")):
        record_decision(database, kind="shadow", symbol="EURUSD", what=what, reasons=["EURUSD/2 ran.", why],
                        at=NOON + hours * HOUR, cause=what)  # fmt: skip
    lines = [event.line for event in events_between(database, NOON - HOUR, NOON + 3 * HOUR)]
    assert lines == [
        "2024-03-07 12:00  EURUSD  alias        shadow: nobody -> v2",
        "2024-03-07 14:00  EURUSD  archive      shadow: EURUSD/2 ran. It is worse.",
    ]
    assert events_between(database, NOON + 2 * HOUR, NOON + 3 * HOUR) == []
