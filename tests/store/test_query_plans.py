"""Every query of the operational database finds its rows by an index, on a log of any length."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from fxgpt_core.store import alerts, audit, ensembles, forecast_log, live_log, orders, studies, trainings, trials
from fxgpt_core.store.database import Database
from fxgpt_core.store.models import StudyRow
from fxgpt_core.store.states import StateStore

START = datetime(2024, 3, 1, tzinfo=UTC)
SYMBOLS, HORIZONS = 20, 4
LARGE = {"forecasts", "outcomes"}
MINUTE = timedelta(minutes=1)

_MODELS = """
INSERT INTO models (id, symbol, family, mlflow_version, trained_until, config)
VALUES (:id, :symbol, 'ridge', '1', '2024-02-01 00:00:00', '{}')
"""
_SERIES = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :rows)",
    "postgresql": "WITH n(i) AS (SELECT generate_series(0, :rows - 1))",
}
_MOMENT = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', '2024-03-01', (5 * (i / 80)) || ' minutes')",
    "postgresql": "timestamptz '2024-03-01 00:00+00' + (5 * (i / 80)) * interval '1 minute'",
}
_FORECASTS = """
INSERT INTO forecasts (model_id, decided_at, made_at, horizon, mean, std, quantiles, latency_ms)
{series} SELECT 1 + (i / 4) % 20, {moment}, {moment}, 5 * (1 + i % 4), 0.0, 0.001, '{{"0.5": 0.0}}', 3.0 FROM n
"""
_OUTCOMES = """
INSERT INTO outcomes (symbol, decided_at, horizon, known_at, log_return, yardstick)
{series} SELECT 'PAIR' || (10 + (i / 4) % 20), {moment}, 5 * (1 + i % 4), {moment}, 0.0, 0.001 FROM n WHERE i < :known
"""


def fill(database: Database, rows: int) -> datetime:
    """Log so many forecasts of twenty pairs at four horizons, every five minutes, most of them with their outcome.

    Returns when the log ends.
    """
    kind = database.url.get_backend_name()
    parts = {"series": _SERIES[kind], "moment": _MOMENT[kind]}
    with database.session() as session:
        for number in range(SYMBOLS):
            session.execute(sa.text(_MODELS), {"id": 1 + number, "symbol": f"PAIR{10 + number}"})
        session.execute(sa.text(_FORECASTS.format(**parts)), {"rows": rows})
        session.execute(sa.text(_OUTCOMES.format(**parts)), {"rows": rows, "known": rows - 500})
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("ANALYZE"))
    return START + 5 * MINUTE * (rows // (SYMBOLS * HORIZONS))


def queries(database: Database, end: datetime) -> dict[str, Callable[[], object]]:
    """Return every reading of the database by name."""
    pair, hour, now = "PAIR13", timedelta(hours=1), np.datetime64("2024-03-08", "ns")
    return {
        "last_retraining": lambda: audit.last_retraining(database, pair),
        "recent_decisions": lambda: audit.recent_decisions(database, pair),
        "find_decision": lambda: audit.find_decision(database, pair, "shadow", "training:1"),
        "decisions_between": lambda: audit.decisions_between(database, "shadow", end - hour, end),
        "promotion_at": lambda: audit.promotion_at(database, pair, "champion", "1", end),
        "promotions_between": lambda: audit.promotions_between(database, end - hour, end),
        "retrainings_between": lambda: audit.retrainings_between(database, end - hour, end),
        "alias_holders": lambda: audit.alias_holders(database, "champion"),
        "last_training": lambda: trainings.last_training(database, pair),
        "trainings": lambda: trainings.trainings(database, pair),
        "oldest_forecasts": lambda: forecast_log.oldest_forecasts(database, START + hour, 100),
        "delete_forecasts": lambda: forecast_log.delete_forecasts(database, [1, 2, 3]),
        "last_logged": lambda: live_log.last_logged(database, pair, "1"),
        "awaited": lambda: live_log.awaited(database, pair, end - 2 * hour),
        "failures_between": lambda: live_log.failures_between(database, pair, "1", end - hour, end),
        "forget_outcomes": lambda: live_log.forget_outcomes(database, START + hour),
        "state": lambda: StateStore(database, "calibrator", pair, "1").latest(now),
        "undelivered": lambda: alerts.undelivered(database, "mail", ["error"], end - hour),
        "messages_since": lambda: alerts.messages_since(database, "mail", end - hour),
        "alerts_between": lambda: alerts.alerts_between(database, end - hour, end),
        "trials": lambda: trials.counted_trials(database, pair),
        "orders": lambda: orders.stored_orders(database, "paper", end - hour, end),
        "weights_at": lambda: ensembles.weights_at(database, pair, "stack", end),
        "weight_history": lambda: ensembles.weight_history(database, pair, "stack", end - hour, end),
        "study_trials": lambda: studies.study_trials(database, StudyRow(id=7)),
        "studies_of": lambda: studies.studies_of(database, pair),
        "adherence": lambda: orders.adherence_of(database, pair, "ridge", "backtest", "day"),
    }


@contextmanager
def listening(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """Yield a list that every statement with its parameters is put into."""
    heard: list[tuple[str, Any]] = []

    def hear(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.split(None, 1)[0] in ("SELECT", "UPDATE", "DELETE") and not many:
            heard.append((statement, parameters))

    sa.event.listen(database.engine, "before_cursor_execute", hear)
    yield heard
    sa.event.remove(database.engine, "before_cursor_execute", hear)


def scans(database: Database, statement: str, parameters: Any, by_cost: bool) -> list[str]:
    """Return the steps of the plan that read a whole table; `by_cost` False asks PostgreSQL for an index at any price.

    A small table is read whole there, and rightly.
    """
    with database.engine.connect() as connection:
        if database.url.get_backend_name() == "sqlite":
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            # A whole index in order, for a few of its first rows, is no scan; a table without one is.
            return [row[3] for row in plan if row[3].startswith("SCAN") and "USING" not in row[3] and _real(row[3])]
        connection.exec_driver_sql(f"SET LOCAL enable_seqscan = {'on' if by_cost else 'off'}")
        answer = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar()
    plan = answer if isinstance(answer, list) else json.loads(str(answer))
    return [f"Seq Scan on {name}" for name in _sequential(plan[0]["Plan"])]


def _real(step: str) -> bool:
    return not step.split()[1].startswith("(")  # a subquery's own rows


def _sequential(node: dict[str, Any]) -> list[str]:
    found = [node["Relation Name"]] if node["Node Type"] == "Seq Scan" else []
    return found + [name for child in node.get("Plans", ()) for name in _sequential(child)]


def assert_indexed(database: Database, rows: int, by_cost: bool) -> None:
    end = fill(database, rows)
    for name, ask in queries(database, end).items():
        with listening(database) as heard:
            began = time.perf_counter()
            ask()
            seconds = time.perf_counter() - began
        assert heard, name
        for statement, parameters in heard:
            found = scans(database, statement, parameters, by_cost)
            if by_cost and database.url.get_backend_name() == "postgresql":  # the other tables are small
                found = [step for step in found if step.rsplit(" ", 1)[1] in LARGE]
            assert not found, f"{name}: {found} in {statement}"
        if by_cost:
            print(f"{database.url.get_backend_name()} {name}: {seconds * 1000:.1f} ms")


def test_every_query_finds_its_rows_by_an_index(database: Database) -> None:
    assert_indexed(database, 20_000, by_cost=False)


@pytest.mark.deep
def test_every_query_finds_its_rows_by_an_index_among_a_million_forecasts(database: Database) -> None:
    assert_indexed(database, 1_000_000, by_cost=True)
