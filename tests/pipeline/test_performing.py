"""From live forecasts over their outcomes to a verdict, an alert and one retraining, over a materialised home."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import dagster as dg
import pytest
from sqlalchemy import select

from fxgpt_core.lifecycle.alias_moves import SERVING_SINCE
from fxgpt_core.lifecycle.forecast_archive import archive_forecasts
from fxgpt_core.store.alerts import alerts_between
from fxgpt_core.store.audit import last_retraining
from fxgpt_core.store.clock import FixedClock, to_datetime64
from fxgpt_core.store.live_log import forget_outcomes, record_failure
from fxgpt_core.store.models import LiveForecast, PerformanceRow
from fxgpt_pipeline.alerting import tell
from fxgpt_pipeline.cli.main import run
from fxgpt_pipeline.definitions import build_definitions
from fxgpt_pipeline.defs.automation import decide
from fxgpt_pipeline.living import LakeBars, live_loop
from fxgpt_pipeline.performing import DOCUMENT, judge_performance
from fxgpt_pipeline.stages import PERFORMANCE
from fxgpt_pipeline.workspace import Workspace
from tests.pipeline.small_home import SYMBOL, SmallHome, later_bars

BARS = 170


@pytest.fixture
def space(clone: SmallHome) -> Workspace:
    """A home whose champion has forecast a few hundred bars live; the clock stands after the last one."""
    clone.configure("pipeline.yaml", {"live": {"backfill_hours": 8000}})
    quick = {"retraining": {"degradation": {"first_days": 3, "min_effective": 8}}}
    clone.configure(f"assets/{SYMBOL}.yaml", {"overrides": quick})
    clone.bring(later_bars(BARS))
    close = later_bars(BARS).known_at[-1]
    clock = FixedClock(datetime.fromisoformat(f"{str(close)[:19]}+00:00") + timedelta(minutes=1))
    workspace = Workspace(clone.home, clone.configs, clock)
    with live_loop(workspace) as loop:
        (step,) = loop.step().symbols.values()
    assert (step.live, step.backfilled, step.problems) == (1, 0, ())  # before its first one it owes no earlier bar
    return workspace


def followed(space: Workspace) -> None:
    """Let the champion forecast the later bars, as if it had been running all the time."""
    version = space.registry.holder(SYMBOL, "champion")
    assert version is not None
    since = later_bars(1).ts_utc[0].astype("datetime64[s]").item().isoformat() + "+00:00"
    space.registry.tag(version, {"champion_at": since, SERVING_SINCE: since})
    with space.database.session() as session:
        for row in session.scalars(select(LiveForecast)):
            session.delete(row)
    with live_loop(space) as loop:
        (step,) = loop.step().symbols.values()
    assert step.backfilled + step.live == BARS
    assert step.outcomes > BARS


def narrowed(space: Workspace) -> None:
    """Spoil what was forecast: intervals of a quarter of their width."""
    with space.database.session() as session:
        for row in session.scalars(select(LiveForecast)):
            row.quantiles = {level: value / 4 for level, value in row.quantiles.items()}


def tick(space: Workspace, instance: dg.DagsterInstance, cursor: str | None = None) -> tuple[list[dg.RunRequest], str]:
    repository = build_definitions(space).get_repository_def()
    sensor = repository.get_sensor_def("drift_retraining")
    with dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"workspace": space}, repository_def=repository
    ) as context:
        data = sensor.evaluate_tick(context)
    return list(data.run_requests or []), str(data.cursor)


def judge(space: Workspace, instance: dg.DagsterInstance) -> dict[str, object]:
    job = build_definitions(space).resolve_job_def("performance")
    assert job.execute_in_process(instance=instance, resources={"workspace": space}).success
    return dict(space.documents.read(DOCUMENT, SYMBOL))


def test_a_degraded_champion_is_seen_told_and_retrained_once(
    space: Workspace, clone: SmallHome, capsys: pytest.CaptureFixture[str]
) -> None:
    followed(space)
    with clone.instance() as instance:
        calm = judge(space, instance)
        assert calm["degraded"] == []
        record = instance.get_latest_materialization_event(dg.AssetKey(PERFORMANCE))
        assert record is not None
        assert record.asset_materialization is not None
        assert record.asset_materialization.metadata["coverage_60m_30d"].value == pytest.approx(0.9, abs=0.1)
        assert tick(space, instance)[0] == []
        with space.database.reading() as session:
            assert len(session.scalars(select(PerformanceRow)).all()) == 4  # two windows, two horizons

        narrowed(space)
        # Measured after the training by the clock of runs, which is the machine's.
        trained = last_retraining(space.database, SYMBOL)
        assert trained is not None
        clock = space.clock
        assert isinstance(clock, FixedClock)
        with space.database.session() as session:
            session.merge(trained).at = clock.now() - timedelta(days=3)
        worse = judge(space, instance)
        assert worse["degraded"]
        clock.advance(timedelta(minutes=5))
        requests, cursor = tick(space, instance)
        (asked,) = requests
        assert asked.partition_key == SYMBOL
        assert asked.run_key is not None
        assert asked.run_key.startswith(f"degradation:{SYMBOL}:")
        assert "The model got worse" in asked.tags["fxgpt/reason"]
        job = build_definitions(space).get_repository_def().get_job("retrain")
        tags = {**asked.tags, "dagster/partition": SYMBOL}
        instance.create_run_for_job(job, status=dg.DagsterRunStatus.SUCCESS, tags=tags)
        assert tick(space, instance, cursor)[0] == []  # it has run
        with space.database.session() as session:
            session.merge(trained).at = clock.now()
        judge(space, instance)
        assert tick(space, instance, cursor)[0] == []  # and answered what was known
    tell(space, None)
    told = {
        alert.kind for alert in alerts_between(space.database, clock.now() - timedelta(days=1), clock.now(), SYMBOL)
    }
    assert "degraded" in told
    assert run(["retrain", SYMBOL, "--why", "--json"]) == 0
    evidence = json.loads(capsys.readouterr().out)["evidence"]
    assert evidence["performance"]["since"] is not None
    assert run(["retrain", SYMBOL, "--why"]) == 0
    assert "was degraded since" in capsys.readouterr().out


def test_the_first_days_stay_part_of_the_reference_when_they_have_left_the_database(space: Workspace) -> None:
    followed(space)
    first = judge_performance(space.lineage(SYMBOL)).news
    assert first is not None
    assert first.comparisons
    until = space.clock.now() - timedelta(days=6)
    moved = archive_forecasts(space.database, space.lake, until)
    assert moved > 48
    assert forget_outcomes(space.database, until) > 0
    again = judge_performance(space.lineage(SYMBOL)).news
    assert again is not None
    for before, after in zip(first.comparisons, again.comparisons, strict=True):
        assert before.reference is not None
        assert after.reference is not None
        assert after.reference.rows == before.reference.rows
        assert after.reference.mean == pytest.approx(before.reference.mean, rel=1e-9)


def test_bars_of_the_lake_are_given_as_they_closed(space: Workspace) -> None:
    lineage = space.lineage(SYMBOL)
    bars, known = LakeBars(lineage), later_bars(BARS).known_at
    assert list(bars.decisions(known[-4], known[-2])) == list(known[-3:-1])
    given = bars.since(known[-9], known[-1], lineage.timeframes)
    assert list(given["1h"].known_at) == list(known[-8:])
    assert 1 <= len(given["4h"]) <= 2


def test_an_expired_champion_forecasts_no_more_and_a_person_hears_of_it(
    space: Workspace, clone: SmallHome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["materialize", "features/*", "--symbol", SYMBOL]) == 0
    assert run(["forecast", SYMBOL]) == 0
    clone.configure("pipeline.yaml", {"live": {"expires_days": 5}})
    assert run(["forecast", SYMBOL]) == 1
    assert "seasonal_ewma has expired" in capsys.readouterr().err
    tell(space, None)
    (told,) = (
        alert
        for alert in alerts_between(space.database, space.clock.now() - timedelta(days=1), space.clock.now(), SYMBOL)
        if alert.kind == "expired"
    )
    assert "the limit is 5" in told.body


@pytest.mark.parametrize("ever", [True, False], ids=["for a day", "from the start"])
def test_a_champion_that_fails_at_every_bar_is_told(space: Workspace, ever: bool) -> None:
    champion, clock = space.registry.holder(SYMBOL, "champion"), space.clock
    assert champion is not None
    assert isinstance(clock, FixedClock)
    if not ever:
        with space.database.session() as session:
            for row in session.scalars(select(LiveForecast)):
                session.delete(row)
    clock.advance(timedelta(days=2))
    for hour in range(20):
        at = to_datetime64(clock.now() - timedelta(hours=hour))
        assert record_failure(space.database, SYMBOL, champion.version, at, clock.now(), "Its weights are gone.")
    judged = judge_performance(space.lineage(SYMBOL))
    assert "20 of 20 decisions have no forecast" in judged.service["errors"]
    tell(space, None)
    told = alerts_between(space.database, clock.now() - timedelta(hours=1), clock.now(), SYMBOL)
    assert "errors" in {alert.kind for alert in told}


def test_age_retrains_nothing_while_no_bar_has_come(space: Workspace, clone: SmallHome) -> None:
    trained, now = last_retraining(space.database, SYMBOL), space.clock.now()
    assert trained is not None
    with space.database.session() as session:
        session.merge(trained).at = now - timedelta(days=15)
    with clone.instance() as instance:
        assert decide(space.lineage(SYMBOL), instance, now, None).what == "retrain"
        newest = space.registry.versions(SYMBOL)[0]
        space.registry.tag(newest, {"trained_until": str(later_bars(BARS).known_at[-1])})
        decision = decide(space.lineage(SYMBOL), instance, now, None)
        assert decision.what == "postpone"
        assert "0 labels ended since the last training" in decision.reasons[-1]
        assert decide(space.lineage(SYMBOL), instance, now, None, manual=True).what == "retrain"


def test_a_registry_that_is_away_is_told_though_nobody_forecasts(
    space: Workspace, clone: SmallHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    tell(Workspace(clone.home, clone.configs, space.clock), None)
    told = alerts_between(space.database, space.clock.now() - timedelta(hours=1), space.clock.now(), SYMBOL)
    assert "registry" in {alert.kind for alert in told}
