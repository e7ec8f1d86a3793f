"""The dashboard shows every pair as the stores have it, and says what it could not read."""

from __future__ import annotations

import json
from datetime import timedelta

import dagster as dg
import pytest

from fxgpt_core.lifecycle.registry import CHAMPION
from fxgpt_core.store.clock import FixedClock
from fxgpt_core.store.track import save_performance
from fxgpt_pipeline.cli.main import run
from fxgpt_pipeline.dashboarding import dashboard_rows, write_dashboard
from fxgpt_pipeline.definitions import build_definitions
from fxgpt_pipeline.evaluating import EVALUATION
from fxgpt_pipeline.stages import DASHBOARD
from fxgpt_pipeline.workspace import Workspace
from tests.pipeline.small_home import SYMBOL, SmallHome, quiet_bars

LAST = quiet_bars().known_at[-1].astype("datetime64[us]").item()


def at_last_bar(home: SmallHome, days: float = 0.0) -> Workspace:
    from datetime import UTC

    return Workspace(home.home, home.configs, FixedClock(LAST.replace(tzinfo=UTC) + timedelta(days=days)))


def test_a_pair_is_shown_as_the_stores_have_it(base: SmallHome, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = at_last_bar(base, 1.0)
    (row,) = dashboard_rows(workspace)
    champion = workspace.registry.holder(SYMBOL, CHAMPION)
    pooled = workspace.documents.read(EVALUATION, SYMBOL)["pooled"]
    assert champion is not None
    assert (row.champion, row.family, row.problems) == (champion.label, champion.family, ())
    assert row.skill == next(one["skill"]["value"] for one in pooled if one["family"] == champion.family)
    assert row.coverage is not None
    assert row.age_days == pytest.approx(1.0, abs=0.5)
    assert row.expires_in_days == pytest.approx(59.0, abs=0.5)
    assert row.drift_said == workspace.documents.read("drift", SYMBOL)["summary"]
    assert [line.kind for line in row.decisions] == [CHAMPION]
    assert row.next_look.endswith("22:00")
    assert run(["dashboard", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["pairs"][0]["champion"] == champion.label


def test_an_old_model_has_expired_and_calls_for_a_person(base: SmallHome) -> None:
    (row,) = dashboard_rows(at_last_bar(base, 70.0))
    assert (row.expired, row.calls) == (True, True)


def test_the_asset_writes_a_page_that_needs_nothing_else(clone: SmallHome) -> None:
    workspace = at_last_bar(clone)
    champion = workspace.registry.holder(SYMBOL, CHAMPION)
    assert champion is not None
    from fxgpt_core.store.forecast_log import save_forecast
    from fxgpt_pipeline.serving import forecast_now

    lineage = workspace.lineage(SYMBOL)
    save_forecast(workspace.database, *forecast_now(lineage, champion))
    figures = {"hours": 24, "horizon": 60, "outcomes": 77, "skill": 0.0123, "coverage": 0.9, "error_rate": 0.02}
    save_performance(workspace.database, SYMBOL, champion.version, workspace.clock.now(), [figures])
    job = build_definitions(workspace).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(asset_selection=[dg.AssetKey(DASHBOARD)])
    (made,) = result.asset_materializations_for_node("reports__dashboard")
    assert made.metadata["symbols"].value == 1
    assert made.metadata["pairs"].value[0]["live"][0]["outcomes"] == 77
    page = (clone.home.reports / "dashboard.html").read_text()
    assert "http" not in page
    assert "src=" not in page
    for shown in (SYMBOL, champion.label, "+1.23%", "next look", "2.00%"):
        assert shown in page


def test_what_cannot_be_read_is_a_sentence_on_the_page(base: SmallHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXGPT_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{base.configs}/pipeline.yaml/mlflow.db")
    rows, path = write_dashboard(at_last_bar(base))
    assert len(rows[0].problems) == 2
    assert "model registry" in rows[0].problems[0]
    assert "cannot be used" in rows[0].problems[1]
    assert rows[0].drift_said
    assert "cannot be used" in path.read_text()
