"""Alerts: limits, tries, digests, what the audit says; a real SMTP and a real webhook conversation."""

from __future__ import annotations

import email
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import policy
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from fxgpt_core.common.errors import ConfigError
from fxgpt_core.lifecycle.alerts.channels import Channel, DeliveryError, open_channels
from fxgpt_core.lifecycle.alerts.config import AlertsConfig, load_alerts
from fxgpt_core.lifecycle.alerts.delivery import deliver
from fxgpt_core.lifecycle.alerts.digest import due_digest, last_due
from fxgpt_core.lifecycle.alerts.news import audited_news
from fxgpt_core.store.alerts import SENT, Alert, alerts_between, deliveries, record_alert
from fxgpt_core.store.audit import finish_retraining, record_decision, record_promotion, record_retraining
from fxgpt_core.store.database import Database
from fxgpt_core.store.migrate import upgrade

NOON = datetime(2024, 3, 7, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


class Box:
    """A channel that keeps what it is given, or refuses it."""

    def __init__(self, refuses: bool = False) -> None:
        self.refuses, self.tries, self.got = refuses, 0, list[tuple[str, str, str]]()

    def send(self, title: str, body: str, severity: str) -> None:
        self.tries += 1
        if self.refuses:
            raise DeliveryError("no route")
        self.got.append((title, body, severity))

    @property
    def titles(self) -> list[str]:
        return [title for title, _, _ in self.got]


def config(**values: Any) -> AlertsConfig:
    names = values.pop("names", ("mail",))
    channels = {name: {"url_from": "TEST_URL", **values.pop(name, {})} for name in names}
    return AlertsConfig(channels=channels, **values)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'fxgpt.db'}"
    upgrade(url)
    made = Database(url)
    yield made
    made.close()


def put(database: Database, cause: str, severity: str = "error", kind: str = "failed_run", at: datetime = NOON) -> None:
    assert record_alert(database, Alert(kind, "EURUSD", cause, severity, cause, "why", at), timedelta(0))


def send(database: Database, box: Channel, settings: AlertsConfig, now: datetime = NOON) -> Any:
    return deliver(database, {"mail": box}, settings, now)["mail"]


def test_each_alert_is_sent_once_with_its_moment(database: Database) -> None:
    put(database, "broken")
    box = Box()
    assert send(database, box, config()).sent == 1
    assert send(database, box, config()).sent == 0
    assert box.got == [("broken", "why\n\n2024-03-07 12:00 UTC", "error")]


def test_a_channel_hears_from_its_severity_on_and_of_digests_only_where_asked(database: Database) -> None:
    for severity in ("info", "warning", "error"):
        put(database, severity, severity)
    put(database, "day", "info", kind="digest")
    strict, mild = Box(), Box()
    settings = config(names=("strict", "mild"), strict={"least": "error", "digests": False}, mild={"least": "info"})
    deliver(database, {"strict": strict, "mild": mild}, settings, NOON)
    assert strict.titles == ["error"]
    assert sorted(mild.titles) == ["day", "error", "info", "warning"]


def test_beyond_the_hourly_limit_alerts_leave_together_the_mildest_last(database: Database) -> None:
    for number in range(5):
        put(database, f"mild {number}", "warning")
    put(database, "grave", "error")
    box, settings = Box(), config(at_most_per_hour=3)
    done = send(database, box, settings)
    assert (done.sent, done.messages, done.waiting) == (6, 3, 0)
    assert box.titles == ["grave", "mild 0", "fxgpt: 4 alerts at once"]
    assert all(f"mild {number}" in box.got[-1][1] for number in (1, 2, 3, 4))
    put(database, "late")
    assert send(database, box, settings, NOON + MINUTE).waiting == 1  # the hour's three are spent
    assert send(database, box, settings, NOON + HOUR + MINUTE).sent == 1


def test_a_failing_channel_is_tried_more_and_more_rarely_and_keeps_no_other_waiting(database: Database) -> None:
    put(database, "broken")
    down, up = Box(refuses=True), Box()
    settings = config(names=("down", "up"))
    for minute in range(16):
        deliver(database, {"down": down, "up": up}, settings, NOON + minute * MINUTE)
    assert down.tries == 5  # after 0, 1, 3, 7 and 15 minutes
    assert up.titles == ["broken"]
    down.refuses = False
    assert deliver(database, {"down": down}, settings, NOON + 40 * MINUTE)["down"].sent == 1
    assert down.titles == ["broken"]


def test_what_is_too_old_is_given_up_and_the_list_says_so(database: Database) -> None:
    put(database, "broken")
    box = Box()
    assert send(database, box, config(give_up_after_hours=2), NOON + 3 * HOUR).sent == 0
    (row,) = alerts_between(database, NOON - HOUR, NOON)
    assert deliveries(database, [row.id])[(row.id, "mail")].status == "given_up"
    assert send(database, box, config(give_up_after_hours=20), NOON + 3 * HOUR).sent == 0


def test_a_kill_between_sending_and_recording_repeats_a_message_and_loses_none(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, "broken")
    box = Box()
    with monkeypatch.context() as patch:
        patch.setattr("fxgpt_core.lifecycle.alerts.delivery.record_delivery", _killed)
        with pytest.raises(KeyboardInterrupt):
            send(database, box, config())
    send(database, box, config())
    send(database, box, config())
    assert box.titles == ["broken", "broken"]


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt


def test_promotions_rollbacks_and_retrainings_are_told_from_their_rows(database: Database) -> None:
    def move(version: str, before: str | None, what: str, alias: str = "champion") -> None:
        record_promotion(database, symbol="EURUSD", alias=alias, from_version=before, to_version=version, at=NOON,
                         evidence={"what": what, "reasons": ["Better by 1 %."]})  # fmt: skip

    move("1", None, "champion")
    move("2", None, "shadow", "shadow")
    move("2", "1", "champion")
    move("1", "2", "rollback")
    record_retraining(database, symbol="EURUSD", cause="drift:1", at=NOON)
    first = list(audited_news(database, NOON - HOUR, NOON))
    finish_retraining(database, symbol="EURUSD", cause="drift:1", status="failed", dagster_run_id="abc")
    second = list(audited_news(database, NOON - HOUR, NOON))
    assert [(alert.kind, alert.severity) for alert in first] == [
        ("promoted", "info"), ("shadow", "info"), ("promoted", "info"), ("rolled_back", "warning"),
        ("retraining_started", "info"),
    ]  # fmt: skip
    assert first[3].title == "EURUSD: rolled back to version 1 instead of 2"
    assert first[3].body == "Better by 1 %."
    assert second[:4] == first[:4]
    assert (second[4].kind, second[4].severity) == ("retraining_failed", "error")
    assert second[4].cause != first[4].cause
    assert list(audited_news(database, NOON, NOON + HOUR)) == []


def test_a_shadow_that_is_archived_is_told_with_its_reasons_and_one_that_waits_is_not(database: Database) -> None:
    for what in ("wait", "archive"):
        record_decision(
            database, kind="shadow", symbol="EURUSD", what=what, reasons=["It is worse."], at=NOON, cause=what
        )
    (told,) = audited_news(database, NOON - HOUR, NOON)
    assert (told.kind, told.title, told.body) == ("shadow", "EURUSD: the shadow is archived", "It is worse.")
    assert list(audited_news(database, NOON, NOON + HOUR)) == []


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2024-03-07T22:04", "2024-03-06T22:05"),  # 17:04 in New York's winter
        ("2024-03-07T22:05", "2024-03-07T22:05"),
        ("2024-03-11T21:05", "2024-03-11T21:05"),  # summer time since the tenth
        ("2024-03-11T21:04", "2024-03-10T21:05"),
    ],
)
def test_digests_are_due_by_the_clock_of_new_york(now: str, due: str) -> None:
    last = last_due(AlertsConfig(), datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert last.astimezone(UTC) == datetime.fromisoformat(due).replace(tzinfo=UTC)


def test_a_digest_counts_what_was_told_repeated_and_not_delivered(database: Database) -> None:
    record_promotion(database, symbol="EURUSD", alias="champion", from_version=None, to_version="3", at=NOON)
    for cause in ("a", "b"):
        record_alert(database, Alert("failed_run", "EURUSD", cause, "error", f"run {cause}", "", NOON), HOUR)
    send(database, Box(refuses=True), config())
    daily = due_digest(database, AlertsConfig(weekly_on="monday"), NOON + 12 * HOUR)
    assert (daily.cause, daily.title) == ("daily:2024-03-07", "fxgpt: daily digest of 2024-03-07")
    for text in ("EURUSD  version 3", "Alerts (failed_run 2)", "run a", "run b", "mail: 1 not delivered. no route"):
        assert text in daily.body
    assert "No alerts." in due_digest(database, AlertsConfig(weekly_on="monday"), NOON + 36 * HOUR).body
    weekly = due_digest(database, AlertsConfig(weekly_on="friday"), NOON + 36 * HOUR)
    assert weekly.cause == "weekly:2024-03-08"
    assert "failed_run 2" in weekly.body


def test_a_wrong_address_or_none_is_one_sentence_and_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_URL", raising=False)
    channels, problems = open_channels(config())
    assert list(channels) == ["log"]
    assert problems == ["Alert channel mail has no address: set TEST_URL, or TEST_URL_FILE to a file with it."]
    monkeypatch.setenv("TEST_URL", "nonsense://secret")
    channels, problems = open_channels(config())
    assert "holds no address that Apprise knows" in problems[0]
    assert "secret" not in problems[0]


def test_a_wrong_file_names_file_and_key(tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_text("at_most_per_hour: 0\n")
    with pytest.raises(ConfigError, match=r"alerts\.yaml.*at_most_per_hour is 0"):
        load_alerts(tmp_path)
    (tmp_path / "alerts.yaml").write_text("channels: {log: {url_from: X}}\n")
    with pytest.raises(ConfigError, match="name the channel differently"):
        load_alerts(tmp_path)


class _Webhook(BaseHTTPRequestHandler):
    got: list[dict[str, Any]]
    status = 200

    def do_POST(self) -> None:
        type(self).got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class _Smtp(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as a client needs to hand over one message."""

    got: list[str]

    def handle(self) -> None:
        self._say("220 ready")
        while line := self.rfile.readline().decode().strip():
            word = line.split()[0].upper()
            if word == "DATA":
                self._say("354 go on")
                lines = list(iter(lambda: self.rfile.readline().decode(), ".\r\n"))
                type(self).got.append("".join(lines))
            self._say("221 bye" if word == "QUIT" else "250 fine")
            if word == "QUIT":
                return

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@contextmanager
def served(make: Callable[[], socketserver.TCPServer]) -> Iterator[int]:
    with make() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()


def test_a_webhook_gets_title_body_and_kind_and_its_refusal_is_a_problem(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _Webhook.got, _Webhook.status = [], 200
    put(database, "broken")
    with served(lambda: HTTPServer(("127.0.0.1", 0), _Webhook)) as port:
        monkeypatch.setenv("TEST_URL", f"json://user:secret@127.0.0.1:{port}/hook")
        channels, _ = open_channels(config())
        assert send(database, channels["mail"], config()).sent == 1
        _Webhook.status = 500
        put(database, "again")
        done = send(database, channels["mail"], config())
    assert (_Webhook.got[0]["title"], _Webhook.got[0]["type"]) == ("broken", "failure")
    assert _Webhook.got[0]["message"].startswith("why")
    assert (done.sent, done.waiting) == (0, 1)
    assert "500" in done.problem
    assert "secret" not in done.problem


def test_a_mail_arrives_with_subject_and_text(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _Smtp.got = []
    put(database, "broken")
    with served(lambda: socketserver.TCPServer(("127.0.0.1", 0), _Smtp)) as port:
        file = tmp_path / "address"
        file.write_text(f"mailto://127.0.0.1:{port}?from=fxgpt@example.com&to=me@example.com&mode=insecure\n")
        monkeypatch.delenv("TEST_URL", raising=False)
        monkeypatch.setenv("TEST_URL_FILE", str(file))
        channels, problems = open_channels(config())
        assert problems == []
        assert send(database, channels["mail"], config()).sent == 1
    message = email.message_from_string(_Smtp.got[0], policy=policy.default)
    assert (message["Subject"], message["To"]) == ("broken", "me@example.com")
    body = message.get_body(("plain",))
    assert body is not None
    assert "why" in body.get_content()
    (row,) = alerts_between(database, NOON - HOUR, NOON)
    assert deliveries(database, [row.id])[(row.id, "mail")].status == SENT
