"""The portfolio over all pairs: who takes part, what is stored, the page and the command."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from fxgpt_core.store.migrate import upgrade
from fxgpt_core.store.paths import Home
from fxgpt_pipeline.cli.main import cli, run
from fxgpt_pipeline.definitions import build_definitions
from fxgpt_pipeline.stages import CHAMPION, PORTFOLIO
from fxgpt_pipeline.workspace import Workspace
from tests.pipeline.small_home import SmallHome, empty_home
from tests.pipeline.traded_pairs import ASSET, give

PAIRS = {"EURUSD": 1.1, "GBPUSD": 1.3, "USDJPY": 145.0}


@pytest.fixture
def traders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallHome:
    """Two pairs with a champion, one without, one switched off; bars and forecasts as the lineage leaves them."""
    home = empty_home(tmp_path).enter(monkeypatch)
    for symbol in (*PAIRS, "AUDUSD"):
        home.configure(f"assets/{symbol}.yaml", {**ASSET, "symbol": symbol, "enabled": symbol != "AUDUSD"})
    space = Workspace(Home(home.home.root), home.configs)
    for number, (symbol, price) in enumerate(PAIRS.items()):
        give(space, symbol, price, number, home.root)
    return home


def test_pairs_with_a_champion_are_traded_and_the_others_say_why_not(traders: SmallHome) -> None:
    answer = CliRunner().invoke(cli, ["portfolio", "--json"])
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.output)
    assert told["members"] == {"EURUSD": "ewma", "GBPUSD": "ewma"}
    assert set(told["left_out"]) == {"USDJPY"}
    assert "no champion yet" in told["left_out"]["USDJPY"]
    assert told["luck"]["tried"] == 1
    assert "1 strategy has been tried" in told["verdict"][0]
    again = json.loads(CliRunner().invoke(cli, ["portfolio", "--json"]).output)
    assert again["luck"]["tried"] == 1
    traders.configure("pipeline.yaml", {"portfolio": {"positions": 1}})
    assert json.loads(CliRunner().invoke(cli, ["portfolio", "--json"]).output)["luck"]["tried"] == 2
    assert told["metrics"]["trades"] == sum(pair["trades"] for pair in told["pairs"].values()) > 50
    page = Path(told["page"]).read_text()
    assert "GBPUSD" in page
    assert "USDJPY takes no part. It has no champion yet" in page
    assert "http" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )


def test_limits_of_the_configuration_hold_and_are_counted(traders: SmallHome) -> None:
    """At most one position, or half of equity in dollars: the second pair is refused, or both are cut."""
    traders.configure("pipeline.yaml", {"portfolio": {"positions": 1, "currency": 0.5}})
    told = json.loads(CliRunner().invoke(cli, ["portfolio", "--family", "ewma", "--json"]).output)
    assert set(told["members"]) == set(PAIRS)
    assert all(pair["cut"] > 0 and pair["causes"]["currency"] > 0 for pair in told["pairs"].values())
    assert told["pairs"]["USDJPY"]["causes"]["positions"] == told["pairs"]["USDJPY"]["refused"] > 0
    table = CliRunner().invoke(cli, ["portfolio", "--family", "ewma"])
    assert table.exit_code == 0
    assert "Page: " in table.output


def test_the_asset_writes_page_and_figures(traders: SmallHome) -> None:
    space = Workspace(Home(traders.home.root), traders.configs)
    upgrade(space.home.database_url)
    job = build_definitions(space).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(asset_selection=[dg.AssetKey(PORTFOLIO)])
    metadata = result.asset_materializations_for_node("portfolio__backtest")[0].metadata
    assert metadata["status"].value == "traded"
    assert set(metadata["pairs"].value) == {"EURUSD", "GBPUSD"}
    assert (traders.home.reports / "portfolio.html").exists()


def test_without_a_champion_the_verb_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty_home(tmp_path).enter(monkeypatch)
    assert run(["portfolio"]) == 2
    assert "No pair can be traded in a portfolio. GBPUSD: It has no champion yet" in capsys.readouterr().err


def test_a_new_champion_renews_the_portfolio_once(tmp_path: Path) -> None:
    home = empty_home(tmp_path)
    home.configure("assets/USDJPY.yaml", {"symbol": "USDJPY", "timeframes": ["1h"], "horizons": ["1h"]})
    definitions = build_definitions(Workspace(Home(home.home.root), home.configs))
    chosen = dg.AssetSelection.assets(dg.AssetKey(PORTFOLIO))
    with dg.DagsterInstance.ephemeral() as instance:
        first = dg.evaluate_automation_conditions(definitions, instance, chosen)
        assert first.total_requested == 0
        instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey(CHAMPION), partition="USDJPY"))
        second = dg.evaluate_automation_conditions(definitions, instance, chosen, cursor=first.cursor)
        assert second.total_requested == 1
