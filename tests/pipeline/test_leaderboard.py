"""The leaderboard over all pairs: as an asset, as a page and for a program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from fxgpt_core.store.paths import Home
from fxgpt_pipeline.cli.main import cli, run
from fxgpt_pipeline.definitions import build_definitions
from fxgpt_pipeline.stages import LEADERBOARD, SCORES
from fxgpt_pipeline.workspace import Workspace
from tests.pipeline.small_home import FAMILIES, SYMBOL, SmallHome, empty_home


def test_leaderboard_asset_writes_the_page_of_every_pair(clone: SmallHome) -> None:
    space = Workspace(Home(clone.home.root), clone.configs)
    job = build_definitions(space).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(asset_selection=[dg.AssetKey(LEADERBOARD)])
    metadata = result.asset_materializations_for_node("reports__leaderboard")[0].metadata
    assert metadata["symbols"].value == 1
    assert {standing["family"] for standing in metadata["standings"].value} == set(FAMILIES)
    page = (clone.home.reports / "leaderboard.html").read_text()
    assert SYMBOL in page
    assert "outdated" not in page


def test_leaderboard_verb_gives_the_same_to_a_program(clone: SmallHome) -> None:
    answer = CliRunner().invoke(cli, ["leaderboard", "--json"])
    assert answer.exit_code == 0, answer.output
    board = json.loads(answer.output)
    assert {entry["family"] for entry in board["entries"]} == set(FAMILIES)
    assert sum(entry["champion"] for entry in board["entries"]) == 1


def test_changed_settings_make_a_pair_outdated(clone: SmallHome) -> None:
    clone.configure("pipeline.yaml", {"evaluation": {"confidence": 0.9}})
    board = json.loads(CliRunner().invoke(cli, ["leaderboard", "--json"]).output)
    assert all(entry["stale"] for entry in board["entries"])


def test_without_an_evaluation_the_verb_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty_home(tmp_path).enter(monkeypatch)
    assert run(["leaderboard"]) == 2
    assert "No pair has an evaluation yet" in capsys.readouterr().err


def test_a_new_evaluation_of_one_pair_renews_the_board_once(tmp_path: Path) -> None:
    definitions = watched_pairs(tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(definitions, instance, None)
        assert first.total_requested == 0
        instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey(SCORES), partition="USDJPY"))
        second = tick(definitions, instance, first.cursor)
        assert second.total_requested == 1
        instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey(LEADERBOARD)))
        assert tick(definitions, instance, second.cursor).total_requested == 0


def test_an_evaluation_from_before_the_daemon_started_counts(tmp_path: Path) -> None:
    definitions = watched_pairs(tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey(SCORES), partition="USDJPY"))
        assert tick(definitions, instance, None).total_requested == 1


def watched_pairs(tmp_path: Path) -> dg.Definitions:
    home = empty_home(tmp_path)
    for symbol in ("USDJPY", "AUDUSD"):  # pairs that were never evaluated must not hold it back
        home.configure(f"assets/{symbol}.yaml", {"symbol": symbol, "timeframes": ["1h"], "horizons": ["1h"]})
    return build_definitions(Workspace(Home(home.home.root), home.configs))


def tick(
    definitions: dg.Definitions, instance: dg.DagsterInstance, cursor: Any
) -> dg.EvaluateAutomationConditionsResult:
    board = dg.AssetSelection.assets(dg.AssetKey(LEADERBOARD))
    return dg.evaluate_automation_conditions(definitions, instance, board, cursor=cursor)
