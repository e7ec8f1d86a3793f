"""New bars come in by themselves: the inbox, the sensor on imports, months on demand, the age of the last bar."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from fxgpt_core.market.history import load_candles
from fxgpt_core.store.clock import FixedClock
from fxgpt_pipeline.definitions import build_definitions
from fxgpt_pipeline.defs.ingestion import FRESHNESS_JOB, INBOX_JOB, REFRESH_JOB
from fxgpt_pipeline.defs.market import FRESH
from fxgpt_pipeline.refreshing import awaits_bars
from fxgpt_pipeline.runs import CAUSE_TAG, stale_stages
from fxgpt_pipeline.stages import CANDLES
from fxgpt_pipeline.workspace import Workspace
from tests.pipeline.small_home import SYMBOL, SmallHome, empty_home, later_bars, quiet_bars, write_csv

CANDLES_KEY = dg.AssetKey(CANDLES)


class Watch:
    """A daemon by hand: evaluates sensors and runs what they ask for, in this process."""

    def __init__(self, home: SmallHome, instance: dg.DagsterInstance) -> None:
        self.home, self.instance = home, instance
        self.clock = FixedClock(datetime.now(UTC) + timedelta(minutes=1))
        self.workspace = Workspace(home.home, home.configs, self.clock)
        self.definitions = build_definitions(self.workspace)
        self.repository = self.definitions.get_repository_def()

    def sensor(self, name: str) -> list[dg.RunRequest] | str:
        """Evaluate a sensor; its requests, or why it asks for nothing."""
        with dg.build_sensor_context(
            instance=self.instance, resources={"workspace": self.workspace}, repository_def=self.repository
        ) as context:
            data = self.repository.get_sensor_def(name).evaluate_tick(context)
        return list(data.run_requests) if data.run_requests else str(data.skip_message)

    def run(self, job: str, request: dg.RunRequest | None = None, **options: Any) -> dg.ExecuteInProcessResult:
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=request.partition_key if request else options.pop("partition_key", None),
            tags={**request.tags} if request else None,
            raise_on_error=False,
            **options,
        )

    def obey(self, name: str, job: str) -> dg.ExecuteInProcessResult:
        """Run the one request of a sensor."""
        requests = self.sensor(name)
        assert isinstance(requests, list), requests
        assert len(requests) == 1
        return self.run(job, requests[0])

    def drop(self, name: str, text: str) -> Path:
        path = self.home.home.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    home = empty_home(tmp_path).enter(monkeypatch)
    home.home.create()
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield Watch(home, instance)


def _csv(folder: Path, candles: Any, name: str = f"{SYMBOL}_mid.csv") -> str:
    return write_csv(candles, folder / name).read_text()


def _rows(watch: Watch) -> int:
    return len(load_candles(watch.workspace.lake, SYMBOL, "1h"))


def test_a_file_in_the_inbox_becomes_candles_by_two_sensors(watch: Watch, tmp_path: Path) -> None:
    assert "is empty" in str(watch.sensor("inbox"))
    watch.drop(f"{SYMBOL}_mid.csv", _csv(tmp_path, quiet_bars()))
    assert watch.obey("inbox", INBOX_JOB).success
    assert (watch.home.home.inbox / "done" / f"{SYMBOL}_mid.csv").exists()
    done = watch.obey("imported_bars", REFRESH_JOB)
    assert done.success
    assert _rows(watch) == len(quiet_bars())
    assert watch.sensor("imported_bars") == "Nothing new."
    watch.drop(f"{SYMBOL}_mid.csv", _csv(tmp_path, later_bars(30)))
    assert watch.obey("inbox", INBOX_JOB).success
    assert watch.obey("imported_bars", REFRESH_JOB).success
    assert _rows(watch) == len(quiet_bars()) + 30


def test_a_bad_file_is_rejected_and_the_others_are_imported(watch: Watch, tmp_path: Path) -> None:
    watch.drop("a_bad.csv", "no,table\n")
    watch.drop(f"{SYMBOL}_mid.csv", _csv(tmp_path, quiet_bars()))
    result = watch.obey("inbox", INBOX_JOB)
    assert result.success
    assert result.output_for_node("import_inbox") == {"files": 2}
    assert (watch.home.home.inbox / "rejected" / "a_bad.csv.reason.txt").read_text().strip()
    assert watch.sensor("inbox") == f"{watch.home.home.inbox} is empty."


def test_an_import_that_was_killed_is_started_again_but_not_for_ever(watch: Watch) -> None:
    watch.drop(f"{SYMBOL}_mid.csv", "anything")
    keys = []
    for _ in range(3):
        requests = watch.sensor("inbox")
        assert isinstance(requests, list)
        keys.append(requests[0].run_key)
        job = watch.definitions.resolve_job_def(INBOX_JOB)
        run = watch.instance.create_run_for_job(job, tags={CAUSE_TAG: str(keys[-1])})
        assert "running" in str(watch.sensor("inbox"))
        watch.instance.report_run_failed(run, "killed")
    assert len(set(keys)) == 3
    assert "a person must look" in str(watch.sensor("inbox"))


def test_a_changed_setting_awaits_candles_as_new_bars_do(watch: Watch, tmp_path: Path) -> None:
    watch.drop(f"{SYMBOL}_mid.csv", _csv(tmp_path, quiet_bars()))
    watch.obey("inbox", INBOX_JOB)
    watch.obey("imported_bars", REFRESH_JOB)
    watch.home.configure("pipeline.yaml", {"quality": {"stale_bars": 20}})
    assert isinstance(watch.sensor("imported_bars"), list)


def test_months_of_the_launchpad_are_made_again(watch: Watch, tmp_path: Path) -> None:
    watch.drop(f"{SYMBOL}_mid.csv", _csv(tmp_path, quiet_bars()))
    watch.obey("inbox", INBOX_JOB)
    watch.obey("imported_bars", REFRESH_JOB)
    config = {"ops": {"market__candles": {"config": {"months": ["2024-03"]}}}}
    result = watch.run(REFRESH_JOB, partition_key=SYMBOL, run_config=config)
    assert result.success
    metadata = result.asset_materializations_for_node("market__candles")[0].metadata
    assert metadata["months_written"].value == {"4h": 1}
    assert "data:image/png;base64," in str(metadata["prices"].value)
    assert "data quality" in Path(str(metadata["quality_page"].value)).read_text()
    wrong = {"ops": {"market__candles": {"config": {"months": ["2024-3"]}}}}
    assert not watch.run(REFRESH_JOB, partition_key=SYMBOL, run_config=wrong).success


def test_the_age_of_the_last_bar_is_judged_where_bars_should_come(watch: Watch, tmp_path: Path) -> None:
    watch.drop(f"{SYMBOL}_mid.csv", _csv(tmp_path, quiet_bars()))
    watch.obey("inbox", INBOX_JOB)
    watch.obey("imported_bars", REFRESH_JOB)

    def judged() -> dg.AssetCheckEvaluation:
        assert watch.run(FRESHNESS_JOB).success
        key = dg.AssetCheckKey(CANDLES_KEY, FRESH)
        stored = watch.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)[0].event
        assert stored is not None
        assert stored.dagster_event is not None
        evaluation = stored.dagster_event.asset_check_evaluation_data
        assert evaluation.partition == SYMBOL
        return evaluation

    assert judged().passed
    assert "not judged, source import" in str(judged().description)
    watch.home.configure(f"assets/{SYMBOL}.yaml", {"overrides": {"freshness": {"files": True}}})
    watch.workspace = Workspace(watch.home.home, watch.home.configs, watch.clock)
    watch.definitions = build_definitions(watch.workspace)
    late = judged()
    assert not late.passed
    assert late.severity == dg.AssetCheckSeverity.WARN
    last = quiet_bars().known_at[-1].astype("datetime64[s]").item().replace(tzinfo=UTC)
    watch.clock.advance(last + timedelta(hours=2) - watch.clock.now())
    assert judged().passed
    watch.clock.advance(timedelta(hours=2))
    assert not judged().passed


def test_the_schedule_leaves_bars_from_files_alone(watch: Watch) -> None:
    with dg.build_schedule_context(
        instance=watch.instance,
        scheduled_execution_time=datetime(2024, 6, 3, tzinfo=UTC),
        resources={"workspace": watch.workspace},
        repository_def=watch.repository,
    ) as context:
        data = watch.repository.get_schedule_def("refresh_candles").evaluate_tick(context)
    assert f"{SYMBOL}: bars come from files" in str(data.skip_message)


@pytest.fixture
def fetched(watch: Watch) -> Watch:
    """A pair whose bars come from a (simulated) remote market, on the afternoon of 4 March 2024."""
    remote = {"source": "simulator", "since": "2024-02-01", "provider": {"seed": 5, "since": "2024-01-01"}}
    watch.home.configure(f"assets/{SYMBOL}.yaml", {**remote, "price_side": "mid"})
    watch.clock = FixedClock(datetime(2024, 3, 4, 15, 20, tzinfo=UTC))
    watch.workspace = Workspace(watch.home.home, watch.home.configs, watch.clock)
    watch.definitions = build_definitions(watch.workspace)
    watch.repository = watch.definitions.get_repository_def()
    return watch


def _scheduled(watch: Watch) -> dg.RunRequest:
    with dg.build_schedule_context(
        instance=watch.instance,
        scheduled_execution_time=watch.clock.now(),
        resources={"workspace": watch.workspace},
        repository_def=watch.repository,
    ) as context:
        requests = watch.repository.get_schedule_def("refresh_candles").evaluate_tick(context).run_requests
    assert requests is not None
    assert len(requests) == 1
    return requests[0]


def _facts(result: dg.ExecuteInProcessResult) -> Any:
    return result.asset_materializations_for_node("market__candles")[0].metadata["fetched"].value


def test_the_schedule_fetches_what_has_closed_since_and_nothing_twice(fetched: Watch) -> None:
    first = _facts(fetched.run(REFRESH_JOB, _scheduled(fetched)))
    assert first["asked"] == [["2024-02-01T00:00:00Z", "2024-03-04T15:00:00Z"]]
    assert load_candles(fetched.workspace.lake, SYMBOL, "1h").known_at[-1] == np.datetime64("2024-03-04T15:00")
    fetched.clock.advance(timedelta(hours=2))
    second = _facts(fetched.run(REFRESH_JOB, _scheduled(fetched)))
    assert second["asked"] == [["2024-03-04T15:00:00Z", "2024-03-04T17:00:00Z"]]
    assert second["answered_bars"] == 2
    assert fetched.sensor("imported_bars") == "Nothing new."


def test_months_of_the_launchpad_are_fetched_again(fetched: Watch) -> None:
    fetched.run(REFRESH_JOB, _scheduled(fetched))
    config = {"ops": {"market__candles": {"config": {"months": ["2024-02"]}}}}
    again = _facts(fetched.run(REFRESH_JOB, partition_key=SYMBOL, run_config=config))
    assert again["asked"][0][0] == "2024-02-01T00:00:00Z"
    assert again["rows_changed"] == 0


def test_a_feed_that_stops_is_noticed(fetched: Watch) -> None:
    fetched.run(REFRESH_JOB, _scheduled(fetched))
    key = dg.AssetCheckKey(CANDLES_KEY, FRESH)
    passed = []
    for hours in (0, 4):
        fetched.clock.advance(timedelta(hours=hours))
        assert fetched.run(FRESHNESS_JOB).success
        stored = fetched.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)[0]
        passed.append(stored.status.value)
    assert passed == ["SUCCEEDED", "FAILED"]


def test_the_command_line_fetches_too_while_bars_are_missing(fetched: Watch) -> None:
    lineage = fetched.workspace.lineage(SYMBOL)
    assert awaits_bars(lineage)
    fetched.run(REFRESH_JOB, _scheduled(fetched))
    assert not awaits_bars(lineage)
    fetched.clock.advance(timedelta(hours=1))
    assert awaits_bars(lineage)
    assert CANDLES in stale_stages(fetched.workspace.lineage(SYMBOL), fetched.instance)
