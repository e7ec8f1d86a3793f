"""A shadow over a materialised home: judged on live forecasts, promoted or archived, with a page of evidence."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from sqlalchemy import delete

from fxgpt_core.common.errors import ModelError
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.features.stored import update_tables, update_targets
from fxgpt_core.lifecycle.bundle import load_bundle
from fxgpt_core.lifecycle.promotion import enter_shadow
from fxgpt_core.lifecycle.registry import ModelVersion
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.policy.decision import Decision
from fxgpt_core.store.audit import recent_decisions
from fxgpt_core.store.clock import FixedClock, to_datetime64
from fxgpt_core.store.forecast_log import save_forecast
from fxgpt_core.store.live_log import Realised, record_failure, record_outcomes
from fxgpt_core.store.models import ForecastFailure
from fxgpt_pipeline.champions import roll_back
from fxgpt_pipeline.definitions import build_definitions
from fxgpt_pipeline.living import LakeBars
from fxgpt_pipeline.serving import smoke_forecast
from fxgpt_pipeline.shadows import judge_shadow
from fxgpt_pipeline.workspace import Workspace
from tests.pipeline.small_home import SYMBOL, SmallHome, later_bars

BARS = 330


def moment(at: np.datetime64) -> datetime:
    return datetime.fromisoformat(f"{str(at)[:19]}+00:00")


@pytest.fixture
def space(clone: SmallHome) -> Workspace:
    """A home with a shadow that entered where the later bars begin; the clock stands after the last of them."""
    clone.bring(later_bars(BARS))
    clock = FixedClock(moment(later_bars(1).ts_utc[0]))
    workspace = Workspace(clone.home, clone.configs, clock)
    lineage = workspace.lineage(SYMBOL)
    LakeBars(lineage).refresh(to_datetime64(clock.now()))
    update_tables(workspace.lake, SYMBOL, lineage.timeframes, lineage.spec)
    update_targets(workspace.lake, SYMBOL, lineage.timeframes, lineage.horizons, lineage.spec)
    shadow = next(v for v in workspace.registry.versions(SYMBOL) if v.family == "ewma")
    decision = Decision(SYMBOL, "shadow", ("To be judged.",), to_datetime64(clock.now()))
    enter_shadow(
        workspace.registry, workspace.database, shadow, decision, clock.now(), lambda b: smoke_forecast(lineage, b)
    )
    clock.advance(moment(later_bars(BARS).known_at[-1]) + timedelta(minutes=1) - clock.now())
    return workspace


def holder(space: Workspace, alias: str) -> ModelVersion | None:
    return space.registry.holder(SYMBOL, alias)


def follow(space: Workspace, width: dict[str, float], who: tuple[str, ...] = ("champion", "shadow")) -> None:
    """Log what champion and shadow would have forecast live, their intervals stretched as told, and the outcomes."""
    lineage = space.lineage(SYMBOL)
    dataset = lineage.dataset()
    rows = np.flatnonzero(dataset.usable & (dataset.known_at > later_bars(1).ts_utc[0]))
    for alias in who:
        version = holder(space, alias)
        assert version is not None
        bundle = load_bundle(space.registry.folder(version))
        made = bundle.forecast(dataset, rows, Provenance(version.label, dataset.known_at[-1], "live"))
        made.quantiles[:] = made.quantiles * width.get(alias, 1.0)
        save_forecast(space.database, made, 1.0)
    outcomes = Outcomes.from_dataset(dataset)
    found = [
        Realised(dataset.known_at[row], horizon, ended, float(value), float(dataset.yardstick[row, column]))
        for row in rows
        for column, horizon in enumerate(dataset.horizons)
        if np.isfinite(value := outcomes.returns[row, column]) and (ended := outcomes.label_end[row, column])
    ]
    assert record_outcomes(space.database, SYMBOL, found) == len(found)


def test_a_better_shadow_takes_over_and_the_page_says_why(space: Workspace, clone: SmallHome) -> None:
    follow(space, {"champion": 0.2})
    old, new = holder(space, "champion"), holder(space, "shadow")
    assert old is not None
    assert new is not None
    repository = build_definitions(space).get_repository_def()
    schedule = repository.get_schedule_def("judge_shadows")
    with clone.instance() as instance:
        with dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=space.clock.now(),
            resources={"workspace": space},
            repository_def=repository,
        ) as context:
            (asked,) = schedule.evaluate_tick(context).run_requests or []
        assert asked.partition_key == SYMBOL
        job = build_definitions(space).resolve_job_def("judge_shadow")
        assert job.execute_in_process(instance=instance, partition_key=SYMBOL).success
        event = instance.get_latest_materialization_event(dg.AssetKey(["lifecycle", "shadow"]))
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    assert metadata["decision"].value == "promote", metadata["summary"].value
    page = Path(str(metadata["page"].value)).read_text()
    assert new.label in page
    assert "E-values after each block" in page
    champion, previous = holder(space, "champion"), holder(space, "previous")
    assert champion is not None
    assert previous is not None
    assert (champion.version, previous.version) == (new.version, old.version)
    assert holder(space, "shadow") is None
    (audited,) = (row for row in recent_decisions(space.database, SYMBOL) if row.what == "promote")
    assert audited.kind == "champion"
    assert audited.evidence["superior"] >= 20
    assert judge_shadow(space.lineage(SYMBOL)).note == "There is no shadow."


def test_a_worse_shadow_is_archived_and_the_champion_stays(space: Workspace) -> None:
    follow(space, {"shadow": 0.2})
    old, new = holder(space, "champion"), holder(space, "shadow")
    assert old is not None
    assert new is not None
    verdict = judge_shadow(space.lineage(SYMBOL))
    assert verdict.what == "archive"
    assert holder(space, "shadow") is None
    champion = holder(space, "champion")
    assert champion is not None
    assert champion.version == old.version
    archived = space.registry.get(SYMBOL, new.version)
    assert archived.tags["archived"] == "true"
    assert "It is worse" in archived.tags["archived_reason"]
    assert "archive" in {row.what for row in recent_decisions(space.database, SYMBOL)}


def test_in_its_first_week_a_shadow_is_left_alone_however_bad(space: Workspace) -> None:
    follow(space, {"shadow": 0.2})
    clock = space.clock
    assert isinstance(clock, FixedClock)
    clock.advance(moment(later_bars(1).ts_utc[0]) + timedelta(days=6.5) - clock.now())
    verdict = judge_shadow(space.lineage(SYMBOL))
    assert verdict.what == "wait"
    assert "Nothing is decided before 7 days" in verdict.sentence
    assert holder(space, "shadow") is not None


def test_an_alias_that_was_set_by_hand_is_said_and_judged_by_nobody(space: Workspace) -> None:
    other = next(v for v in space.registry.versions(SYMBOL) if not v.aliases)
    space.registry.set_alias(SYMBOL, "shadow", other.version)
    assert "was set by hand" in judge_shadow(space.lineage(SYMBOL)).note


def test_an_expired_champion_does_not_wait_for_ever_for_what_follows_it(space: Workspace, clone: SmallHome) -> None:
    follow(space, {}, ("shadow",))  # the champion forecasts nothing any more
    new = holder(space, "shadow")
    assert new is not None
    assert judge_shadow(space.lineage(SYMBOL)).what == "none"
    clone.configure("pipeline.yaml", {"live": {"expires_days": 5, "expires_days_of": {"ewma": 60}}})
    for hour in range(9):
        at = to_datetime64(space.clock.now() - timedelta(hours=hour))
        assert record_failure(space.database, SYMBOL, new.version, at, space.clock.now(), "Its weights are gone.")
    verdict = judge_shadow(space.lineage(SYMBOL))
    assert verdict.what == "wait"
    assert "It failed at 9 of" in verdict.sentence
    with space.database.session() as session:
        session.execute(delete(ForecastFailure))
    verdict = judge_shadow(space.lineage(SYMBOL))
    assert verdict.what == "promote", verdict.sentence
    assert "has expired and forecasts nothing" in verdict.sentence
    champion = holder(space, "champion")
    assert champion is not None
    assert champion.version == new.version
    with pytest.raises(ModelError, match=r"seasonal_ewma has expired"):
        roll_back(space.lineage(SYMBOL), "It was better.")
    assert holder(space, "champion") == champion  # a model that may not forecast does not come back to serve
