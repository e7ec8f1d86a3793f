"""A person changes who serves: by command and by job, both recorded with their reason."""

from __future__ import annotations

import json

import pytest

from fxgpt_core.lifecycle.registry import CHAMPION, PREVIOUS
from fxgpt_core.store.audit import recent_decisions
from fxgpt_pipeline.champions import promote_by_hand
from fxgpt_pipeline.cli.main import run
from fxgpt_pipeline.definitions import build_definitions
from tests.pipeline.small_home import SYMBOL, SmallHome


def roll_back(home: SmallHome, reason: str) -> str | None:
    """Run the job; return what it said was wrong, None where nothing was."""
    lineage = home.lineage()
    with home.instance() as instance:
        result = (
            build_definitions(lineage.workspace)
            .resolve_job_def("rollback")
            .execute_in_process(
                run_config={"ops": {"roll_back": {"config": {"symbol": SYMBOL, "reason": reason}}}},
                instance=instance,
                raise_on_error=False,
            )
        )
    failures = [event for event in result.all_events if event.is_step_failure]
    return str(failures[0].step_failure_data.error) if failures else None


def test_the_last_champion_comes_back_by_job_and_by_command(
    clone: SmallHome, capsys: pytest.CaptureFixture[str]
) -> None:
    lineage = clone.lineage()
    registry = lineage.workspace.registry
    assert "no previous champion" in str(roll_back(clone, "to see"))
    first = registry.holder(SYMBOL, CHAMPION)
    other = next(version for version in registry.versions(SYMBOL) if not version.aliases)
    assert first is not None
    promote_by_hand(lineage, other.version, "the other one")
    assert roll_back(clone, "spreads doubled") is None
    assert registry.holder(SYMBOL, CHAMPION) == registry.get(SYMBOL, first.version)
    (row,) = recent_decisions(lineage.workspace.database, SYMBOL, limit=1)
    assert (row.what, "spreads doubled" in row.reasons[0]) == ("rollback", True)
    assert run(["models", "rollback", SYMBOL, "--reason", "and forth"]) == 0
    assert f"{other.label} ({other.family}) is champion again" in capsys.readouterr().out
    previous = registry.holder(SYMBOL, PREVIOUS)
    assert previous is not None
    assert previous.version == first.version


def test_the_champion_forecasts_without_registry_and_without_database(
    clone: SmallHome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def forecast() -> tuple[list[dict[str, object]], str]:
        assert run(["forecast", SYMBOL, "--json"]) == 0
        said = capsys.readouterr()
        return json.loads(said.out)["forecasts"], said.err

    first, warning = forecast()
    assert "Warning" not in warning
    for name, url in (
        ("MLFLOW_TRACKING_URI", f"sqlite:///{clone.configs}/pipeline.yaml/mlflow.db"),
        ("FXGPT_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none"),
    ):
        monkeypatch.setenv(name, url)
        again, warning = forecast()
        assert [row["mean"] for row in again] == [row["mean"] for row in first]
        assert "Warning: Cannot open the model registry" in warning or "Warning: Database" in warning
        assert ("The forecast was not logged" in warning) == (name == "FXGPT_DATABASE_URL")
