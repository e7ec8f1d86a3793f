"""What a PostgreSQL server refuses is said in a sentence, as it is on SQLite."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from fxgpt_core.common.errors import StoreError
from fxgpt_core.store.alerts import Alert, record_alert
from fxgpt_core.store.audit import recent_decisions, record_decision
from fxgpt_core.store.database import Database
from fxgpt_core.store.migrate import upgrade

NOON = datetime(2024, 3, 8, 12, tzinfo=UTC)


def cut(admin: sa.Engine, name: str) -> None:
    """End every connection to a database but this one."""
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid != pg_backend_pid()"
    with admin.connect() as connection:
        connection.execute(sa.text(others), {"name": name})


def ask_twice(database: Database, between: Callable[[], None]) -> None:
    with database.reading() as session:
        session.execute(sa.text("SELECT 1"))
        between()
        session.execute(sa.text("SELECT 1"))


@pytest.mark.services
def test_a_read_only_server_and_a_cut_connection_are_errors_of_the_store(url: str) -> None:
    if not url.startswith("postgresql"):
        pytest.skip("SQLite's are in tests/lifecycle/test_outages.py")
    upgrade(url)
    name = sa.make_url(url).database
    admin = sa.create_engine(sa.make_url(url), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    database = Database(url)
    try:
        with pytest.raises(StoreError, match="read-only"):
            record_alert(database, Alert("drift", "EURUSD", "a cause", "error", "Title", "Body", NOON), NOON - NOON)
        with pytest.raises(StoreError, match="cannot be used"):
            ask_twice(database, lambda: cut(admin, str(name)))
    finally:
        database.close()
        admin.dispose()


def test_evidence_that_is_no_number_is_kept_as_nothing(database: Database) -> None:
    evidence = {"skill": float("nan"), "e": [1.0, float("inf")]}
    record_decision(
        database, kind="shadow", symbol="EURUSD", what="wait", reasons=["x"], at=NOON, cause="c", evidence=evidence
    )
    (row,) = recent_decisions(database, "EURUSD")
    assert row.evidence == {"skill": None, "e": [1.0, None]}
