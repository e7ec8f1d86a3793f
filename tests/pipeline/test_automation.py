"""The schedule and the drift sensor, evaluated over an instance with recorded trainings and verdicts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fxgpt_core.store.audit import finish_retraining, record_retraining
from fxgpt_core.store.clock import FixedClock
from fxgpt_core.store.migrate import upgrade
from fxgpt_pipeline.cli.main import run
from fxgpt_pipeline.definitions import build_definitions
from fxgpt_pipeline.runs import CAUSE_TAG, PROCESS_TAG
from fxgpt_pipeline.stages import DRIFT
from fxgpt_pipeline.workspace import Workspace
from tests.pipeline.small_home import SYMBOL, SmallHome, empty_home

TRAINED = datetime(2024, 6, 3, 22, tzinfo=UTC)


class Daemon:
    """What the daemon does between two ticks: the clock moves, cursors are kept, used run keys are dropped."""

    def __init__(self, home: SmallHome, instance: dg.DagsterInstance) -> None:
        self.clock = FixedClock(TRAINED)
        self.workspace = Workspace(home.home, home.configs, self.clock)
        self.instance = instance
        self.repository = build_definitions(self.workspace).get_repository_def()
        self.cursor: str | None = None

    def tick_schedule(self, after: timedelta) -> dg.RunRequest | str:
        """Evaluate the schedule at a time after the training; returns its request or why it asks for nothing."""
        schedule = self.repository.get_schedule_def(f"retrain_{SYMBOL.lower()}")
        with dg.build_schedule_context(
            instance=self.instance,
            scheduled_execution_time=TRAINED + after,
            resources={"workspace": self.workspace},
            repository_def=self.repository,
        ) as context:
            data = schedule.evaluate_tick(context)
        return data.run_requests[0] if data.run_requests else str(data.skip_message)

    def tick_sensor(self, after: timedelta) -> list[dg.RunRequest]:
        """Evaluate the drift sensor at a time after the training."""
        self.clock.advance(TRAINED + after - self.clock.now())
        sensor = self.repository.get_sensor_def("drift_retraining")
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            resources={"workspace": self.workspace},
            repository_def=self.repository,
        ) as context:
            data = sensor.evaluate_tick(context)
        self.cursor = data.cursor
        return list(data.run_requests or [])

    def verdict(
        self, window_end: str, *, drifted: bool, onset: bool, symbol: str = SYMBOL, judged_at: str | None = None
    ) -> None:
        """Record a drift verdict as the asset does."""
        metadata: dict[str, Any] = {"drifted": drifted, "onset": onset, "window_end": window_end, "summary": "as if"}
        metadata |= {"judged_at": judged_at} if judged_at else {}
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization(dg.AssetKey(DRIFT), partition=symbol, metadata=metadata)
        )

    @property
    def pending(self) -> dict[str, Any]:
        return dict(json.loads(self.cursor or "{}")["pending"])


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    home = empty_home(tmp_path).enter(monkeypatch)
    home.configure(f"assets/{SYMBOL}.yaml", {"overrides": {"retraining": {"every_days": 14, "cooldown_hours": 24}}})
    home.configure(
        "assets/USDJPY.yaml", {"symbol": "USDJPY", "enabled": False, "timeframes": ["1h"], "horizons": ["1h"]}
    )
    home.home.create()
    upgrade(home.home.database_url)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        made = Daemon(home, instance)
        train(made, TRAINED, "1")
        yield made


def train(daemon: Daemon, at: datetime, version: str, symbol: str = SYMBOL) -> None:
    database = daemon.workspace.database
    record_retraining(database, symbol=symbol, cause=f"training:{version}", at=at)
    finish_retraining(database, symbol=symbol, cause=f"training:{version}", status="done", dagster_run_id=version)


def running(daemon: Daemon, symbol: str) -> None:
    """Let a retraining of `symbol` be under way."""
    job = daemon.repository.get_job("retrain")
    daemon.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": symbol})


def test_schedule_waits_until_the_models_are_old(daemon: Daemon) -> None:
    said = daemon.tick_schedule(timedelta(days=1))
    assert isinstance(said, str)
    assert "trained 1.0 days ago" in said
    request = daemon.tick_schedule(timedelta(days=15))
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == SYMBOL
    assert request.run_key == f"schedule:{SYMBOL}:2024-06-18"
    assert request.tags[CAUSE_TAG] == request.run_key
    assert "15.0 days ago" in request.tags["fxgpt/reason"]


def test_schedule_asks_again_only_after_another_fortnight(daemon: Daemon) -> None:
    train(daemon, TRAINED + timedelta(days=15), "2")
    assert isinstance(daemon.tick_schedule(timedelta(days=16)), str)
    assert isinstance(daemon.tick_schedule(timedelta(days=29)), dg.RunRequest)


def test_schedule_starts_nothing_beside_a_running_retraining(daemon: Daemon) -> None:
    running(daemon, "USDJPY")
    assert isinstance(daemon.tick_schedule(timedelta(days=15)), dg.RunRequest)
    running(daemon, SYMBOL)
    said = daemon.tick_schedule(timedelta(days=15))
    assert isinstance(said, str)
    assert "running already" in said


def test_schedule_starts_nothing_beside_a_command_of_a_person_unless_that_was_killed(daemon: Daemon) -> None:
    tags = {"dagster/partition": SYMBOL, PROCESS_TAG: f"{os.uname().nodename}:{os.getpid()}:0"}  # another's number
    job = daemon.repository.get_job("lineage")
    daemon.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
    assert isinstance(daemon.tick_schedule(timedelta(days=15)), dg.RunRequest)
    del tags[PROCESS_TAG]
    daemon.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
    said = daemon.tick_schedule(timedelta(days=15))
    assert isinstance(said, str)
    assert "running already" in said


def test_onset_starts_one_retraining(daemon: Daemon) -> None:
    daemon.verdict("2024-06-06T12:00:00Z", drifted=True, onset=True)
    (request,) = daemon.tick_sensor(timedelta(days=3))
    assert request.partition_key == SYMBOL
    assert request.run_key == f"drift:{SYMBOL}:2024-06-06T12:00:00Z"
    assert request.tags[CAUSE_TAG] == request.run_key
    assert request.tags["fxgpt/reason"] == "Drift began: as if"
    assert daemon.tick_sensor(timedelta(days=3, minutes=5)) == []
    assert daemon.pending == {}


def test_same_window_judged_twice_is_one_cause(daemon: Daemon) -> None:
    daemon.verdict("2024-06-05T12:00:00Z", drifted=True, onset=True)
    (first,) = daemon.tick_sensor(timedelta(days=2))
    daemon.verdict("2024-06-05T12:00:00Z", drifted=True, onset=True)
    assert daemon.tick_sensor(timedelta(days=2, minutes=5)) == []
    assert first.run_key == f"drift:{SYMBOL}:2024-06-05T12:00:00Z"
    daemon.verdict("2024-06-20T12:00:00Z", drifted=True, onset=True)
    (later,) = daemon.tick_sensor(timedelta(days=17))
    assert later.run_key != first.run_key, "a later onset is another cause"


@pytest.mark.parametrize(("drifted", "onset"), [(False, False), (True, False)], ids=["calm", "drift goes on"])
def test_verdict_without_onset_starts_nothing(daemon: Daemon, drifted: bool, onset: bool) -> None:
    daemon.verdict("2024-06-06T12:00:00Z", drifted=drifted, onset=onset)
    assert daemon.tick_sensor(timedelta(days=3)) == []
    assert daemon.pending == {}


def test_an_onset_that_the_last_training_has_seen_is_answered_by_the_clock_of_both(daemon: Daemon) -> None:
    daemon.verdict("2024-06-03", drifted=True, onset=True, judged_at=(TRAINED - timedelta(hours=1)).isoformat())
    assert daemon.tick_sensor(timedelta(days=3)) == []
    daemon.verdict("2024-06-06", drifted=True, onset=True, judged_at=(TRAINED + timedelta(days=3)).isoformat())
    assert len(daemon.tick_sensor(timedelta(days=3, hours=1))) == 1


@pytest.mark.parametrize("then", [None, False, True], ids=["nothing", "calm", "drift goes on"])
def test_onset_during_cooldown_is_kept_until_it_may_fire(daemon: Daemon, then: bool | None) -> None:
    daemon.verdict("2024-06-04T10:00:00Z", drifted=True, onset=True)
    assert daemon.tick_sensor(timedelta(hours=12)) == []
    assert list(daemon.pending) == [SYMBOL]
    if then is not None:
        daemon.verdict("2024-06-04T16:00:00Z", drifted=then, onset=False)
    assert daemon.tick_sensor(timedelta(hours=23)) == []
    (request,) = daemon.tick_sensor(timedelta(hours=25))
    assert request.run_key == f"drift:{SYMBOL}:2024-06-04T10:00:00Z"
    assert daemon.tick_sensor(timedelta(hours=26)) == []


def test_onset_during_a_retraining_is_kept(daemon: Daemon) -> None:
    running(daemon, SYMBOL)
    daemon.verdict("2024-06-06T12:00:00Z", drifted=True, onset=True)
    assert daemon.tick_sensor(timedelta(days=3)) == []
    (run,) = daemon.instance.get_runs()
    daemon.instance.report_run_canceled(run)
    assert len(daemon.tick_sensor(timedelta(days=3, minutes=5))) == 1


@pytest.mark.parametrize("symbol", ["AUDUSD", "USDJPY"], ids=["removed", "switched off"])
def test_onset_of_a_symbol_that_is_not_worked_on_is_ignored(daemon: Daemon, symbol: str) -> None:
    train(daemon, TRAINED, "1", symbol)
    daemon.verdict("2024-06-06T12:00:00Z", drifted=True, onset=True, symbol=symbol)
    daemon.verdict("2024-06-06T12:00:00Z", drifted=True, onset=True)
    assert [request.partition_key for request in daemon.tick_sensor(timedelta(days=3))] == [SYMBOL]
    assert daemon.pending == {}


def test_nobody_retrains_what_was_never_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = empty_home(tmp_path).enter(monkeypatch)
    home.home.create()
    upgrade(home.home.database_url)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        daemon = Daemon(home, instance)
        daemon.verdict("2024-06-06T12:00:00Z", drifted=True, onset=True)
        assert daemon.tick_sensor(timedelta(days=3)) == []
        assert "There is no model yet" in str(daemon.tick_schedule(timedelta(days=15)))


def test_more_verdicts_than_one_page_are_all_read(daemon: Daemon) -> None:
    daemon.verdict("2024-06-06T00:00:00Z", drifted=True, onset=True)
    for _ in range(120):
        daemon.verdict("2024-06-06T01:00:00Z", drifted=False, onset=False)
    requests = [*daemon.tick_sensor(timedelta(days=3)), *daemon.tick_sensor(timedelta(days=3, minutes=5))]
    assert len(requests) == 1
    daemon.verdict("2024-06-07T00:00:00Z", drifted=True, onset=True)
    assert len(daemon.tick_sensor(timedelta(days=4))) == 1


def test_failed_retraining_is_tried_again_and_not_for_ever(daemon: Daemon) -> None:
    daemon.verdict("2024-06-05T12:00:00Z", drifted=True, onset=True)
    keys = []
    for day in range(2, 12):
        for asked in daemon.tick_sensor(timedelta(days=day)):
            keys.append(asked.run_key)
            job = daemon.repository.get_job("retrain")
            tags = {**asked.tags, "dagster/partition": SYMBOL}
            daemon.instance.create_run_for_job(job, status=dg.DagsterRunStatus.FAILURE, tags=tags)
    cause = f"drift:{SYMBOL}:2024-06-05T12:00:00Z"
    assert keys == [cause, f"{cause}:attempt2", f"{cause}:attempt3"]


def test_a_crashed_retraining_that_dagster_will_resume_is_not_started_a_second_time(daemon: Daemon) -> None:
    daemon.verdict("2024-06-05T12:00:00Z", drifted=True, onset=True)
    (asked,) = daemon.tick_sensor(timedelta(days=2))
    tags = {**asked.tags, "dagster/partition": SYMBOL, "dagster/will_retry": "true"}
    job = daemon.repository.get_job("retrain")
    daemon.instance.create_run_for_job(job, status=dg.DagsterRunStatus.FAILURE, tags=tags)
    assert daemon.tick_sensor(timedelta(days=3)) == []
    tags |= {"dagster/will_retry": "false"}
    daemon.instance.create_run_for_job(job, status=dg.DagsterRunStatus.FAILURE, tags=tags)
    (again,) = daemon.tick_sensor(timedelta(days=4))
    assert again.run_key == f"{asked.run_key}:attempt2"


def test_age_alone_is_left_to_the_schedule(daemon: Daemon) -> None:
    daemon.verdict("2024-06-18T12:00:00Z", drifted=False, onset=False)
    assert daemon.tick_sensor(timedelta(days=15)) == []


def test_the_command_says_what_the_rule_would_do_with_the_newest_verdict(
    daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["retrain", SYMBOL, "--why"]) == 0
    assert "last drift verdict: none" in capsys.readouterr().out
    with dg.DagsterInstance.get() as daemon.instance:  # that of the command's own home
        daemon.verdict("2100-01-01T00:00:00Z", drifted=False, onset=False)
        daemon.verdict("2100-01-08T00:00:00Z", drifted=True, onset=True)
    assert run(["retrain", SYMBOL, "--why"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{SYMBOL}: retrain\n  because: Drift began: as if\n")
    assert "cooldown 24 h" in said
    assert run(["retrain", SYMBOL, "--why", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["evidence"]["drift"]["cause"] == "2100-01-08T00:00:00Z"
