"""The sensor of alerts over a home in which things went wrong, and without a database."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from fxgpt_core.store.alerts import alerts_between
from fxgpt_core.store.audit import finish_retraining, last_retraining, record_retraining, retrainings_between
from fxgpt_core.store.clock import FixedClock
from fxgpt_pipeline.definitions import build_definitions
from fxgpt_pipeline.homes import prepare
from fxgpt_pipeline.runs import RETRAIN_JOB
from fxgpt_pipeline.stages import candidate
from fxgpt_pipeline.workspace import Workspace
from tests.pipeline.small_home import SYMBOL, SmallHome, empty_home, quiet_bars


class Watch:
    """The daemon's ticks of the sensor `alerts`, the clock standing a little after the last bar."""

    def __init__(self, home: SmallHome, instance: dg.DagsterInstance) -> None:
        last = quiet_bars().known_at[-1].astype("datetime64[s]").item().replace(tzinfo=UTC)
        self.clock = FixedClock(last + timedelta(hours=1))
        self.home, self.instance, self.cursor = home, instance, ""
        self.workspace = Workspace(home.home, home.configs, self.clock)
        self.repository = build_definitions(self.workspace).get_repository_def()

    def tick(self) -> str:
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            resources={"workspace": self.workspace},
            repository_def=self.repository,
        ) as context:
            data = self.repository.get_sensor_def("alerts").evaluate_tick(context)
        assert not data.run_requests
        self.cursor = data.cursor or ""
        return str(data.skip_message)

    def told(self) -> dict[str, list[str]]:
        """Titles by kind, whatever their age, without digests."""
        far = datetime(2100, 1, 1, tzinfo=UTC)
        rows = alerts_between(self.workspace.database, datetime(2000, 1, 1, tzinfo=UTC), far)
        found: dict[str, list[str]] = {}
        for row in rows:
            found.setdefault(row.kind, []).append(row.title)
        return {kind: sorted(titles) for kind, titles in found.items() if kind != "digest"}


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    home = empty_home(tmp_path / "home").enter(monkeypatch)
    prepare(Workspace(home.home, home.configs))
    with home.instance() as instance:
        yield Watch(home, instance)


def test_a_failed_run_a_retraining_and_silence_of_the_feed_are_told_once(watch: Watch) -> None:
    watch.home.configure("pipeline.yaml", {"freshness": {"files": True}})
    watch.home.bring(quiet_bars())
    record_retraining(watch.workspace.database, symbol=SYMBOL, cause="drift:x", at=watch.clock.now())
    assert "log" in watch.tick()
    assert watch.told() == {"retraining_started": [f"{SYMBOL}: retraining started"]}
    outcome = watch.home.materialise([candidate("ewma")])
    assert not outcome.success  # nothing to train on yet
    watch.clock.advance(timedelta(days=2) - timedelta(hours=1))
    for _ in range(2):
        watch.tick()
    assert watch.told()["stale_data"] == [f"{SYMBOL}: no new bars"]


def test_a_retraining_is_told_when_it_begins(watch: Watch) -> None:
    job, tags = watch.repository.get_job("retrain"), {"dagster/partition": SYMBOL, "fxgpt/reason": "Drift began."}
    watch.clock.advance(datetime.now(UTC) - watch.clock.now())
    run = watch.instance.create_run_for_job(job, tags=tags)
    watch.tick()
    assert "retraining_started" not in watch.told()  # it waits for its turn
    watch.instance.handle_new_event(
        dg.EventLogEntry(
            error_info=None, level=20, user_message="", run_id=run.run_id, timestamp=watch.clock.now().timestamp(),
            job_name="retrain",
            dagster_event=dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, "retrain"),
        )
    )  # fmt: skip
    watch.clock.advance(timedelta(minutes=1))
    for _ in range(2):
        watch.tick()
    assert watch.told()["retraining_started"] == [f"{SYMBOL}: retraining started"]


def test_what_a_failed_run_said_is_in_its_alert(watch: Watch) -> None:
    outcome = watch.home.materialise([candidate("ewma")])
    assert not outcome.success
    run = watch.instance.get_run_by_id(outcome.run_id)
    assert run is not None
    _past(watch, outcome.run_id)
    watch.tick()
    assert watch.told()["failed_run"] == [f"{SYMBOL}: a run of {run.job_name} failed"]
    (row,) = [
        row
        for row in alerts_between(watch.workspace.database, datetime(2000, 1, 1, tzinfo=UTC), watch.clock.now())
        if row.kind == "failed_run"
    ]
    assert "candidates__ewma" in row.body
    assert outcome.run_id in row.body


def _past(watch: Watch, run_id: str) -> None:
    """Set the clock to a minute after a run has ended: Dagster's own times are those of the wall."""
    record = watch.instance.get_run_record_by_id(run_id)
    assert record is not None
    assert record.end_time is not None
    watch.clock.advance(datetime.fromtimestamp(record.end_time, UTC) + timedelta(minutes=1) - watch.clock.now())


def test_a_retraining_that_failed_is_told_by_its_name_and_counts_as_no_training(watch: Watch) -> None:
    outcome = watch.home.materialise([candidate("ewma")], job=RETRAIN_JOB, cause="drift:x")
    assert not outcome.success
    _past(watch, outcome.run_id)
    for _ in range(2):
        watch.tick()
    told, database = watch.told(), watch.workspace.database
    assert told["retraining_failed"] == [f"{SYMBOL}: retraining failed"]
    assert "failed_run" not in told
    everything = alerts_between(database, datetime(2000, 1, 1, tzinfo=UTC), watch.clock.now())
    (row,) = [row for row in everything if row.kind == "retraining_failed"]
    assert row.severity == "error"
    for part in ("Cause: drift:x", "candidates__ewma", "has no bars of it", outcome.run_id):
        assert part in row.body
    (event,) = retrainings_between(database, datetime(2000, 1, 1, tzinfo=UTC), watch.clock.now())
    assert (event.status, event.dagster_run_id) == ("failed", outcome.run_id)
    assert last_retraining(database, SYMBOL) is None


def test_a_retraining_that_failed_behind_its_candidates_is_a_failed_run(watch: Watch) -> None:
    outcome = watch.home.materialise([candidate("ewma")], job=RETRAIN_JOB, cause="drift:x")
    _past(watch, outcome.run_id)
    database, cause = watch.workspace.database, f"drift:x:{outcome.run_id}"
    record_retraining(database, symbol=SYMBOL, cause=cause, at=watch.clock.now())
    finish_retraining(database, symbol=SYMBOL, cause=cause, status="done", dagster_run_id=outcome.run_id)
    watch.tick()
    assert watch.told()["failed_run"] == [f"{SYMBOL}: a run of retrain failed"]
    assert "retraining_failed" not in watch.told()


def test_a_database_that_cannot_be_used_is_told_directly_and_not_every_minute(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FXGPT_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    watch.workspace = Workspace(watch.home.home, watch.home.configs, watch.clock)
    with caplog.at_level(logging.ERROR, logger="fxgpt.alerts"):
        assert "cannot be used" in watch.tick()
        watch.clock.advance(timedelta(minutes=1))
        assert "cannot be used" in watch.tick()
        assert len(caplog.records) == 1
        watch.clock.advance(timedelta(hours=7))
        watch.tick()
    assert [record.message.split(" | ")[0] for record in caplog.records] == [
        "fxgpt: the operational database cannot be used"
    ] * 2
