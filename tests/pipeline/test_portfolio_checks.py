"""The audits of the stored portfolio pass it as it is, and name the pair in whose tables something is planted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from fxgpt_core.store.migrate import upgrade
from fxgpt_core.store.paths import Home
from fxgpt_pipeline.auditing import AUDITS, audit_portfolio
from fxgpt_pipeline.definitions import build_definitions
from fxgpt_pipeline.portfolios import ALL, NAME, trade_portfolio
from fxgpt_pipeline.stages import PORTFOLIO
from fxgpt_pipeline.workspace import Workspace
from tests.pipeline.small_home import empty_home
from tests.pipeline.traded_pairs import ASSET, give

Plant = Callable[[pd.DataFrame], None]
PAIRS = {"EURUSD": 1.1, "GBPUSD": 1.3}


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A stored portfolio of two pairs."""
    home = empty_home(tmp_path).enter(monkeypatch)
    for symbol in PAIRS:
        home.configure(f"assets/{symbol}.yaml", {**ASSET, "symbol": symbol})
    made = Workspace(Home(home.home.root), home.configs)
    upgrade(made.home.database_url)
    for number, (symbol, price) in enumerate(PAIRS.items()):
        give(made, symbol, price, number, home.root)
    return made


def test_a_portfolio_that_was_never_made_has_nothing_to_audit(space: Workspace) -> None:
    assert audit_portfolio(space) == {}


def test_the_asset_and_its_audits_run_together_and_nothing_waits_for_them(space: Workspace) -> None:
    key = dg.AssetKey(PORTFOLIO)
    definitions = build_definitions(space)
    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(asset_selection=[key])
    told = {one.check_name: one for one in result.get_asset_check_evaluations()}
    assert {name: one.passed for name, one in told.items()} == dict.fromkeys(AUDITS, True), told
    assert not any(one.blocking for one in told.values())


def flipped(orders: pd.DataFrame) -> None:
    orders.loc[orders["symbol"] == "GBPUSD", "direction"] *= -1


def cheap(fills: pd.DataFrame) -> None:
    fills.loc[fills["mid"] > 1.2, "spread"] *= 0.01  # pounds cost more than that, euros less


def unswapped(trades: pd.DataFrame) -> None:
    trades.loc[trades["symbol"] == "GBPUSD", "swap"] = 0.0


@pytest.mark.parametrize(
    ("table", "change", "audit", "words"),
    [
        ("orders", flipped, "forecasts_came_first", "entries go against the side that their forecast says"),
        ("fills", cheap, "costs_charged", "fills paid another spread than is configured"),
        ("trades", unswapped, "costs_charged", "positions were booked another swap than their nights make"),
    ],
)
def test_a_planted_fault_is_found_and_its_pair_named(
    space: Workspace, table: str, change: Plant, audit: str, words: str
) -> None:
    trade_portfolio(space)
    assert audit_portfolio(space) == {name: [] for name in AUDITS}
    keys = {"symbol": ALL, "family": NAME}
    frame = space.lake.read(table, keys).to_pandas()
    change(frame)
    space.lake.write(table, keys, "span=all", pa.Table.from_pandas(frame, preserve_index=False))
    found = audit_portfolio(space)
    assert any(said.startswith("GBPUSD: ") and words in said for said in found[audit])
    assert not any(said.startswith("EURUSD") for problems in found.values() for said in problems)
    assert found["equity_reconciles"]
