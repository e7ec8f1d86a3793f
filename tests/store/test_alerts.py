"""The outbox of alerts on both kinds of server: once a cause, delivered per channel, tries counted."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from fxgpt_core.store.alerts import (
    FAILING,
    GIVEN_UP,
    SENT,
    Alert,
    alerts_between,
    deliveries,
    messages_since,
    record_alert,
    record_delivery,
    undelivered,
)
from fxgpt_core.store.database import Database

NOON = datetime(2024, 3, 8, 12, tzinfo=UTC)
HOURS = timedelta(hours=6)
ALL = ("info", "warning", "error")


def alert(cause: str = "one", minutes: float = 0, symbol: str = "EURUSD", severity: str = "error") -> Alert:
    return Alert("failed_run", symbol, cause, severity, f"{cause} failed", "why", NOON + timedelta(minutes=minutes))


def test_one_cause_is_one_alert_however_often_and_from_wherever_it_is_recorded(database: Database) -> None:
    new: list[bool] = []
    writers = [threading.Thread(target=lambda: new.append(record_alert(database, alert(), HOURS))) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(new) == [False, False, False, True]
    (row,) = alerts_between(database, NOON - HOURS, NOON)
    assert (row.title, row.at, row.repeated) == ("one failed", NOON, False)


def test_more_of_the_same_within_hours_is_repeated_but_not_of_another_symbol_or_later(database: Database) -> None:
    for each in (alert("a"), alert("b", 60), alert("c", 60, "GBPUSD"), alert("d", 361)):
        assert record_alert(database, each, HOURS)
    repeated = {row.cause: row.repeated for row in alerts_between(database, NOON - HOURS, NOON + 2 * HOURS)}
    assert repeated == {"a": False, "b": True, "c": False, "d": False}
    assert [row.cause for row in undelivered(database, "mail", ALL, NOON)] == ["a", "c", "d"]


def test_what_a_channel_took_it_is_not_given_again_and_what_failed_it_is(database: Database) -> None:
    for cause in ("a", "b", "c"):
        record_alert(database, alert(cause), timedelta(0))
    rows = {row.cause: row.id for row in undelivered(database, "mail", ALL, NOON)}
    record_delivery(database, [rows["a"]], "mail", SENT, NOON)
    record_delivery(database, [rows["b"]], "mail", FAILING, NOON, "no route")
    record_delivery(database, [rows["b"]], "mail", FAILING, NOON + timedelta(minutes=1), "no route")
    record_delivery(database, [rows["c"]], "mail", GIVEN_UP, NOON, "too old")
    assert [row.cause for row in undelivered(database, "mail", ALL, NOON)] == ["b"]
    assert [row.cause for row in undelivered(database, "desk", ALL, NOON)] == ["a", "b", "c"]
    found = deliveries(database, list(rows.values()), "mail")[(rows["b"], "mail")]
    assert (found.tries, found.status, found.problem) == (2, FAILING, "no route")


def test_severity_and_age_decide_what_is_found(database: Database) -> None:
    record_alert(database, alert("mild", severity="info"), HOURS)
    record_alert(database, alert("old", -120, "GBPUSD"), HOURS)
    assert [row.cause for row in undelivered(database, "mail", ALL, NOON)] == ["mild"]
    assert [row.cause for row in undelivered(database, "mail", ("warning", "error"), NOON - HOURS)] == ["old"]


def test_alerts_that_left_together_are_one_message(database: Database) -> None:
    for cause in ("a", "b", "c"):
        record_alert(database, alert(cause), timedelta(0))
    ids = [row.id for row in undelivered(database, "mail", ALL, NOON)]
    record_delivery(database, ids[:2], "mail", SENT, NOON)
    record_delivery(database, ids[2:], "mail", SENT, NOON + timedelta(microseconds=1))
    assert messages_since(database, "mail", NOON - timedelta(hours=1)) == 2
    assert messages_since(database, "mail", NOON + timedelta(seconds=1)) == 0
    assert messages_since(database, "desk", NOON - timedelta(hours=1)) == 0
