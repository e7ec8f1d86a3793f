"""The checks of a stored backtest pass it as it is, and find what is planted in its tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner

from fxgpt_core.store.migrate import upgrade
from fxgpt_core.store.orders import adherence_of
from fxgpt_core.store.paths import Home
from fxgpt_pipeline.auditing import adherence_name, stored
from fxgpt_pipeline.cli.main import cli
from fxgpt_pipeline.definitions import build_definitions
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.stages import backtest
from fxgpt_pipeline.workspace import Workspace
from tests.pipeline.small_home import empty_home
from tests.pipeline.traded_pairs import ASSET, give, store_backtest

NAMES = {"forecasts_came_first", "flat_over_weekends", "costs_charged", "equity_reconciles", "fills_adhere"}
Plant = Callable[[pd.DataFrame], None]


@pytest.fixture
def lineage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lineage:
    """EURUSD with a backtest of `ewma`, whose forecasts lean."""
    home = empty_home(tmp_path).enter(monkeypatch)
    home.configure("assets/EURUSD.yaml", {**ASSET, "symbol": "EURUSD"})
    space = Workspace(Home(home.home.root), home.configs)
    upgrade(space.home.database_url)
    give(space, "EURUSD", 1.1, 3, home.root)
    made = space.lineage("EURUSD")
    assert store_backtest(made) == "traded"
    return made


def verdicts(lineage: Lineage, family: str = "ewma") -> dict[str, dg.AssetCheckEvaluation]:
    """Run the checks of one backtest through Dagster."""
    whole = build_definitions(lineage.workspace)
    keys = [dg.AssetCheckKey(dg.AssetKey(backtest(family)), name) for name in NAMES]
    job = dg.define_asset_job("audit", dg.AssetSelection.checks(*keys))
    chosen = dg.Definitions(
        assets=whole.assets, asset_checks=whole.asset_checks, jobs=[job], resources=whole.resources,
        executor=dg.in_process_executor,
    )  # fmt: skip
    tags = {"dagster/partition": lineage.symbol}  # `partition_key` would want an asset that has partitions
    result = chosen.resolve_job_def("audit").execute_in_process(tags=tags, raise_on_error=False)
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def plant(lineage: Lineage, name: str, change: Plant) -> None:
    table = stored(lineage, "ewma", name)
    change(table)
    keys = {"symbol": lineage.symbol, "family": "ewma"}
    lineage.workspace.lake.write(name, keys, "span=all", pa.Table.from_pandas(table, preserve_index=False))


def test_a_stored_backtest_passes_every_check(lineage: Lineage) -> None:
    found = verdicts(lineage)
    assert {name: one.passed for name, one in found.items()} == dict.fromkeys(NAMES, True), found
    told = lineage.workspace.documents.read(adherence_name("ewma"), "EURUSD")
    assert told["figures"]["filled"] > 50
    assert told["decision"]["what"] == "trade"


def test_a_family_that_is_switched_off_has_nothing_to_check(lineage: Lineage) -> None:
    found = verdicts(lineage, "ridge")
    assert {one.passed for one in found.values()} == {True}
    assert {one.description for one in found.values()} == {"ridge is switched off."}


def earlier(table: pd.DataFrame) -> None:
    table.loc[0, "decided_at"] -= pd.Timedelta(minutes=20)


def longer(table: pd.DataFrame) -> None:
    table.loc[1, "exit_time"] = table.loc[1, "entry_time"] + pd.Timedelta(days=7)


def free(table: pd.DataFrame) -> None:
    table["spread"] = 0.0


def unswapped(table: pd.DataFrame) -> None:
    table["swap"] = 0.0


def richer(table: pd.DataFrame) -> None:
    table.loc[2, "pnl"] += 100.0


def flipped(table: pd.DataFrame) -> None:
    table["direction"] *= -1


@pytest.mark.parametrize(
    ("table", "change", "check", "also"),
    [
        ("orders", earlier, "forecasts_came_first", ()),
        ("orders", flipped, "forecasts_came_first", ("costs_charged", "equity_reconciles")),  # bought below the mid
        ("trades", longer, "flat_over_weekends", ("costs_charged",)),  # the nights of a week
        ("fills", free, "costs_charged", ("equity_reconciles", "fills_adhere")),
        ("trades", unswapped, "costs_charged", ("equity_reconciles",)),
        ("trades", richer, "equity_reconciles", ()),
    ],
)
def test_a_planted_fault_fails_its_check(
    lineage: Lineage, table: str, change: Plant, check: str, also: tuple[str, ...]
) -> None:  # fmt: skip
    plant(lineage, table, change)
    found = verdicts(lineage)
    failed = {name for name, one in found.items() if not one.passed}
    assert check in failed
    assert failed == {check, *also}
    assert (found[check].severity is dg.AssetCheckSeverity.ERROR) == (check != "flat_over_weekends")


def test_rejected_orders_warn(lineage: Lineage) -> None:
    def lost(table: pd.DataFrame) -> None:
        table.drop(index=table.index[table["order"] % 7 == 0], inplace=True)

    plant(lineage, "fills", lost)
    found = verdicts(lineage)["fills_adhere"]
    assert not found.passed
    assert "of the orders were rejected, above 5.0%" in str(found.description)


def test_the_verb_shows_and_stores_adherence(lineage: Lineage) -> None:
    answer = CliRunner().invoke(cli, ["adherence", "EURUSD", "--json"])
    assert answer.exit_code == 0, answer.output
    told: dict[str, Any] = json.loads(answer.output)
    assert sum(row["orders"] for row in told["month"]) == sum(row["orders"] for row in told["day"])
    assert told["figures"]["orders"] == sum(row["orders"] for row in told["week"])
    rows = adherence_of(lineage.workspace.database, "EURUSD", told["family"], "backtest", "month")
    assert [row.figures["cost"] for row in rows] == [row["cost"] for row in told["month"]]
    shown = CliRunner().invoke(cli, ["adherence", "EURUSD", "--by", "week"])
    assert shown.exit_code == 0, shown.output
    assert "orders are within what was expected" in shown.output
    assert CliRunner().invoke(cli, ["adherence", "EURUSD", "--family", "ridge"]).exit_code != 0
